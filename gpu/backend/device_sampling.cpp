#include "gpu/backend/device_sampling.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "model/sampling/sampler.hpp"
#include "protocol/limits.hpp"

namespace troupe::gpu {

namespace {

static_assert(max_logprobs <= static_cast<std::int32_t>(most_top_logprobs));

/// Of what rows bring, together. More is sampled on the host; a row seldom brings 4 KiB.
constexpr std::size_t least_room = std::size_t{4} << 20, room_a_row = std::size_t{32} << 10;

constexpr std::size_t row_words = sizeof(sampling_row) / sizeof(std::uint32_t);

std::size_t room_of(std::uint32_t most_rows) {
  return std::max(least_room, most_rows * room_a_row);
}

constexpr std::size_t divided_up(std::size_t what, std::size_t by) {
  return (what + by - 1) / by;
}
constexpr std::size_t aligned(std::size_t bytes) {
  return divided_up(bytes, 256) * 256;
}

bool has_penalties(const sequence_sampling& parameters) {
  return parameters.repetition_penalty != 1.0f || parameters.presence_penalty != 0.0f ||
         parameters.frequency_penalty != 0.0f;
}

/// Byte offsets of what some rows give, in their own memory.
struct result_layout {
  std::size_t tokens, statuses, logprobs, ranks, top_tokens, top_logprobs, end;
};

result_layout results_of(std::size_t rows) {
  const auto each = rows * sizeof(std::uint32_t), top = each * most_top_logprobs;
  return {0, each, 2 * each, 3 * each, 4 * each, 4 * each + top, 4 * each + 2 * top};
}

error why_not(sampling_status status, bool was_given) {
  return status == sampling_status::none_left && !was_given ? no_token_left() : damaged_logits();
}

} // namespace

device_sampling::device_sampling(std::uint32_t vocabulary, std::uint32_t stride, std::uint32_t most_rows)
    : vocabulary_(vocabulary), blocks_(static_cast<std::uint32_t>(divided_up(vocabulary, tokens_a_block))),
      stride_(stride), most_rows_(most_rows), step_(vocabulary) {}

std::size_t device_sampling::results_room() const {
  return results_of(most_rows_).end;
}

std::size_t device_sampling::result_bytes() const {
  const auto layout = results_of(rows_);
  return kind_ == sampling_kind::judged ? layout.end : layout.logprobs;
}

std::size_t device_sampling::words_room() const {
  return 4 * sizeof(std::uint32_t) + most_rows_ * sizeof(sampling_row) + room_of(most_rows_);
}

bool device_sampling::has_room_for(std::span<const sampling_request> asked) const {
  std::size_t edits = 0, seen = 0, masks = 0;
  for (const auto& each : asked) {
    if (each.given != no_token)
      continue;
    const auto& p = *each.parameters;
    edits += p.bad_words.size() + p.end_tokens.size() + p.logit_bias.size();
    seen += has_penalties(p) ? each.history->entries().size() : 0;
    masks += p.allowed_tokens.empty() ? 0 : 1;
  }
  const auto gaps = sizeof(seen_token) + mask_bytes(); // In front of those that begin at a multiple of their size.
  return edits * sizeof(logit_edit) + seen * sizeof(seen_token) + masks * mask_bytes() + gaps <= room_of(most_rows_);
}

void device_sampling::take(std::span<const sampling_request> asked) {
  step_.clear();
  for (const auto& each : asked)
    if (each.given == no_token)
      step_.sample(each.logits, *each.parameters, {each.position, each.prompt_tokens, each.history});
    else
      step_.judge(each.logits, each.given, each.logprobs());
  const auto wants = step_.wants(stride_);
  kind_ = asked.empty()                 ? sampling_kind::none
          : wants.judges                ? sampling_kind::judged
          : wants.edits || wants.weighs ? sampling_kind::changed
                                        : sampling_kind::plain;
}

void device_sampling::write(std::vector<std::uint32_t>& words, std::uint32_t rows) {
  assert(rows <= most_rows_);
  rows_ = rows;
  // Each from a multiple of its own size on, behind the rows.
  const auto first_seen = divided_up(step_.edits().size_bytes(), sizeof(seen_token));
  const auto behind_seen = first_seen * sizeof(seen_token) + step_.history().size_bytes();
  const auto first_mask = step_.masks().empty() ? 0 : divided_up(behind_seen, mask_bytes());
  const auto bytes = step_.masks().empty() ? behind_seen : first_mask * mask_bytes() + step_.masks().size_bytes();
  assert(bytes <= room_of(most_rows_));
  first_word_ = static_cast<std::uint32_t>(divided_up(words.size(), 4) * 4);
  words.resize(first_word_ + rows * row_words + divided_up(bytes, sizeof(std::uint32_t)));
  auto* const to = words.data() + first_word_;
  for (std::uint32_t row = 0; row < rows; ++row) {
    sampling_row nobodys;
    nobodys.source = {row, no_mask, -1, 0}; // A token that is there already.
    std::memcpy(to + row * row_words, &nobodys, sizeof nobodys);
  }
  for (auto row : step_.rows()) {
    row.edits.first_seen += static_cast<std::uint32_t>(first_seen);
    if (row.source.mask != no_mask)
      row.source.mask += static_cast<std::uint32_t>(first_mask);
    std::memcpy(to + row.source.logits * row_words, &row, sizeof row);
  }
  const auto put = [&](const auto& values, std::size_t at) {
    if (!values.empty())
      std::memcpy(reinterpret_cast<std::byte*>(to + rows * row_words) + at, values.data(), values.size_bytes());
  };
  put(step_.edits(), 0);
  put(step_.history(), first_seen * sizeof(seen_token));
  put(step_.masks(), first_mask * mask_bytes());
}

std::size_t device_sampling::bytes() const {
  const std::size_t rows = most_rows_, room = room_of(most_rows_);
  return aligned(results_room()) + aligned(rows * blocks_ * sizeof(float)) + aligned(rows * sizeof(std::uint32_t)) +
         aligned(rows * weight_bins * sizeof(wide)) + aligned(room / sizeof(logit_edit) * sizeof(float)) +
         aligned((room / sizeof(seen_token) + 1) * sizeof(float));
}

expected<void> device_sampling::queue(runtime& device, stream_id on, address words, address logits) const {
  const std::size_t rows = most_rows_, room = room_of(most_rows_);
  auto next = at_;
  const auto place = [&](std::size_t bytes) {
    const auto here = next;
    next += aligned(bytes);
    return here;
  };
  sampling_buffers b;
  const auto results = place(results_room());
  b.block_largest = place(rows * blocks_ * sizeof(float));
  b.largest = place(rows * sizeof(std::uint32_t));
  b.bins = place(rows * weight_bins * sizeof(wide));
  b.before_edits = place(room / sizeof(logit_edit) * sizeof(float));
  b.before_history = place((room / sizeof(seen_token) + 1) * sizeof(float));
  b.rows = words + first_word_ * sizeof(std::uint32_t);
  b.edits = b.history = b.masks = b.rows + rows_ * sizeof(sampling_row);
  b.logits = logits;
  const auto layout = results_of(rows_);
  b.tokens = results + layout.tokens;
  b.statuses = results + layout.statuses;
  b.logprobs = results + layout.logprobs;
  b.ranks = results + layout.ranks;
  b.top_tokens = results + layout.top_tokens;
  b.top_logprobs = results + layout.top_logprobs;
  const bool changes = kind_ >= sampling_kind::changed;
  return queue_sampling(device, on, b,
                        {rows_, vocabulary_, stride_, changes, changes, kind_ == sampling_kind::judged});
}

void read_choices(address results, std::uint32_t rows, std::span<const sampling_request> asked,
                  std::span<chosen_token> chosen) {
  const auto layout = results_of(rows);
  const auto array = [&]<class Value>(Value, std::size_t at) { return reinterpret_cast<const Value*>(results + at); };
  const auto* tokens = array(token_id{}, layout.tokens);
  const auto* statuses = array(sampling_status{}, layout.statuses);
  const auto* logprobs = array(float{}, layout.logprobs);
  const auto* ranks = array(std::uint32_t{}, layout.ranks);
  const auto* top_tokens = array(token_id{}, layout.top_tokens);
  const auto* top_logprobs = array(float{}, layout.top_logprobs);
  for (const auto& each : asked) {
    const std::size_t i = each.logits;
    auto& out = chosen[i];
    if (statuses[i] != sampling_status::sampled) {
      out.token = tl::unexpected(why_not(statuses[i], each.given != no_token));
      continue;
    }
    out.token = tokens[i];
    if (each.logprobs() < 0)
      continue;
    out.logprob = {tokens[i], logprobs[i], ranks[i], {}};
    for (auto at = i * most_top_logprobs; at < (i + 1) * most_top_logprobs && top_tokens[at] >= 0; ++at)
      out.logprob.top.push_back({top_tokens[at], top_logprobs[at]});
  }
}

} // namespace troupe::gpu
