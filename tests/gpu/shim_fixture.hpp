// A device with some kernels, and vectors that go there and back.
#pragma once

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/shim/table.hpp"

namespace troupe::gpu::test {

template <class Value>
Value must(expected<Value> result) {
  BOOST_REQUIRE_MESSAGE(result, result.error().message);
  return *result;
}
inline void must(expected<void> result) {
  BOOST_REQUIRE_MESSAGE(result, result.error().message);
}

inline shim::shim_options strict_shim(std::uint32_t seed, std::size_t memory_bytes) {
  return {.memory_bytes = memory_bytes,
          .seed = seed,
          .counts_banks = true,
          .finds_global_races = true,
          .most_accesses = 1 << 16};
}

/// Device: a shim, or what has its functions.
template <class Device>
struct device_fixture {
  Device device;
  stream_id stream;

  template <class... Arguments>
  explicit device_fixture(Arguments&&... arguments)
      : device(std::forward<Arguments>(arguments)...), stream(must(device.make_stream())) {}

  template <class T>
  global<T> space(std::size_t count) {
    return {must(device.allocate(count * sizeof(T)))};
  }
  template <class T>
  global<const T> upload(const std::vector<T>& values) {
    const auto bytes = values.size() * sizeof(T);
    const auto pinned = must(device.allocate_pinned(bytes));
    std::memcpy(reinterpret_cast<void*>(pinned), values.data(), bytes);
    const auto at = must(device.allocate(bytes));
    must(device.copy(stream, at, pinned, bytes));
    must(device.synchronize(stream));
    must(device.free_pinned(pinned));
    return {at};
  }
  /// The same, counted apart: see `read_over`.
  template <class T>
  global<const T> upload_counted(const std::vector<T>& values) {
    const auto there = upload(values);
    device.count_apart(there.at, values.size() * sizeof(T));
    return there;
  }
  /// What the last kernel has read of these values over the bytes that its blocks must read, each block's own once: sectors once a block,
  /// and what threads asked for, which is more where a block reads the same again.
  template <class T>
  double read_over(global<const T> counted, std::size_t bytes) const {
    const auto moved = device.moved_at(counted.at);
    return static_cast<double>(
             std::max(moved.read_by_block * shim::device_memory::sector_bytes, moved.bytes_loaded)) /
           static_cast<double>(bytes);
  }
  /// Empty where the device is lost.
  template <class T>
  std::vector<T> download(global<T> from, std::size_t count) {
    const auto bytes = count * sizeof(T);
    const auto pinned = device.allocate_pinned(bytes);
    if (!pinned || !device.copy(stream, *pinned, from.at, bytes) || !device.synchronize(stream))
      return {};
    std::vector<T> values(count);
    std::memcpy(values.data(), reinterpret_cast<const void*>(*pinned), bytes);
    return values;
  }
};

template <class... Kernels>
struct shim_fixture : device_fixture<shim::shim_runtime> {
  using kernels = kernel_list<Kernels...>;

  explicit shim_fixture(std::uint32_t seed, std::size_t memory_bytes = 1 << 24)
      : device_fixture<shim::shim_runtime>(shim::table_of(kernels{}), strict_shim(seed, memory_bytes)) {}

  template <class Kernel>
  void launch(const typename Kernel::arguments& arguments, extent3 blocks, unsigned threads,
              std::size_t shared_bytes = 0) {
    const auto queued =
      device.launch(stream, kernel_index<Kernel, kernels>::value, {blocks, threads, shared_bytes}, &arguments);
    BOOST_REQUIRE(queued || device.lost_by());
  }
};

} // namespace troupe::gpu::test
