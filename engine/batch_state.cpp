#include "engine/batch_state.hpp"

#include <algorithm>
#include <string>

namespace troupe {

namespace {

auto broken(slot_id slot, const char* what) {
  return fail(errc::internal, "A step is wrong for the sequence in slot " + std::to_string(slot) + ": " + what +
                                "; this is a bug of the scheduler.");
}

} // namespace

batch_state::member* batch_state::find(slot_id slot) {
  return slot < members_.size() && members_[slot].joined ? &members_[slot] : nullptr;
}

expected<void> batch_state::change_members(const step_changes& step) {
  if (step.snapshot) {
    members_.clear();
    sequences_ = 0;
    awaited_.clear();
    epoch_ = step.epoch;
  }
  for (auto slot : step.left) {
    auto* m = find(slot);
    if (!m)
      return broken(slot, "it left without having joined");
    *m = {};
    --sequences_;
  }
  for (const auto& joined : step.joined) {
    if (joined.mask != 0 || joined.adapter != 0)
      return fail(errc::unsupported, "Grammar masks and adapters are not supported by this worker.");
    if (joined.slot >= members_.size())
      members_.resize(joined.slot + 1);
    auto& m = members_[joined.slot];
    if (m.joined)
      return broken(joined.slot, "it joined where another is");
    m = {joined.sequence, true, joined.prompt_tokens, joined.sampling ? joined.sampling->pooling : pooling::none,
         std::vector<std::vector<block_id>>(groups_)};
    ++sequences_;
  }
  for (const auto& appended : step.appended) {
    auto* m = find(appended.slot);
    if (!m)
      return broken(appended.slot, "blocks were appended before it joined");
    if (appended.group >= groups_)
      return fail(errc::unsupported, "This worker's model has " + std::to_string(groups_) + " KV groups, and group " +
                                       std::to_string(appended.group) + " is not one of them.");
    const auto first = step.blocks.begin() + appended.offset;
    auto& table = m->tables[appended.group];
    table.insert(table.end(), first, first + appended.count);
  }
  return {};
}

expected<const batch_state::rows*> batch_state::apply(const step_changes& step, bool ahead) {
  if (auto changed = change_members(step); !changed)
    return tl::unexpected(changed.error());
  rows_.tokens.clear();
  rows_.spans.clear();
  rows_.logit_rows.clear();
  rows_.hidden_rows.clear();
  rows_.pooled_parts.clear();
  rows_.samples.clear();
  rows_.prompt_parts.clear();
  const auto is_pooled = [&](const step_rows& r) {
    const auto* m = find(r.slot);
    return m && m->pooling != pooling::none;
  };
  for (const bool pooled : {false, true})
    for (std::uint32_t i = 0; i < step.rows.size(); ++i)
      if (is_pooled(step.rows[i]) == pooled)
        if (auto added = add_rows(step, i, ahead); !added)
          return tl::unexpected(added.error());
  if (place_ == stage_place::first)
    await_tokens(step);
  return &rows_;
}

void batch_state::await_tokens(const step_changes& step) {
  std::vector<slot_id> slots;
  for (const auto& r : step.rows)
    if (r.samples) {
      slots.push_back(r.slot);
      members_[r.slot].awaited_step = step.step;
    }
  if (!slots.empty())
    awaited_.push_back({step.step, std::move(slots)});
}

bool batch_state::has_tokens_for(const step_changes& next) const {
  if (awaited_.empty() || next.snapshot)
    return true;
  for (const auto& r : next.rows)
    if (r.holds_last && r.slot < members_.size() && members_[r.slot].awaited_step != 0)
      return false;
  return true;
}

expected<void> batch_state::take_tokens(const step_tokens& tokens) {
  if (tokens.epoch != epoch_)
    return {};
  const auto wrong = [&] {
    return fail(errc::internal, "The tokens of step " + std::to_string(tokens.step) +
                                  " do not fit the steps that wait for some; this is a bug of the last stage.");
  };
  if (tokens.sampled.empty() && (awaited_.empty() || awaited_.front().step != tokens.step))
    return {}; // Nothing was sampled in it, and nobody waits.
  if (awaited_.empty() || awaited_.front().step != tokens.step)
    return wrong();
  const auto slots = std::move(awaited_.front().slots);
  awaited_.pop_front();
  if (!tokens.accepted.empty() && tokens.accepted.size() != slots.size())
    return wrong();
  std::size_t next = 0;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    next += 1u + (tokens.accepted.empty() ? 0u : tokens.accepted[i]);
    if (next > tokens.sampled.size())
      return wrong();
    // Who has left awaits nothing, and who came in its place awaits a later step.
    if (auto& m = members_[slots[i]]; m.awaited_step == tokens.step) {
      m.awaited_step = 0;
      m.last_token = std::max(tokens.sampled[next - 1], token_id{0}); // After no_token rows in flight are for nobody.
    }
  }
  return next == tokens.sampled.size() ? expected<void>{} : wrong();
}

token_id batch_state::held_token(const member& m, bool ahead) const {
  if (place_ == stage_place::middle)
    return 0;
  return m.awaited_step == 0 ? m.last_token : ahead ? m.awaited : no_token;
}

expected<void> batch_state::add_rows(const step_changes& step, std::uint32_t index, bool ahead) {
  const auto& r = step.rows[index];
  auto* m = find(r.slot);
  if (!m)
    return broken(r.slot, "it has rows but has not joined");
  const auto held = held_token(*m, ahead);
  if (r.count <= r.drafts || (r.holds_last && held == no_token) || r.offset + r.given() > step.tokens.size())
    return broken(r.slot, "its rows lack tokens");
  for (const auto& table : m->tables)
    if (std::uint64_t{r.first_position} + r.count > table.size() * std::uint64_t{tokens_per_block})
      return broken(r.slot, "its rows lack blocks");
  const auto first_row = static_cast<std::uint32_t>(rows_.tokens.size());
  const auto given = std::span(step.tokens).subspan(r.offset, r.given());
  const auto drafts = given.last(r.drafts);
  const auto known = given.first(given.size() - r.drafts);
  rows_.tokens.insert(rows_.tokens.end(), known.begin(), known.end());
  if (r.holds_last)
    rows_.tokens.push_back(held);
  rows_.tokens.insert(rows_.tokens.end(), drafts.begin(), drafts.end());
  rows_.spans.push_back({r.slot, first_row, r.count, r.first_position, m->tables});
  if (place_ != stage_place::last)
    return {};
  if (m->pooling != pooling::none && (r.samples || r.prompt_logprobs))
    return broken(r.slot, "its hidden states are pooled, so that it has no logits");
  add_hidden(index, *m);
  return add_logits(step, index, *m, drafts);
}

/// Which hidden states the last of `rows_.spans` wants.
void batch_state::add_hidden(std::uint32_t index, const member& m) {
  const auto& span = rows_.spans.back();
  const bool ends = span.first_position + span.count == m.prompt_tokens;
  if (m.pooling == pooling::none || (m.pooling == pooling::last && !ends))
    return;
  const auto count = m.pooling == pooling::mean ? span.count : 1;
  rows_.pooled_parts.push_back({span.slot, index, static_cast<std::uint32_t>(rows_.hidden_rows.size()), count, ends});
  for (auto i = span.count - count; i < span.count; ++i)
    rows_.hidden_rows.push_back(span.first_row + i);
}

/// Which logits the last of `rows_.spans` wants, and what for.
expected<void> batch_state::add_logits(const step_changes& step, std::uint32_t index, member& m,
                                       std::span<const token_id> drafts) {
  const auto& r = step.rows[index];
  const auto first_row = rows_.spans.back().first_row;
  const auto base = r.count - r.drafts;
  const auto first_logit = static_cast<std::uint32_t>(rows_.logit_rows.size());
  const auto first_wanted = r.prompt_logprobs ? 0 : r.samples ? base - 1 : r.count;
  for (auto i = first_wanted; i < r.count; ++i)
    rows_.logit_rows.push_back(first_row + i);
  if (r.samples) {
    rows_.samples.push_back({r.slot, index, first_logit + base - 1 - first_wanted, r.first_position + base, drafts});
    m.awaited_step = step.step;
    m.awaited = drafts.empty() ? awaited_token(rows_.samples.back().first_logit) : no_token;
  }
  if (r.prompt_logprobs) {
    const auto end = std::min(r.first_position + r.count + 1, m.prompt_tokens);
    const auto wanted = end > r.first_position + 1 ? end - r.first_position - 1 : 0;
    if (r.holds_last || r.offset + 1 + wanted > step.tokens.size())
      return broken(r.slot, "its prompt's next token is not given");
    rows_.prompt_parts.push_back(
      {r.slot, index, first_logit, r.first_position + 1, std::span(step.tokens).subspan(r.offset + 1, wanted)});
  }
  return {};
}

} // namespace troupe
