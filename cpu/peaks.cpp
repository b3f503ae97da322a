#include "cpu/peaks.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/kernels.hpp"
#include "cpu/thread_pool.hpp"

namespace troupe::cpu {

namespace {

constexpr int measurements = 7;
constexpr std::uint64_t product_rounds = 2'000'000;
constexpr std::size_t read_step = 128; ///< Floats that `kernel_table::read` takes at once.

/// The largest number of units a second; body(thread) returns how many it did.
double best_rate(thread_pool& pool, const std::function<std::uint64_t(unsigned)>& body) {
  double best = 0;
  for (int i = 0; i < measurements; ++i) {
    std::atomic<std::uint64_t> units{0};
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](unsigned thread) { units += body(thread); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(units) / seconds.count());
  }
  return best;
}

} // namespace

machine_peaks measure_peaks(instruction_set instructions, unsigned threads, std::size_t bytes) {
  const kernel_table& kernels = kernels_for(instructions);
  thread_pool pool(threads);
  machine_peaks out;
  out.byte_products = best_rate(pool, [&](unsigned) { return kernels.multiply_bytes(product_rounds); });
  out.float_products = best_rate(pool, [&](unsigned) { return kernels.multiply_floats(product_rounds); });
  const std::size_t each = std::max(std::size_t{1}, bytes / sizeof(float) / pool.size() / read_step) * read_step;
  const std::vector<float> memory(each * pool.size(), 1.0f);
  std::atomic<float> seen{0};
  out.read_bytes = best_rate(pool, [&](unsigned thread) {
    seen.store(kernels.read(memory.data() + thread * each, each), std::memory_order_relaxed);
    return static_cast<std::uint64_t>(each * sizeof(float));
  });
  return out;
}

} // namespace troupe::cpu
