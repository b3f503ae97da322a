// Logit bias, banned tokens and penalties: written into a row's logits, and taken back.
//
// The order, and each operation's rounding, are those of model/sampling/processors.hpp: what is added (a ban first), then the
// repetition, frequency and presence penalties of each token that was seen. A masked token's logit is left as it is: nothing may make
// it look damaged.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/kernels/sampling_weights.hpp"

namespace troupe::gpu {

/// A block a row; rows without edits are passed by.
struct edit_logits {
  static constexpr const char* name = "edit_logits";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    sampling_rows rows;
    global<const words2> edits;          ///< Each a `logit_edit`.
    global<const std::uint32_t> history; ///< Each three words: a `seen_token`.
    global<const std::uint32_t> masks;
    global<float> logits;
    global<float>
      before_edits; ///< One for each edit of the step, written for rows with logprobs: what undo_edits puts back.
    global<float> before_history; ///< One for each seen token of the step, likewise.
    std::uint32_t vocabulary, stride;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto source = a.rows.source(block_index().x);
    const auto what = a.rows.edits(block_index().x);
    if (what.edits == 0 && what.seen == 0)
      return; // All threads of the block.
    const auto penalties = a.rows.penalties(block_index().x);
    const auto logits = a.logits + static_cast<std::size_t>(source.logits) * a.stride;
    for (auto i = thread_index(); i < what.edits; i += thread_count()) {
      const auto first = static_cast<std::size_t>(what.first_edit) + i, end = first + what.edits - i;
      auto edit = a.edits.load(first);
      const auto token = edit.at[0];
      if (token >= a.vocabulary || (i > 0 && a.edits.load(first - 1).at[0] == token))
        continue; // The thread of a token's first edit does the others, in their order.
      float logit = logits.load(token);
      if (source.logprobs >= 0)
        a.before_edits.store(first, logit);
      if (is_masked(a, source.mask, token))
        continue;
      for (auto at = first; edit.at[0] == token;) {
        logit = rounded::add(logit, bits_as<float>(edit.at[1]));
        if (++at == end)
          break;
        edit = a.edits.load(at);
      }
      logits.store(token, logit);
    }
    sync_block();
    for (auto i = thread_index(); i < what.seen; i += thread_count()) {
      const auto at = static_cast<std::size_t>(what.first_seen) + i;
      const auto token = a.history.load(at * 3);
      if (token >= a.vocabulary)
        continue;
      float logit = logits.load(token);
      if (source.logprobs >= 0)
        a.before_history.store(at, logit);
      const auto in_prompt = a.history.load(at * 3 + 1), in_answer = a.history.load(at * 3 + 2);
      if (in_prompt + in_answer > 0 && !is_masked(a, source.mask, token))
        logits.store(token, penalised(logit, penalties, in_answer));
    }
  }

private:
  static TROUPE_GPU bool is_masked(const arguments& a, std::uint32_t mask, std::uint32_t token) {
    const auto words = (a.vocabulary + tokens_a_block - 1) / tokens_a_block;
    return mask != no_mask && (a.masks.load(static_cast<std::size_t>(mask) * words + token / tokens_a_block) >>
                                 (token % tokens_a_block) &
                               1u) == 0;
  }

  static TROUPE_GPU float penalised(float logit, const row_penalties& by, std::uint32_t in_answer) {
    if (by.repetition != 1.0f)
      logit = logit > 0.0f ? rounded::divide(logit, by.repetition) : rounded::multiply(logit, by.repetition);
    if (in_answer == 0)
      return logit;
    logit = rounded::subtract(logit, rounded::multiply(by.frequency, static_cast<float>(in_answer)));
    return rounded::subtract(logit, by.presence);
  }
};

/// Puts back what edit_logits has changed in rows with logprobs, and forgets their largest. A block a row.
struct undo_edits {
  static constexpr const char* name = "undo_edits";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    sampling_rows rows;
    global<const words2> edits;
    global<const std::uint32_t> history;
    global<const float> before_edits, before_history;
    global<float> logits;
    global<std::uint32_t> largest;
    std::uint32_t vocabulary, stride;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto row = block_index().x;
    const auto source = a.rows.source(row);
    const auto what = a.rows.edits(row);
    if (source.logprobs < 0 || !is_changed(source, what))
      return; // All threads of the block.
    if (thread_index() == 0)
      a.largest.store(row, 0);
    const auto logits = a.logits + static_cast<std::size_t>(source.logits) * a.stride;
    for (auto i = thread_index(); i < what.seen; i += thread_count()) {
      const auto at = static_cast<std::size_t>(what.first_seen) + i;
      if (const auto token = a.history.load(at * 3); token < a.vocabulary)
        logits.store(token, a.before_history.load(at));
    }
    sync_block();
    for (auto i = thread_index(); i < what.edits; i += thread_count()) {
      const auto at = static_cast<std::size_t>(what.first_edit) + i;
      const auto token = a.edits.load(at).at[0];
      if (token < a.vocabulary && (i == 0 || a.edits.load(at - 1).at[0] != token))
        logits.store(token, a.before_edits.load(at));
    }
  }
};

} // namespace troupe::gpu
