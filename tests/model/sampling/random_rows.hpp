// Rows of logits of many kinds, and what else tests draw by a seed.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "engine/sequence_sampling.hpp"
#include "model/sampling/kernels.hpp"

namespace troupe::tests {

/// The vector widths of this machine.
std::vector<sampling::vectors> available_vectors();

class random_rows {
public:
  explicit random_rows(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  float normal(float deviation);

  /// Normal numbers; with ties; all equal; few likely ones; one far over the others; magnitudes of all kinds; with
  /// -infinity among any of these.
  std::vector<float> row(std::size_t vocabulary);
  /// Temperature from 1e-30 to 100, and some of min-p, top-k, top-p and typical-p.
  sequence_sampling truncation(std::size_t vocabulary);
  std::vector<token_id> tokens(std::size_t count, std::size_t vocabulary);

private:
  std::mt19937_64 engine_;
};

} // namespace troupe::tests
