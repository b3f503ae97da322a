// A device with the engine's kernels, random numbers, and on the shim what a kernel moved over what it must.
#pragma once

#include <random>

#include "gpu/kernels/launch_plan.hpp"
#include "tests/gpu/kernel_device.hpp"
#include "tests/gpu/shim_fixture.hpp"

namespace troupe::gpu::test {

struct kernel_fixture : device_fixture<kernel_device> {
  explicit kernel_fixture(std::uint32_t seed = 1)
      : device_fixture<kernel_device>(strict_shim(seed, std::size_t{1} << 28)), random(seed) {}

  std::vector<float> numbers(std::size_t count, float spread = 1.0f) {
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> result(count);
    for (auto& each : result)
      each = normal(random);
    return result;
  }
  std::vector<bf16> brain_floats(std::size_t count, float spread = 1.0f) {
    std::vector<bf16> result;
    for (const float each : numbers(count, spread))
      result.push_back(to_bf16(each));
    return result;
  }
  template <class Kernel>
  void launch(const typename Kernel::arguments& arguments, extent3 blocks, unsigned threads = Kernel::max_threads,
              std::size_t shared_bytes = 0) {
    must(
      device.launch(stream, kernel_index<Kernel, all_kernels>::value, {blocks, threads, shared_bytes}, &arguments));
    must(device.synchronize(stream));
  }
  template <class Arguments>
  void launch(const launch_plan& plan, const Arguments& arguments) {
    must(device.launch(stream, plan.kernel, plan.shape, &arguments));
    must(device.synchronize(stream));
  }
  /// Bytes of sectors that the last kernel has touched, once a launch, over those that it must touch. 0 where nothing is counted.
  double traffic_over(std::size_t bytes) const {
    const auto moved = device.last_launch().moved;
    return static_cast<double>((moved.read + moved.written) * shim::device_memory::sector_bytes) /
           static_cast<double>(bytes);
  }

  std::mt19937 random;
};

/// Each within so much of what is wanted, relative to the largest.
template <class Got>
void expect_close(const std::vector<Got>& got, const std::vector<double>& wanted, double tolerance) {
  BOOST_REQUIRE(got.size() == wanted.size());
  double largest = 1e-30;
  for (const double each : wanted)
    largest = std::max(largest, std::abs(each));
  for (std::size_t i = 0; i < got.size(); ++i) {
    double value = 0;
    if constexpr (std::is_same_v<Got, bf16>)
      value = to_float(got[i]);
    else
      value = got[i];
    if (!(std::abs(value - wanted[i]) <= tolerance * largest))
      BOOST_ERROR("number " << i << " is " << value << " and not " << wanted[i]);
  }
}

} // namespace troupe::gpu::test
