#include "gpu/shim/matrix_product.hpp"

#include <algorithm>
#include <vector>

namespace troupe::gpu::shim {

namespace {

std::vector<float> floats_of(const std::byte* from, std::size_t count) {
  std::vector<float> out(count);
  const auto* values = reinterpret_cast<const bf16*>(from);
  std::transform(values, values + count, out.begin(), [](bf16 each) { return to_float(each); });
  return out;
}

/// Sixteen sums, which compilers make vectors of, and then theirs.
float dot(const float* a, const float* b, std::size_t count) {
  float sums[16] = {};
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (std::size_t j = 0; j < 16; ++j)
      sums[j] += a[i + j] * b[i + j];
  for (; i < count; ++i)
    sums[i % 16] += a[i] * b[i];
  float all = 0;
  for (const float each : sums)
    all += each;
  return all;
}

} // namespace

void multiply_matrices(device_memory& memory, const matrix_product& what) {
  constexpr std::size_t weights_at_once = 64; // They stay in the cache while the rows pass.
  const std::size_t inputs = what.inputs;
  const auto rows =
    floats_of(memory.read_range(what.rows, what.row_count * inputs * sizeof(bf16)), what.row_count * inputs);
  for (std::size_t first = 0; first < what.outputs; first += weights_at_once) {
    const auto count = std::min(weights_at_once, what.outputs - first);
    const auto weights = floats_of(
      memory.read_range(what.weights + first * inputs * sizeof(bf16), count * inputs * sizeof(bf16)), count * inputs);
    for (std::size_t r = 0; r < what.row_count; ++r) {
      const auto at = what.sums + (r * what.stride + first) * sizeof(float);
      const auto bytes = count * sizeof(float);
      if (what.accumulates)
        memory.read_range(at, bytes);
      auto* sums = reinterpret_cast<float*>(memory.write_range(at, bytes));
      for (std::size_t n = 0; n < count; ++n)
        sums[n] = (what.accumulates ? sums[n] : 0.0f) + dot(&rows[r * inputs], &weights[n * inputs], inputs);
    }
  }
}

} // namespace troupe::gpu::shim
