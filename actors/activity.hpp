// What each actor of the pool does, for whoever wants to look: messages, time, and how long its mailbox is.
//
// It is counted in the threads of the pool (actors/pool.hpp), where an actor gets one, and only for a while after
// somebody has looked last. Actors with a thread of their own are not counted.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <caf/all.hpp>

namespace troupe {

struct actor_activity {
  caf::actor_id id = 0;
  std::string name;
  std::uint64_t messages = 0; ///< Taken, since it was counted first.
  std::uint32_t mailbox = 0;  ///< Messages that were there when it got a thread the last time.
  std::chrono::nanoseconds busy{0};
};

/// The counts of one thread of the pool. An actor has counts in each thread that it has run in.
class activity_counts {
public:
  static constexpr std::size_t most_actors = 4096; ///< More are not counted until somebody looks.

  activity_counts() = default;
  activity_counts(const activity_counts&) {} ///< Each thread begins with its own.

  void add(caf::scheduled_actor& actor, std::uint32_t mailbox, std::uint32_t messages) {
    const std::lock_guard guard(lock_);
    const auto at = counts_.find(actor.id());
    if (at == counts_.end() && counts_.size() >= most_actors) {
      last_ = nullptr;
      return;
    }
    last_ = at != counts_.end() ? &at->second : &counts_[actor.id()];
    if (at == counts_.end())
      *last_ = {actor.address(), {actor.id(), actor.name(), 0, 0, {}}};
    last_->counted.messages += messages;
    last_->counted.mailbox = mailbox;
  }

  /// The actor that was added last has run for so long.
  void ran(std::chrono::nanoseconds time) {
    const std::lock_guard guard(lock_);
    if (last_)
      last_->counted.busy += time;
  }

  /// Appends those of actors that live, and forgets the others.
  void collect(std::vector<actor_activity>& out) {
    const std::lock_guard guard(lock_);
    last_ = nullptr;
    std::erase_if(counts_, [&](const auto& entry) {
      if (!caf::actor_cast<caf::strong_actor_ptr>(entry.second.actor))
        return true;
      out.push_back(entry.second.counted);
      return false;
    });
  }

private:
  struct entry {
    caf::actor_addr actor;
    actor_activity counted;
  };
  std::mutex lock_;
  std::unordered_map<caf::actor_id, entry> counts_;
  entry* last_ = nullptr;
};

/// Of all threads together; counting goes on for `activity_window` after this. Empty where the system has another pool than
/// ours.
std::vector<actor_activity> activity_of(caf::actor_system& system);

inline constexpr std::chrono::seconds activity_window{120}; ///< Longer than between two scrapes of metrics.

} // namespace troupe
