// Two streams, an event and some numbers, with a kernel that is easy to follow.
#pragma once

#include "gpu/portable/portable.hpp"
#include "tests/gpu/shim_fixture.hpp"

namespace troupe::gpu::test {

inline constexpr std::uint32_t seeds = 20;

/// y[i] = x[i] + by, one thread each.
struct add_number {
  static constexpr const char* name = "add_number";
  static constexpr unsigned max_threads = 32;
  struct arguments {
    global<const float> x;
    global<float> y;
    float by;
  };
  static TROUPE_GPU void run(const arguments& a, shared_memory) { a.y.store(lane(), a.x.load(lane()) + a.by); }
};

struct two_streams : shim_fixture<add_number> {
  explicit two_streams(std::uint32_t seed)
      : shim_fixture(seed), other(must(device.make_stream())), event(must(device.make_event())),
        x(upload(std::vector<float>(32, 1.0f))), y(space<float>(32)), z(space<float>(32)) {
    must(device.fill(stream, y.at, 0, 128));
    must(device.fill(stream, z.at, 0, 128));
    must(device.synchronize(stream));
  }
  void add(stream_id on, address from, address to, float by) {
    const add_number::arguments arguments{{from}, {to}, by};
    must(device.launch(on, 0, {{1}, 32, 0}, &arguments));
  }

  stream_id other;
  event_id event;
  global<const float> x;
  global<float> y, z;
};

/// How many of the seeds hold it.
template <class Holds>
std::uint32_t count_seeds(Holds holds) {
  std::uint32_t count = 0;
  for (std::uint32_t seed = 1; seed <= seeds; ++seed)
    count += holds(seed);
  return count;
}

} // namespace troupe::gpu::test
