// How likely a row's token was, and which tokens were likeliest: model/sampling/logprobs.hpp, with the same bits.
#pragma once

#include "gpu/kernels/sampling_search.hpp"

namespace troupe::gpu {

/// Of rows that want logprobs and have a token; of the model's own logits, which are back in place, scanned and weighed. A block a row.
struct judge_tokens {
  static constexpr const char* name = "judge_tokens";
  static constexpr unsigned max_threads = search_threads;
  static constexpr std::size_t shared_bytes = search_room::bytes + most_top_logprobs * 8 + 64;
  struct arguments {
    sampling_rows rows;
    global<const float> logits;
    global<const float> block_largest;
    global<const std::uint32_t> largest;
    global<const wide> bins;
    global<const std::int32_t> tokens;
    global<const std::uint32_t> statuses;
    global<float> logprobs;          ///< [rows]
    global<std::uint32_t> ranks;     ///< [rows]: 1 is the likeliest; of equal logits all have the first's.
    global<std::int32_t> top_tokens; ///< [rows, most_top_logprobs], the likeliest first; -1 where there are no more.
    global<float> top_logprobs;      ///< Likewise; -infinity.
    std::uint32_t vocabulary, stride;
    float model_scale; ///< exponent_scale(1).
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto index = block_index().x;
    const auto source = a.rows.source(index);
    if (source.logprobs < 0 || a.statuses.load(index) != static_cast<std::uint32_t>(sampling_status::sampled))
      return; // All threads of the block.
    const auto room = search_room::of(memory);
    const auto values = memory.array<float>(most_top_logprobs);
    const auto tokens = memory.array<std::uint32_t>(most_top_logprobs);
    const auto counts = memory.array<std::uint32_t>(2); // Of what is over the token, and of the likeliest.
    const auto log_sum = memory.array<double>(1);
    room.clear();
    wide own = 0;
    for (auto i = thread_index(); i < weight_bins; i += max_threads)
      own += a.bins.load(static_cast<std::size_t>(index) * weight_bins + i);
    atomic_add(room.bins, 0, own);
    if (thread_index() < 2)
      counts.store(thread_index(), 0);
    sync_block();
    if (thread_index() == 0)
      log_sum.store(0, logarithm(rounded::multiply(static_cast<double>(room.bins.load(0)), 0x1p-40)));
    sync_block();
    const auto blocks = (a.vocabulary + tokens_a_block - 1) / tokens_a_block;
    const row_view row{a.logits + static_cast<std::size_t>(source.logits) * a.stride,
                       {},
                       a.block_largest + static_cast<std::size_t>(index) * blocks,
                       a.vocabulary,
                       blocks,
                       from_ascending_key(a.largest.load(index)),
                       a.model_scale};
    const float logit = row.load(static_cast<std::uint32_t>(a.tokens.load(index)));
    kept_tokens over;
    over.least = logit > lowest_float ? logit : lowest_float;
    std::uint32_t more = 0;
    for_each_kept(row, over, [&](float other, float, std::uint32_t) { more += other > logit ? 1 : 0; });
    atomic_add(counts, 0, more);
    const auto top = static_cast<std::uint32_t>(source.logprobs) < most_top_logprobs
                       ? static_cast<std::uint32_t>(source.logprobs)
                       : most_top_logprobs;
    kept_tokens kept;
    if (top > 0) {
      if (top < blocks)
        kept.least = about_largest(row, kept, top, room);
      cut(row, kept, {false, true, {top, 0}}, room);
      for_each_kept(row, kept, [&](float other, float, std::uint32_t token) {
        const auto at = atomic_add(counts, 1, 1u);
        values.store(at, other);
        tokens.store(at, token);
      });
    }
    sync_block();
    const auto i = thread_index();
    if (i >= most_top_logprobs)
      return;
    const auto count = counts.load(1);
    auto at = static_cast<std::size_t>(index) * most_top_logprobs + i;
    float value = -infinity;
    std::int32_t token = -1;
    if (i < count) {
      value = values.load(i);
      token = static_cast<std::int32_t>(tokens.load(i));
      at -= i;
      for (unsigned j = 0; j < count; ++j) {
        const float other = values.load(j);
        at += other > value || (other == value && static_cast<std::int32_t>(tokens.load(j)) < token) ? 1 : 0;
      }
    }
    a.top_tokens.store(at, token);
    if (i == 0)
      a.ranks.store(index, counts.load(0) + 1);
    const auto logprob = [&](float of) {
      return static_cast<float>(rounded::subtract(
        rounded::subtract(static_cast<double>(of), static_cast<double>(row.largest)), log_sum.load(0)));
    };
    a.top_logprobs.store(at, logprob(value));
    if (i == 0)
      a.logprobs.store(index, logprob(logit));
  }
};

} // namespace troupe::gpu
