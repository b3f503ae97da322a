// From what the scan has found to a token: model/sampling/sampler.hpp's steps 6 to 11, with the same result bit for bit.
#pragma once

#include "gpu/kernels/sampling_search.hpp"

namespace troupe::gpu {

struct drawn_token {
  double score = -std::numeric_limits<double>::infinity(); ///< logit / temperature + noise
  std::uint32_t token = any_token;

  TROUPE_GPU bool is_under(double other_score, std::uint32_t other) const {
    return other_score > score || (other_score == score && other < token);
  }
};

/// Chooses a row's token, or says why it cannot. A block a row.
struct choose_tokens {
  static constexpr const char* name = "choose_tokens";
  static constexpr unsigned max_threads = search_threads;
  static constexpr unsigned warps = max_threads / 32;
  static constexpr std::size_t shared_bytes =
    search_room::bytes + warps * (sizeof(double) + sizeof(std::uint32_t)) + 16;
  struct arguments {
    sampling_rows rows;
    global<const float> logits;
    global<const std::uint32_t> masks;
    global<const float> block_largest;
    global<const std::uint32_t> largest;
    global<const wide> bins;        ///< Of rows whose weights were wanted.
    global<std::int32_t> tokens;    ///< [rows]; 0 where there is none.
    global<std::uint32_t> statuses; ///< [rows]: sampling_status.
    std::uint32_t vocabulary, stride;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto index = block_index().x;
    const auto source = a.rows.source(index);
    const float largest = from_ascending_key(a.largest.load(index));
    const bool is_damaged = !(largest < infinity);
    if (source.given >= 0 || is_damaged || largest == -infinity) {
      if (thread_index() == 0) {
        a.tokens.store(index, source.given >= 0 ? source.given : 0);
        a.statuses.store(index, static_cast<std::uint32_t>(is_damaged             ? sampling_status::damaged
                                                           : largest == -infinity ? sampling_status::none_left
                                                                                  : sampling_status::sampled));
      }
      return; // All threads of the block.
    }
    const auto cuts = a.rows.cuts(index);
    const auto noise = a.rows.noise(index);
    const auto blocks = (a.vocabulary + tokens_a_block - 1) / tokens_a_block;
    row_view row{a.logits + static_cast<std::size_t>(source.logits) * a.stride,
                 {},
                 a.block_largest + static_cast<std::size_t>(index) * blocks,
                 a.vocabulary,
                 blocks,
                 largest,
                 cuts.scale};
    if (source.mask != no_mask)
      row.mask = a.masks + static_cast<std::size_t>(source.mask) * blocks;
    const auto room = search_room::of(memory);
    const auto scores = memory.array<double>(warps);
    const auto tokens = memory.array<std::uint32_t>(warps);
    const auto first_block = memory.array<std::uint32_t>(1);
    auto token = likeliest(row, first_block);
    if (noise.inverse_temperature > 0) {
      kept_tokens kept;
      truncate(a, index, cuts, row, kept, room);
      token = draw(row, kept, noise, token, scores, tokens);
    }
    if (thread_index() == 0) {
      a.tokens.store(index, static_cast<std::int32_t>(token));
      a.statuses.store(index, static_cast<std::uint32_t>(sampling_status::sampled));
    }
  }

private:
  /// The first token of the largest logit.
  static TROUPE_GPU std::uint32_t likeliest(const row_view& row, shared<std::uint32_t> first_block) {
    if (thread_index() == 0)
      first_block.store(0, 0);
    sync_block();
    for (auto block = thread_index(); block < row.blocks; block += max_threads)
      if (row.largest_of(block) == row.largest) {
        atomic_max(first_block, 0, ~block);
        break;
      }
    sync_block();
    const auto first = ~first_block.load(0) * tokens_a_block;
    return first + lowest_bit(ballot(row.load(first + lane()) == row.largest));
  }

  static TROUPE_GPU void truncate(const arguments& a, unsigned index, const row_cuts& cuts, const row_view& row,
                                  kept_tokens& kept, const search_room& room) {
    if (cuts.least_exponent <= 0)
      kept.least = from_descending_key(first_failing(row.largest,
                                                     [&](float logit) {
                                                       return rounded::multiply(rounded::subtract(logit, row.largest),
                                                                                row.scale) >= cuts.least_exponent;
                                                     }) -
                                       1);
    const auto top_k = a.rows.top_k(index);
    if (top_k > 0) {
      auto some = kept;
      if (top_k < row.blocks)
        some.least = about_largest(row, kept, top_k, room);
      cut(row, some, {false, true, {top_k, 0}}, room);
      kept = some;
    }
    if (cuts.top_p < 1.0f) {
      const bool has_bins = a.rows.penalties(index).weighed != 0;
      if (has_bins)
        for (auto i = thread_index(); i < weight_bins; i += max_threads)
          room.bins.store(i, a.bins.load(static_cast<std::size_t>(index) * weight_bins + i));
      cut(row, kept, {false, false, {0, cuts.top_p}}, room, has_bins);
    }
    if (cuts.typical_p < 1.0f) {
      kept.centre = mean_exponent(row, kept, room);
      cut(row, kept, {true, false, {0, cuts.typical_p}}, room);
    }
  }

  /// The mean of the exponents of what is kept, by their weights.
  static TROUPE_GPU float mean_exponent(const row_view& row, const kept_tokens& kept, const search_room& room) {
    room.clear();
    wide total = 0, spread = 0;
    for_each_kept(row, kept, [&](float, float exponent, std::uint32_t) {
      const float weight = power_of_two(exponent);
      total += units_of(weight);
      spread += units_of(rounded::multiply(weight, -exponent));
    });
    atomic_add(room.bins, 0, total);
    atomic_add(room.bins, 1, spread);
    sync_block();
    const auto all = static_cast<double>(room.bins.load(0)), away = static_cast<double>(room.bins.load(1));
    sync_block();
    return static_cast<float>(rounded::divide(-away, all));
  }

  /// Of a weight 2^t: times this it is exp(a score without noise - the best score), or more, with something for rounding.
  static TROUPE_GPU float lift_over(double top, double slack, double best) {
    return 32.0f * 1.01f * exponential(static_cast<float>(top - best + slack));
  }

  /// The token of the best score. Only blocks of which the largest noise could lift the largest logit over the best so far are looked
  /// at; the CPU's draw.hpp says more. `likeliest` is looked at first, if it is kept.
  static TROUPE_GPU std::uint32_t draw(const row_view& row, const kept_tokens& kept, const row_noise& noise,
                                       std::uint32_t likeliest, shared<double> scores, shared<std::uint32_t> tokens) {
    const double top = rounded::multiply(static_cast<double>(row.largest), noise.inverse_temperature);
    const double slack = 1e-4 + (top < 0 ? -top : top) * 0x1p-49;
    drawn_token best;
    float lift = infinity;
    if (kept.keeps(row.largest, row.exponent(row.largest), likeliest)) {
      const auto random = random_of_block(noise.key, likeliest / tokens_a_block);
      best = {rounded::add(top, noise_of(noise.key, random, likeliest)), likeliest};
      lift = lift_over(top, slack, best.score);
    }
    for (auto from = warp() * 32; from < row.blocks; from += max_threads) {
      const float most = row.largest_of(from + lane());
      const float weight = power_of_two(row.exponent(most));
      const float rarity = rarity_of(random_of_block(noise.key, from + lane()));
      for (auto left = ballot(most >= kept.least && rarity <= weight * lift); left != 0; left &= left - 1) {
        const auto block = from + lowest_bit(left), token = block * tokens_a_block + lane();
        const float logit = row.load(token);
        drawn_token own;
        if (kept.keeps(logit, row.exponent(logit), token)) {
          const double score = rounded::multiply(static_cast<double>(logit), noise.inverse_temperature);
          own = {rounded::add(score, noise_of(noise.key, random_of_block(noise.key, block), token)), token};
        }
        if (!any(best.is_under(own.score, own.token)))
          continue;
        for (unsigned apart = 16; apart > 0; apart /= 2) {
          const double score = shuffle_xor(own.score, apart);
          const auto other = shuffle_xor(own.token, apart);
          if (own.is_under(score, other))
            own = {score, other};
        }
        best = own;
        lift = lift_over(top, slack, best.score);
        left &= ballot(rarity <= weight * lift) | 1u << lowest_bit(left);
      }
    }
    if (lane() == 0) {
      scores.store(warp(), best.score);
      tokens.store(warp(), best.token);
    }
    sync_block();
    for (unsigned i = 0; i < warps; ++i) {
      const double score = scores.load(i);
      const auto token = tokens.load(i);
      if (best.is_under(score, token))
        best = {score, token};
    }
    return best.token;
  }
};

} // namespace troupe::gpu
