// What kernels have to know of a step beside its rows: one run of 32-bit words, laid out here and copied to the device at once.
//
// Pure; the backend copies the words and adds the device's address to the offsets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/backend.hpp"

namespace troupe::gpu {

/// Neighbouring rows that go through `decode_attention`: those that are the only ones of their sequences in this step, or all.
struct decode_run {
  std::uint32_t first_row = 0, rows = 0;
  std::uint32_t lengths = 0; ///< Offset: [rows], positions that each row sees.
  std::uint32_t tables = 0;  ///< Offset: [rows, stride]
  std::uint32_t stride = 0;  ///< Blocks of the longest sequence.
  std::uint32_t longest = 0; ///< Positions of it.
};

struct layout_options {
  std::uint32_t tile_rows = 64; ///< Most rows in a tile.
  bool every_row_alone = false; ///< There are no tiles.
  std::uint32_t longest =
    0; ///< What runs say at least, so that steps with the same number of rows are laid out alike.
};

/// Offsets are in words from the beginning.
struct step_input {
  std::vector<std::uint32_t> words;
  std::uint32_t rows = 0, kept_rows = 0;
  std::uint32_t tokens = 0;    ///< [rows]
  std::uint32_t positions = 0; ///< [rows]
  std::uint32_t blocks = 0;    ///< [rows]: the block that the row's own position is in.
  std::uint32_t kept = 0;      ///< [kept rows]: those whose logits are wanted, then those whose hidden states are.
  std::uint32_t tiles = 0;     ///< [tile count][4], of prefill_attention; a multiple of four.
  std::uint32_t tile_count = 0;
  std::uint32_t tables = 0; ///< Blocks of the tiles' sequences.
  std::vector<decode_run> runs;

  void lay_out(const forward_batch& batch, const layout_options& how = {});

private:
  void add_tiles(const forward_batch& batch, std::uint32_t tile_rows);
  void add_run(std::span<const batch_span> spans, std::uint32_t longest);
};

} // namespace troupe::gpu
