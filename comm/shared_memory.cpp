#include "comm/shared_memory.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>

#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "comm/pause.hpp"
#include "comm/shards.hpp"

namespace troupe {

namespace {

using clock = std::chrono::steady_clock;
using word = std::atomic<std::uint32_t>;
static_assert(word::is_always_lock_free && sizeof(word) == 4, "Processes share these.");

constexpr unsigned most_ranks = 64;
constexpr std::size_t line = 64, queue_slots = 2;

/// The highest bit of a count says that the group is aborted, and wakes who sleeps on it.
constexpr std::uint32_t aborted_bit = 0x80000000u, count_mask = aborted_bit - 1;

/// Counts begin shortly before they wrap around, so that every use of a group shows that they may.
constexpr std::uint32_t first_count = count_mask - 100;

/// A count that goes up, of which others wait for a value. Counts wrap around; those compared are near each other.
struct alignas(line) counter {
  word value{first_count};
  word sleepers{0};
};

constexpr bool reached(std::uint32_t value, std::uint32_t wanted) {
  return ((value - wanted) & count_mask) < count_mask / 2;
}

struct alignas(line) header {
  std::uint64_t magic, epoch, slot_bytes, shards;
  std::uint32_t ranks;
};
constexpr std::uint64_t magic_number = 0x3170756f72675554;

/// Of the bytes sent from one rank to another.
struct queue_counters {
  counter sent, taken;
};

constexpr std::size_t rounded(std::size_t bytes) {
  return (bytes + line - 1) / line * line;
}

/// Where things lie in a group's memory, in this order: header, counter of each rank, slots of each rank, counters of
/// each queue, slots of each queue.
struct layout {
  std::size_t ranks, slot_bytes;

  std::size_t counter_at(unsigned rank) const { return sizeof(header) + rank * sizeof(counter); }
  std::size_t slot_at(unsigned rank, std::uint32_t exchange) const {
    return counter_at(static_cast<unsigned>(ranks)) + (rank * 2 + exchange % 2) * slot_bytes;
  }
  std::size_t queue_at(unsigned from, unsigned to) const {
    return slot_at(static_cast<unsigned>(ranks), 0) + (from * ranks + to) * sizeof(queue_counters);
  }
  std::size_t queue_slot_at(unsigned from, unsigned to, std::uint32_t index) const {
    return queue_at(static_cast<unsigned>(ranks), 0) +
           ((from * ranks + to) * queue_slots + index % queue_slots) * queue_slot_bytes();
  }
  /// A slot of a queue begins with how many bytes of the message are still to come, these included.
  std::size_t queue_slot_bytes() const { return slot_bytes + line; }
  std::size_t total() const { return queue_slot_at(static_cast<unsigned>(ranks), 0, 0); }
};

long futex(word& on, int operation, std::uint32_t value, const timespec* until) {
  return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&on), operation, value, until, nullptr,
                 FUTEX_BITSET_MATCH_ANY);
}

void wake(counter& what) {
  if (what.sleepers.load(std::memory_order_seq_cst) != 0)
    futex(what.value, FUTEX_WAKE, INT32_MAX, nullptr);
}

/// One more, by the only rank that counts here.
void advance(counter& what) {
  auto seen = what.value.load(std::memory_order_relaxed);
  while (!what.value.compare_exchange_weak(seen, ((seen + 1) & count_mask) | (seen & aborted_bit),
                                           std::memory_order_seq_cst))
    ;
  wake(what);
}

void abort_counter(counter& what) {
  what.value.fetch_or(aborted_bit, std::memory_order_seq_cst);
  wake(what);
}

template <class Function>
void for_all_counters(std::byte* memory, const layout& where, Function f) {
  for (unsigned rank = 0; rank < where.ranks; ++rank) {
    f(*reinterpret_cast<counter*>(memory + where.counter_at(rank)));
    for (unsigned other = 0; other < where.ranks; ++other) {
      auto* queue = reinterpret_cast<queue_counters*>(memory + where.queue_at(rank, other));
      f(queue->sent);
      f(queue->taken);
    }
  }
}

void abort_all(std::byte* memory, const layout& where) {
  for_all_counters(memory, where, abort_counter);
}

enum class outcome { arrived, late, aborted };

void sleep_on(counter& on, std::uint32_t seen, clock::time_point until) {
  const auto left = until.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  const timespec at{static_cast<time_t>(seconds.count()),
                    static_cast<long>(std::chrono::nanoseconds(left - seconds).count())};
  on.sleepers.fetch_add(1, std::memory_order_seq_cst);
  futex(on.value, FUTEX_WAIT_BITSET, seen,
        &at); // Of CLOCK_MONOTONIC, as `clock` is; returns at once where it changed.
  on.sleepers.fetch_sub(1, std::memory_order_seq_cst);
}

outcome wait_for(counter& on, std::uint32_t wanted, std::chrono::microseconds spin, clock::time_point until) {
  constexpr unsigned rounds_between_looks = 64;
  const auto check = [&](std::uint32_t seen) {
    return seen & aborted_bit ? outcome::aborted : reached(seen, wanted) ? outcome::arrived : outcome::late;
  };
  auto seen = on.value.load(std::memory_order_acquire);
  if (const auto found = check(seen); found != outcome::late)
    return found;
  const auto begin = clock::now();
  for (auto now = begin; now < until; now = clock::now()) {
    if (now - begin >= spin)
      sleep_on(on, seen, until);
    for (unsigned i = 0; i < rounds_between_looks; ++i) {
      seen = on.value.load(std::memory_order_acquire);
      if (const auto found = check(seen); found != outcome::late)
        return found;
      pause();
    }
  }
  return outcome::late;
}

class shared_memory_rank final : public communicator {
public:
  shared_memory_rank(memory_segment segment, shared_group_options options, unsigned rank)
      : segment_(std::move(segment)),
        options_(std::move(options)), where_{options_.shards.size(), options_.slot_bytes}, rank_(rank),
        most_shards_(*std::ranges::max_element(options_.shards)) {}

  unsigned rank() const override { return rank_; }
  unsigned size() const override { return static_cast<unsigned>(where_.ranks); }
  std::uint64_t epoch() const override { return options_.epoch; }
  unsigned shards() const override { return options_.shards[rank_]; }

  expected<void> all_reduce(std::span<const float> partial, std::span<float> sum, deadline until) override {
    if (partial.size() != sum.size() * shards())
      return misused("all_reduce of another number of floats than shards times the sum");
    const std::size_t at_once = where_.slot_bytes / sizeof(float) / most_shards_ / 16 * 16;
    for (std::size_t from = 0; from < sum.size(); from += at_once) {
      const auto count = std::min(at_once, sum.size() - from);
      auto* mine = floats_of(rank_, exchange_ + 1);
      for (unsigned s = 0; s < shards(); ++s)
        copy_bytes(mine + s * count, &partial[s * sum.size() + from], count * sizeof(float));
      if (auto met = meet(until); !met)
        return met;
      if (count <= small_sum)
        add_up(0, count, sum.subspan(from, count));
      else if (auto added = add_in_parts(sum.subspan(from, count), until); !added)
        return added;
    }
    return {};
  }

  expected<void> all_gather(std::span<const std::byte> mine, std::span<std::byte> all, deadline until) override {
    if (all.size() != mine.size() * size())
      return misused("all_gather into another number of bytes than each rank's together");
    for (std::size_t from = 0; from < mine.size(); from += where_.slot_bytes) {
      const auto count = std::min(where_.slot_bytes, mine.size() - from);
      copy_bytes(slot_of(rank_, exchange_ + 1), &mine[from], count);
      if (auto met = meet(until); !met)
        return met;
      for (unsigned r = 0; r < size(); ++r)
        copy_bytes(&all[r * mine.size() + from], slot_of(r, exchange_), count);
    }
    return {};
  }

  expected<void> broadcast(std::span<std::byte> data, unsigned root, deadline until) override {
    if (root >= size())
      return misused("broadcast from a rank that the group has not");
    for (std::size_t from = 0; from < data.size(); from += where_.slot_bytes) {
      const auto count = std::min(where_.slot_bytes, data.size() - from);
      if (root == rank_)
        copy_bytes(slot_of(rank_, exchange_ + 1), &data[from], count);
      if (auto met = meet(until); !met)
        return met;
      if (root != rank_)
        copy_bytes(&data[from], slot_of(root, exchange_), count);
    }
    return {};
  }

  expected<void> all_to_all(std::span<const std::byte> to, std::span<std::byte> from, deadline until) override {
    const auto each = to.size() / size(), at_once = where_.slot_bytes / size();
    if (to.size() != from.size() || to.size() % size() != 0)
      return misused("all_to_all of bytes that the ranks do not divide");
    for (std::size_t begin = 0; begin < each; begin += at_once) {
      const auto count = std::min(at_once, each - begin);
      for (unsigned r = 0; r < size(); ++r)
        copy_bytes(slot_of(rank_, exchange_ + 1) + r * count, &to[r * each + begin], count);
      if (auto met = meet(until); !met)
        return met;
      for (unsigned r = 0; r < size(); ++r)
        copy_bytes(&from[r * each + begin], slot_of(r, exchange_) + rank_ * count, count);
    }
    return {};
  }

  expected<void> send(std::span<const std::byte> data, unsigned to, deadline until) override {
    if (to >= size() || to == rank_)
      return misused("send to no other rank of the group");
    auto* queue = queue_of(rank_, to);
    for (std::size_t from = 0; from < data.size() || from == 0; from += where_.slot_bytes) {
      const auto sent = queue->sent.value.load(std::memory_order_relaxed) & count_mask;
      if (auto room = wait(queue->taken, sent + 1 - queue_slots, to, until); !room)
        return room;
      auto* slot = queue_slot(rank_, to, sent);
      const std::uint64_t left = data.size() - from;
      copy_bytes(slot, &left, sizeof left);
      copy_bytes(slot + line, data.data() + from, std::min<std::size_t>(where_.slot_bytes, left));
      advance(queue->sent);
    }
    return {};
  }

  expected<void> receive(std::span<std::byte> data, unsigned from, deadline until) override {
    if (from >= size() || from == rank_)
      return misused("receive from no other rank of the group");
    auto* queue = queue_of(from, rank_);
    for (std::size_t begin = 0; begin < data.size() || begin == 0; begin += where_.slot_bytes) {
      const auto taken = queue->taken.value.load(std::memory_order_relaxed) & count_mask;
      if (auto there = wait(queue->sent, taken + 1, from, until); !there)
        return there;
      const auto* slot = queue_slot(from, rank_, taken);
      std::uint64_t left = 0;
      copy_bytes(&left, slot, sizeof left);
      if (left != data.size() - begin)
        return broken(errc::internal, fmt::format("Rank {} receives {} bytes where rank {} sends {}.", rank_,
                                                  data.size() - begin, from, left));
      copy_bytes(data.data() + begin, slot + line, std::min<std::size_t>(where_.slot_bytes, left));
      advance(queue->taken);
    }
    return {};
  }

  expected<void> barrier(deadline until) override { return meet(until); }

  void abort() override { abort_all(segment_.data(), where_); }
  bool is_broken() const override { return counter_of(rank_).value.load(std::memory_order_acquire) & aborted_bit; }

private:
  std::byte* slot_of(unsigned rank, std::uint32_t exchange) const {
    return segment_.data() + where_.slot_at(rank, exchange);
  }
  float* floats_of(unsigned rank, std::uint32_t exchange) const {
    return reinterpret_cast<float*>(slot_of(rank, exchange));
  }
  counter& counter_of(unsigned rank) const {
    return *reinterpret_cast<counter*>(segment_.data() + where_.counter_at(rank));
  }
  queue_counters* queue_of(unsigned from, unsigned to) const {
    return reinterpret_cast<queue_counters*>(segment_.data() + where_.queue_at(from, to));
  }
  std::byte* queue_slot(unsigned from, unsigned to, std::uint32_t index) const {
    return segment_.data() + where_.queue_slot_at(from, to, index);
  }

  /// What this rank has written for the next exchange is there; returns when all others' is.
  expected<void> meet(deadline until) {
    if (broken_)
      return tl::unexpected(*broken_);
    ++exchange_;
    advance(counter_of(rank_));
    for (unsigned r = 0; r < size(); ++r)
      if (auto there = wait(counter_of(r), exchange_ & count_mask, r, until); !there)
        return there;
    return {};
  }

  expected<void> wait(counter& on, std::uint32_t wanted, unsigned whose, deadline until) {
    if (broken_)
      return tl::unexpected(*broken_);
    switch (wait_for(on, wanted & count_mask, options_.spin, until)) {
    case outcome::arrived:
      return {};
    case outcome::aborted:
      return broken(errc::unavailable, fmt::format("The group of epoch {} was aborted.", options_.epoch));
    case outcome::late:
      break;
    }
    return broken(errc::unavailable, fmt::format("Rank {} did not come to where rank {} waits (epoch {}).", whose,
                                                 rank_, options_.epoch));
  }

  /// sum = what all shards have written for `count` floats, of which those from `first` on are wanted.
  void add_up(std::size_t first, std::size_t count, std::span<float> sum) {
    parts_.clear();
    for (unsigned r = 0; r < size(); ++r)
      for (unsigned s = 0; s < options_.shards[r]; ++s)
        parts_.push_back(floats_of(r, exchange_) + s * count + first);
    add_in_order(parts_, sum);
  }

  /// Each rank adds up a part, and takes the others' from them. What others still read lies in the slots of this
  /// exchange; a part goes into that of the next.
  expected<void> add_in_parts(std::span<float> sum, deadline until) {
    const auto mine = sum_part_of(sum.size(), rank_, size());
    add_up(mine.begin, sum.size(), {floats_of(rank_, exchange_ + 1), mine.size()});
    if (auto met = meet(until); !met)
      return met;
    for (unsigned r = 0; r < size(); ++r) {
      const auto part = sum_part_of(sum.size(), r, size());
      copy_bytes(sum.data() + part.begin, floats_of(r, exchange_), part.size() * sizeof(float));
    }
    return {};
  }

  expected<void> misused(const char* how) { return broken(errc::internal, fmt::format("Rank {}: {}.", rank_, how)); }

  expected<void> broken(errc code, std::string message) {
    broken_ = error{code, std::move(message)};
    abort(); // The others need not wait for their deadlines.
    return tl::unexpected(*broken_);
  }

  memory_segment segment_;
  const shared_group_options options_;
  const layout where_;
  const unsigned rank_, most_shards_;
  std::uint32_t exchange_ = first_count;
  std::vector<const float*> parts_; ///< Of the sum in progress.
  std::optional<error> broken_;
};

} // namespace

expected<shared_group> shared_group::create(const shared_group_options& options) {
  const layout where{options.shards.size(), options.slot_bytes};
  if (where.ranks == 0 || where.ranks > most_ranks || std::ranges::find(options.shards, 0u) != options.shards.end())
    return fail(errc::invalid_argument,
                fmt::format("A group has 1 to {} ranks with a shard each, not {}.", most_ranks, where.ranks));
  const auto shards = *std::ranges::max_element(options.shards);
  if (where.slot_bytes % line != 0 || where.slot_bytes < line * std::max<std::size_t>(shards, where.ranks))
    return fail(errc::invalid_argument,
                fmt::format("{} bytes of a slot are too few, or no multiple of {}.", where.slot_bytes, line));
  auto segment = memory_segment::create(where.total());
  if (!segment)
    return tl::unexpected(segment.error());
  for_all_counters(segment->data(), where, [](counter& c) { new (&c) counter; });
  *reinterpret_cast<header*>(segment->data()) = {magic_number, options.epoch, where.slot_bytes,
                                                 hash_of_shards(options.shards),
                                                 static_cast<std::uint32_t>(where.ranks)};
  return shared_group(std::move(*segment));
}

void shared_group::abort() {
  const auto* about = reinterpret_cast<const header*>(segment_.data());
  abort_all(segment_.data(), {about->ranks, about->slot_bytes});
}

expected<std::unique_ptr<communicator>> join_shared_group(const std::string& address,
                                                          const shared_group_options& options, unsigned rank) {
  if (rank >= options.shards.size())
    return fail(errc::invalid_argument, fmt::format("A group of {} has no rank {}.", options.shards.size(), rank));
  const layout where{options.shards.size(), options.slot_bytes};
  auto segment = memory_segment::open(address, where.total());
  if (!segment)
    return tl::unexpected(segment.error());
  const auto* about = reinterpret_cast<const header*>(segment->data());
  if (about->magic != magic_number || about->ranks != where.ranks || about->slot_bytes != where.slot_bytes)
    return fail(errc::malformed, fmt::format("The memory at {} is of no such group.", address));
  if (about->epoch != options.epoch)
    return fail(errc::version_mismatch,
                fmt::format("The group at {} is of epoch {}, not {}.", address, about->epoch, options.epoch));
  if (about->shards != hash_of_shards(options.shards))
    return fail(errc::malformed, fmt::format("The group at {} divides its shards otherwise.", address));
  if (reinterpret_cast<counter*>(segment->data() + where.counter_at(rank))->value & aborted_bit)
    return fail(errc::unavailable, fmt::format("The group of epoch {} was aborted.", options.epoch));
  return std::make_unique<shared_memory_rank>(std::move(*segment), options, rank);
}

} // namespace troupe
