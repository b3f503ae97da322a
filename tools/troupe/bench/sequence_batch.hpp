// The work that a backend's phases are made of, without actors: sequences of one length with random tokens.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "model/backend.hpp"

namespace troupe::cli {

/// Sequences that all have the same length, each with its own blocks from block 0 on.
class sequence_batch {
public:
  /// `capacity`: most tokens of each. The backend has blocks for all of them, and logits for `count` rows.
  sequence_batch(backend& on, const model_program& program, std::uint32_t count, std::uint32_t capacity,
                 std::uint32_t seed);

  /// Computes `rows` more tokens of each sequence, in passes of at most `max_rows` rows.
  void step(std::uint32_t rows, std::uint32_t max_rows = 512);

  std::uint32_t length() const { return length_; }

private:
  void forward(std::uint32_t first, std::uint32_t count, std::uint32_t rows);

  backend& on_;
  const std::uint32_t vocabulary_;
  std::mt19937 random_;
  std::vector<std::vector<block_id>> blocks_;
  std::vector<float> logits_;
  std::uint32_t length_ = 0;
};

} // namespace troupe::cli
