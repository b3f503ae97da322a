#include "gpu/backend/step_input.hpp"

#include <algorithm>

namespace troupe::gpu {

namespace {

std::uint32_t blocks_of(std::uint32_t positions) {
  return (positions + tokens_per_block - 1) / tokens_per_block;
}

std::uint32_t length_of(const batch_span& span) {
  return span.first_position + span.rows;
}

} // namespace

void step_input::lay_out(const forward_batch& batch, const layout_options& how) {
  words.clear();
  runs.clear();
  rows = static_cast<std::uint32_t>(batch.tokens.size());
  const auto here = [&] { return static_cast<std::uint32_t>(words.size()); };
  tokens = here();
  for (const auto token : batch.tokens)
    words.push_back(static_cast<std::uint32_t>(token));
  positions = here();
  for (const auto& span : batch.spans)
    for (std::uint32_t i = 0; i < span.rows; ++i)
      words.push_back(span.first_position + i);
  blocks = here();
  for (const auto& span : batch.spans)
    for (std::uint32_t i = 0; i < span.rows; ++i)
      words.push_back(span.blocks[(span.first_position + i) / tokens_per_block]);
  kept = here();
  for (const auto which : {batch.logit_rows, batch.hidden_rows})
    words.insert(words.end(), which.begin(), which.end());
  kept_rows = here() - kept;

  tile_count = 0;
  if (how.every_row_alone)
    return add_run(batch.spans, how.longest);
  add_tiles(batch, how.tile_rows);
  const auto is_single = [](const batch_span& span) { return span.rows == 1; };
  for (auto from = batch.spans.begin(); from != batch.spans.end();) {
    from = std::find_if(from, batch.spans.end(), is_single);
    const auto end = std::find_if_not(from, batch.spans.end(), is_single);
    if (from != end)
      add_run({from, end}, how.longest);
    from = end;
  }
}

void step_input::add_tiles(const forward_batch& batch, std::uint32_t tile_rows) {
  words.resize((words.size() + 3) / 4 * 4); // They are read as vectors.
  tiles = static_cast<std::uint32_t>(words.size());
  std::uint32_t table = 0;
  for (const auto& span : batch.spans) {
    if (span.rows == 1)
      continue;
    for (std::uint32_t first = 0; first < span.rows; first += tile_rows)
      words.insert(words.end(), {span.first_row + first, std::min(tile_rows, span.rows - first),
                                 span.first_position + first, table});
    table += blocks_of(length_of(span));
  }
  tables = static_cast<std::uint32_t>(words.size());
  tile_count = (tables - tiles) / 4;
  for (const auto& span : batch.spans)
    if (span.rows > 1)
      words.insert(words.end(), span.blocks.begin(), span.blocks.begin() + blocks_of(length_of(span)));
}

void step_input::add_run(std::span<const batch_span> spans, std::uint32_t longest) {
  decode_run run{
    .first_row = spans.front().first_row, .lengths = static_cast<std::uint32_t>(words.size()), .longest = longest};
  for (const auto& span : spans)
    for (std::uint32_t i = 0; i < span.rows; ++i) {
      words.push_back(span.first_position + i + 1);
      run.longest = std::max(run.longest, words.back());
      ++run.rows;
    }
  run.stride = blocks_of(run.longest);
  run.tables = static_cast<std::uint32_t>(words.size());
  for (const auto& span : spans)
    for (std::uint32_t i = 0; i < span.rows; ++i) {
      const auto used = blocks_of(span.first_position + i + 1);
      words.insert(words.end(), span.blocks.begin(), span.blocks.begin() + used);
      words.resize(words.size() + run.stride - used);
    }
  runs.push_back(run);
}

} // namespace troupe::gpu
