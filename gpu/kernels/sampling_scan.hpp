// The two passes over whole rows of logits: the largest of each 32, and where weighing needs all of a row, the sums of the weights.
//
// Both are of many blocks a row, which combine what they find by integer atomics, so that no order can be seen in it.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/kernels/sampling_weights.hpp"

namespace troupe::gpu {

/// Whose logits a pass looks at.
enum class scan_of : std::uint32_t {
  samples = 0, ///< As they are sampled from: edited, and without what is masked.
  model = 1,   ///< As the model has them, for logprobs: of rows that want these.
};

/// Writes the largest logit of each block of 32 tokens, and of each row: +infinity where something is that or NaN, masked or not, and
/// -infinity where all are. -0 counts as 0. Of the model's logits only rows that were changed are looked at again.
/// Blocks x: vocabulary / tokens_each (rounded up), y: rows. `largest` must be 0.
struct scan_logits {
  static constexpr const char* name = "scan_logits";
  static constexpr unsigned max_threads = 256;
  static constexpr unsigned parts = 4; ///< Of four logits, a thread.
  static constexpr unsigned tokens_each = max_threads * 4 * parts;
  static constexpr std::size_t shared_bytes = max_threads / 32 * sizeof(float);
  struct arguments {
    sampling_rows rows;
    global<const float> logits;
    global<const std::uint32_t> masks;
    global<float> block_largest;
    global<std::uint32_t> largest;
    std::uint32_t vocabulary, stride;
    scan_of of;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto row = block_index().y;
    const auto source = a.rows.source(row);
    if (a.of == scan_of::model && (source.logprobs < 0 || !is_changed(source, a.rows.edits(row))))
      return; // All threads of the block.
    const bool is_masked = a.of == scan_of::samples && source.mask != no_mask;
    const auto blocks = (a.vocabulary + tokens_a_block - 1) / tokens_a_block;
    const auto logits = a.logits + static_cast<std::size_t>(source.logits) * a.stride;
    floats4 own[parts];
    std::uint32_t word[parts];
    TROUPE_UNROLL
    for (unsigned part = 0; part < parts; ++part) {
      const auto token = block_index().x * tokens_each + (part * max_threads + thread_index()) * 4;
      for (unsigned j = 0; j < 4; ++j)
        own[part].at[j] = -infinity;
      if (token + 4 <= a.vocabulary)
        own[part] = logits.template load_as<floats4>(token);
      else
        for (unsigned j = 0; j < 4; ++j)
          if (token + j < a.vocabulary)
            own[part].at[j] = logits.load(token + j);
      word[part] = 0xffffffffu;
      if (is_masked && token < a.vocabulary)
        word[part] = a.masks.load(static_cast<std::size_t>(source.mask) * blocks + token / tokens_a_block);
    }
    float largest = -infinity;
    TROUPE_UNROLL
    for (unsigned part = 0; part < parts; ++part) {
      const auto token = block_index().x * tokens_each + (part * max_threads + thread_index()) * 4;
      float most = -infinity;
      for (unsigned j = 0; j < 4; ++j) {
        const float logit = own[part].at[j];
        if (!(logit < infinity))
          most = infinity;
        else if (logit > most && (word[part] >> ((token + j) % tokens_a_block) & 1u) != 0)
          most = logit;
      }
      for (unsigned apart = 4; apart > 0; apart /= 2) { // Eight lanes have a block.
        const float other = shuffle_xor(most, apart);
        most = other > most ? other : most;
      }
      if (token % tokens_a_block == 0 && token < a.vocabulary)
        a.block_largest.store(static_cast<std::size_t>(row) * blocks + token / tokens_a_block,
                              rounded::add(most, 0.0f));
      largest = most > largest ? most : largest;
    }
    for (unsigned apart = 16; apart >= 8; apart /= 2) {
      const float other = shuffle_xor(largest, apart);
      largest = other > largest ? other : largest;
    }
    const auto of_warps = memory.array<float>(max_threads / 32);
    if (lane() == 0)
      of_warps.store(warp(), largest);
    sync_block();
    if (thread_index() > 0)
      return;
    for (unsigned i = 1; i < max_threads / 32; ++i) {
      const float other = of_warps.load(i);
      largest = other > largest ? other : largest;
    }
    atomic_max(a.largest, row, ascending_key(rounded::add(largest, 0.0f)));
  }
};

/// Sixteenths of an exponent from the largest down, or away from a centre; the last has all that are farther.
TROUPE_GPU std::uint32_t interval_of(float exponent, float centre) {
  const float t = rounded::subtract(exponent, centre);
  const float distance = rounded::multiply(t < 0.0f ? -t : t, 16.0f);
  return distance < static_cast<float>(weight_bins - 1) ? static_cast<std::uint32_t>(distance) : weight_bins - 1;
}

/// Adds each token's weight to the sum of the interval that its exponent is in.
/// Blocks x: vocabulary / tokens_each (rounded up), y: rows. `bins` must be 0.
struct weigh_logits {
  static constexpr const char* name = "weigh_logits";
  static constexpr unsigned max_threads = 256;
  static constexpr unsigned tokens_each = 16384;
  static constexpr std::size_t shared_bytes = weight_bins * sizeof(wide);
  struct arguments {
    sampling_rows rows;
    global<const float> logits;
    global<const std::uint32_t> masks;
    global<const float> block_largest;
    global<const std::uint32_t> largest;
    global<wide> bins;
    std::uint32_t vocabulary, stride;
    float model_scale; ///< exponent_scale(1).
    scan_of of;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto row = block_index().y;
    const auto source = a.rows.source(row);
    const bool is_wanted =
      a.of == scan_of::model ? source.logprobs >= 0 : a.rows.penalties(row).weighed != 0 && source.given < 0;
    const float largest = from_ascending_key(a.largest.load(row));
    if (!is_wanted || !(largest < infinity) || largest == -infinity)
      return; // All threads of the block.
    const auto mask = a.of == scan_of::samples ? source.mask : no_mask;
    const float scale = a.of == scan_of::samples ? a.rows.cuts(row).scale : a.model_scale;
    const auto blocks = (a.vocabulary + tokens_a_block - 1) / tokens_a_block;
    const auto logits = a.logits + static_cast<std::size_t>(source.logits) * a.stride;
    const auto sums = memory.array<wide>(weight_bins);
    for (auto i = thread_index(); i < weight_bins; i += thread_count())
      sums.store(i, 0);
    sync_block();
    constexpr auto blocks_each = tokens_each / tokens_a_block;
    for (auto i = warp(); i < blocks_each; i += max_threads / 32) {
      const auto block = block_index().x * blocks_each + i;
      if (block >= blocks)
        break;
      // What is so far under the largest weighs nothing.
      const float most = a.block_largest.load(static_cast<std::size_t>(row) * blocks + block);
      if (rounded::multiply(rounded::subtract(most, largest), scale) < -47.0f)
        continue;
      const auto token = block * tokens_a_block + lane();
      if (token >= a.vocabulary ||
          (mask != no_mask && (a.masks.load(static_cast<std::size_t>(mask) * blocks + block) >> lane() & 1u) == 0))
        continue;
      const float t = exponent_of(logits.load(token), largest, scale);
      if (const auto weight = units_of(power_of_two(t)); weight > 0)
        atomic_add(sums, interval_of(t, 0.0f), weight);
    }
    sync_block();
    for (auto i = thread_index(); i < weight_bins; i += thread_count())
      if (const auto sum = sums.load(i); sum > 0)
        atomic_add(a.bins, static_cast<std::size_t>(row) * weight_bins + i, sum);
  }
};

} // namespace troupe::gpu
