#include "bench/actor_probe.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>

namespace troupe::bench {

namespace {

struct counters {
  std::atomic<const char*> name{nullptr};
  std::atomic<std::uint64_t> messages{0}, bytes{0}, turns{0}, nanoseconds{0};
};

// By the address of the name, of which there are a dozen.
std::array<counters, 64> all;

counters& of(const char* name) {
  for (auto& entry : all) {
    auto* known = entry.name.load(std::memory_order_acquire);
    if (known == name)
      return entry;
    if (!known && (entry.name.compare_exchange_strong(known, name) || known == name))
      return entry;
  }
  return all.back();
}

std::uint64_t now() {
  return static_cast<std::uint64_t>(
    std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count());
}

} // namespace

std::map<std::string, actor_cost> costs() {
  std::map<std::string, actor_cost> result;
  for (const auto& entry : all)
    if (const auto* name = entry.name.load()) {
      auto& sum = result[std::strcmp(name, "scheduled_actor") == 0 ? "stage" : name];
      sum.messages += entry.messages;
      sum.bytes += entry.bytes;
      sum.turns += entry.turns;
      sum.nanoseconds += entry.nanoseconds;
    }
  return result;
}

void reset_costs() {
  for (auto& entry : all) {
    entry.messages = 0;
    entry.bytes = 0;
    entry.turns = 0;
    entry.nanoseconds = 0;
  }
}

} // namespace troupe::bench

// The names that the linker gives to CAF's functions and to these. Pooled actors are resumed through a base class at
// an offset of 160 bytes, detached ones directly.
#define ENQUEUE(prefix)                                                                                              \
  prefix##_ZN3caf15scheduled_actor7enqueueESt10unique_ptrINS_15mailbox_elementENS_6detail8disposerEEPNS_14execution_unitE
#define RESUME(prefix) prefix##_ZN3caf15scheduled_actor6resumeEPNS_14execution_unitEm
#define RESUME_POOLED(prefix) prefix##_ZThn160_N3caf15scheduled_actor6resumeEPNS_14execution_unitEm

extern "C" {

void ENQUEUE(__real_)(caf::scheduled_actor*, caf::mailbox_element_ptr, caf::execution_unit*);
caf::resumable::resume_result RESUME(__real_)(caf::scheduled_actor*, caf::execution_unit*, std::size_t);

void ENQUEUE(__wrap_)(caf::scheduled_actor* self, caf::mailbox_element_ptr what, caf::execution_unit* unit) {
  auto& entry = troupe::bench::of(self->name());
  entry.messages.fetch_add(1, std::memory_order_relaxed);
  if (const auto bytes = troupe::bench::payload_bytes(what->content()))
    entry.bytes.fetch_add(bytes, std::memory_order_relaxed);
  ENQUEUE(__real_)(self, std::move(what), unit);
}

caf::resumable::resume_result RESUME(__wrap_)(caf::scheduled_actor* self, caf::execution_unit* unit,
                                              std::size_t most) {
  auto& entry = troupe::bench::of(self->name()); // Afterwards there may be no actor.
  const auto start = troupe::bench::now();
  const auto result = RESUME(__real_)(self, unit, most);
  entry.nanoseconds.fetch_add(troupe::bench::now() - start, std::memory_order_relaxed);
  entry.turns.fetch_add(1, std::memory_order_relaxed);
  return result;
}

caf::resumable::resume_result RESUME_POOLED(__wrap_)(caf::resumable* self, caf::execution_unit* unit,
                                                     std::size_t most) {
  return RESUME(__wrap_)(static_cast<caf::scheduled_actor*>(self), unit, most);
}
}
