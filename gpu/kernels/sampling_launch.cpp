#include "gpu/kernels/sampling_launch.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numbers>

#include "gpu/kernels/list.hpp"
#include "model/sampling/logarithm.hpp"
#include "model/sampling/noise.hpp"
#include "model/sampling/survivors.hpp"

namespace troupe::gpu {

namespace {

constexpr std::uint32_t divided_up(std::uint32_t what, std::uint32_t by) {
  return (what + by - 1) / by;
}

row_cuts cuts_of(const sequence_sampling& parameters) {
  return {sampling::exponent_scale(parameters.temperature),
          parameters.min_p > 0.0f ? sampling::least_exponent(parameters.min_p) : 1.0f, parameters.top_p,
          parameters.typical_p};
}

/// Launches one kernel after another, until there is an error.
struct launcher {
  runtime& device;
  stream_id on;
  expected<void> done{};

  template <class Kernel>
  void launch(extent3 blocks, const typename Kernel::arguments& arguments, std::size_t shared_bytes = 0) {
    if (done)
      done = device.launch(on, kernel_index<Kernel, all_kernels>::value, {blocks, Kernel::max_threads, shared_bytes},
                           &arguments);
  }
  void clear(address at, std::size_t bytes) {
    if (done)
      done = device.fill(on, at, 0, bytes);
  }
};

} // namespace

void sampling_step::clear() {
  rows_.clear();
  edits_.clear();
  history_.clear();
  masks_.clear();
  weighs_ = judges_ = false;
}

void sampling_step::sample(std::uint32_t logits, const sequence_sampling& parameters, const sequence_place& place,
                           sampling::token_mask mask) {
  sampling_row row;
  row.source = {logits, add_mask(parameters, mask), parameters.logprobs, -1};
  row.penalties = {parameters.repetition_penalty, parameters.presence_penalty, parameters.frequency_penalty, 0};
  add_edits(row.edits, parameters, place);
  row.edits.first_seen = static_cast<std::uint32_t>(history_.size());
  if (place.history && (parameters.repetition_penalty != 1.0f || parameters.presence_penalty != 0.0f ||
                        parameters.frequency_penalty != 0.0f))
    add_history(row.edits, *place.history);
  if (parameters.temperature > 0.0f) {
    row.noise = {noise_key(parameters, place.position), 1.0 / static_cast<double>(parameters.temperature)};
    row.cuts = cuts_of(parameters);
    row.top_k.top_k = parameters.top_k < vocabulary_ ? parameters.top_k : 0;
    row.penalties.weighed = parameters.top_p < 1.0f && parameters.min_p <= 0.0f && row.top_k.top_k == 0 ? 1 : 0;
  }
  weighs_ = weighs_ || row.penalties.weighed != 0;
  judges_ = judges_ || parameters.logprobs >= 0;
  rows_.push_back(row);
}

void sampling_step::judge(std::uint32_t logits, token_id token, std::int32_t logprobs) {
  sampling_row row;
  row.source = {logits, no_mask, logprobs, token};
  judges_ = judges_ || logprobs >= 0;
  rows_.push_back(row);
}

/// Bans come before what is added, of each token.
void sampling_step::add_edits(row_edits& to, const sequence_sampling& parameters, const sequence_place& place) {
  const auto first = edits_.size();
  const auto ban = [&](token_id token) {
    edits_.push_back({static_cast<std::uint32_t>(token), -std::numeric_limits<float>::infinity()});
  };
  for (const auto& word : parameters.bad_words)
    if (!word.empty() && place.history && place.history->answer_ends_with(std::span(word).first(word.size() - 1)))
      ban(word.back());
  if (place.position < std::uint64_t{place.prompt_tokens} + parameters.min_tokens)
    for (const auto token : parameters.end_tokens)
      ban(token);
  for (const auto& bias : parameters.logit_bias)
    edits_.push_back({static_cast<std::uint32_t>(bias.token), bias.bias});
  std::stable_sort(edits_.begin() + static_cast<std::ptrdiff_t>(first), edits_.end(),
                   [](const auto& a, const auto& b) { return a.token < b.token; });
  to.first_edit = static_cast<std::uint32_t>(first);
  to.edits = static_cast<std::uint32_t>(edits_.size() - first);
}

void sampling_step::add_history(row_edits& to, const sampling::token_history& history) {
  static_assert(sizeof(seen_token) == 3 * sizeof(std::uint32_t));
  for (const auto& seen : history.entries())
    history_.push_back({static_cast<std::uint32_t>(seen.token), seen.in_prompt, seen.in_answer});
  to.seen = static_cast<std::uint32_t>(history.entries().size());
}

std::uint32_t sampling_step::add_mask(const sequence_sampling& parameters, sampling::token_mask mask) {
  if (mask.empty() && parameters.allowed_tokens.empty())
    return no_mask;
  const auto words = divided_up(vocabulary_, tokens_a_block);
  const auto first = masks_.size();
  masks_.resize(first + words);
  const auto own = std::span(masks_).subspan(first);
  if (parameters.allowed_tokens.empty())
    std::ranges::copy(mask.first(std::min<std::size_t>(mask.size(), words)), own.begin());
  for (const auto token : parameters.allowed_tokens) {
    const auto word = static_cast<std::uint32_t>(token) / tokens_a_block;
    const auto bit = 1u << (static_cast<std::uint32_t>(token) % tokens_a_block);
    if (word < words && (mask.empty() || (word < mask.size() && (mask[word] & bit) != 0)))
      own[word] |= bit;
  }
  return static_cast<std::uint32_t>(first / words);
}

sampling_wants sampling_step::wants(std::uint32_t stride) const {
  return {static_cast<std::uint32_t>(rows_.size()), vocabulary_, stride,
          !edits_.empty() || !history_.empty(),     weighs_,     judges_};
}

expected<void> queue_sampling(runtime& device, stream_id on, const sampling_buffers& buffers,
                              const sampling_wants& wants) {
  if (wants.rows == 0)
    return {};
  launcher queue{device, on};
  const auto& b = buffers;
  const auto v = wants.vocabulary, stride = wants.stride;
  const sampling_rows rows{{b.rows}};
  const extent3 each_row{wants.rows};
  const float model_scale = sampling::exponent_scale(1.0f);
  const auto bin_bytes = std::size_t{wants.rows} * weight_bins * sizeof(wide);
  const auto scan = [&](scan_of of) {
    queue.launch<scan_logits>({divided_up(v, scan_logits::tokens_each), wants.rows},
                              {rows, {b.logits}, {b.masks}, {b.block_largest}, {b.largest}, v, stride, of},
                              scan_logits::shared_bytes);
  };
  const auto weigh = [&](scan_of of) {
    queue.clear(b.bins, bin_bytes);
    queue.launch<weigh_logits>(
      {divided_up(v, weigh_logits::tokens_each), wants.rows},
      {rows, {b.logits}, {b.masks}, {b.block_largest}, {b.largest}, {b.bins}, v, stride, model_scale, of},
      weigh_logits::shared_bytes);
  };
  queue.clear(b.largest, std::size_t{wants.rows} * sizeof(std::uint32_t));
  if (wants.edits)
    queue.launch<edit_logits>(
      each_row,
      {rows, {b.edits}, {b.history}, {b.masks}, {b.logits}, {b.before_edits}, {b.before_history}, v, stride});
  scan(scan_of::samples);
  if (wants.weighs)
    weigh(scan_of::samples);
  queue.launch<choose_tokens>(
    each_row,
    {rows, {b.logits}, {b.masks}, {b.block_largest}, {b.largest}, {b.bins}, {b.tokens}, {b.statuses}, v, stride},
    choose_tokens::shared_bytes);
  if (!wants.judges)
    return queue.done;
  queue.launch<undo_edits>(
    each_row,
    {rows, {b.edits}, {b.history}, {b.before_edits}, {b.before_history}, {b.logits}, {b.largest}, v, stride});
  scan(scan_of::model);
  weigh(scan_of::model);
  queue.launch<judge_tokens>(each_row,
                             {rows,
                              {b.logits},
                              {b.block_largest},
                              {b.largest},
                              {b.bins},
                              {b.tokens},
                              {b.statuses},
                              {b.logprobs},
                              {b.ranks},
                              {b.top_tokens},
                              {b.top_logprobs},
                              v,
                              stride,
                              model_scale},
                             judge_tokens::shared_bytes);
  return queue.done;
}

} // namespace troupe::gpu
