// Steps of single rows as graphs know them: with as many rows, and as long a context, as the next rung of a ladder.
//
// What is added are rows of a sequence that nobody asked for, from its position 0 on, with blocks of its own. So everything that
// kernels read is there, and nothing that they write is anybody's.
#pragma once

#include <optional>
#include <vector>

#include "gpu/backend/device_sampling.hpp"
#include "model/backend.hpp"

namespace troupe::gpu {

/// Of a graph.
struct decode_shape {
  std::uint32_t rows = 0;
  std::uint32_t longest = 0; ///< Positions.
  sampling_kind sampling = sampling_kind::none;
  auto operator<=>(const decode_shape&) const = default;
};

/// The rung for so many rows: 1, 2, 4, 8, from there on each eighth, and from 64 on each sixteenth. At most `most`.
std::uint32_t rows_rung(std::uint32_t rows, std::uint32_t most);
/// Twice the one before, from 256 on; at most `most`.
std::uint32_t longest_rung(std::uint32_t positions, std::uint32_t most);

/// Most rows that are added: blocks for as many positions are wanted.
inline constexpr std::uint32_t most_padding = 16;

class decode_batch {
public:
  /// max_rows, max_positions: of any step. scratch: blocks for `most_padding` positions that no sequence has.
  decode_batch(std::uint32_t max_rows, std::uint32_t max_positions, std::vector<block_id> scratch)
      : max_rows_(max_rows), max_positions_(max_positions), scratch_(std::move(scratch)) {}

  /// Its shape but for the sampling, where all of a batch's rows are single ones and the logits of all are wanted. The spans must outlive the padded batch.
  std::optional<decode_shape> shape_of(const forward_batch& batch) const;
  /// The batch with the rows that its shape has more; valid until the next call.
  const forward_batch& pad(const forward_batch& batch, const decode_shape& shape);

private:
  std::uint32_t max_rows_, max_positions_;
  std::vector<block_id> scratch_;
  std::vector<token_id> tokens_;
  std::vector<batch_span> spans_;
  std::vector<std::uint32_t> logit_rows_;
  forward_batch padded_;
};

} // namespace troupe::gpu
