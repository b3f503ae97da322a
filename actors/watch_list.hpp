// Monitors each of many other actors once, for as long as there is something of theirs.
#pragma once

#include <map>

#include <caf/all.hpp>

namespace troupe {

class watch_list {
public:
  template <class Self>
  void add(Self* self, const caf::actor_addr& who) {
    if (counts_[who]++ == 0)
      self->monitor(who);
  }

  template <class Self>
  void remove(Self* self, const caf::actor_addr& who) {
    auto found = counts_.find(who);
    if (found != counts_.end() && --found->second == 0) {
      self->demonitor(who);
      counts_.erase(found);
    }
  }

  /// It has died: nothing is left to be demonitored.
  void forget(const caf::actor_addr& who) { counts_.erase(who); }

private:
  std::map<caf::actor_addr, std::size_t> counts_;
};

} // namespace troupe
