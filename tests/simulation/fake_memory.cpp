#include "tests/simulation/fake_memory.hpp"

#include <algorithm>
#include <cstring>

#include "tests/support/fake_backend.hpp"

namespace troupe::simulated {

fake_memory::fake_memory(std::vector<kv_group_options> groups, complaint broken)
    : groups_(std::move(groups)), broken_(std::move(broken)) {
  for (const auto& group : groups_)
    memory_.emplace_back(std::size_t{group.blocks} * tokens_per_block, -1);
}

fake_memory::member* fake_memory::find(slot_id slot) {
  if (slot < members_.size() && members_[slot].joined)
    return &members_[slot];
  broken_("a step speaks of slot " + std::to_string(slot) + ", where no sequence is.");
  return nullptr;
}

token_id* fake_memory::block(std::size_t group, block_id id) {
  if (id < groups_[group].blocks)
    return &memory_[group][std::size_t{id} * tokens_per_block];
  broken_("a step uses block " + std::to_string(id) + " of group " + std::to_string(group) + ", which is not there.");
  return nullptr;
}

token_id* fake_memory::at(member& m, std::size_t group, std::uint32_t position) {
  const auto index = position / tokens_per_block;
  if (index >= m.tables[group].size()) {
    broken_("position " + std::to_string(position) + " is beyond its sequence's blocks.");
    return nullptr;
  }
  auto* place = block(group, m.tables[group][index]);
  return place ? place + position % tokens_per_block : nullptr;
}

constexpr std::size_t block_bytes = tokens_per_block * sizeof(token_id);

std::shared_ptr<const std::vector<std::byte>> fake_memory::read(kv_group group, block_id id) {
  auto bytes = std::make_shared<std::vector<std::byte>>(block_bytes);
  if (const auto* from = block(group, id))
    std::memcpy(bytes->data(), from, block_bytes);
  return bytes;
}

void fake_memory::write(kv_group group, block_id id, const std::vector<std::byte>& bytes) {
  auto* to = block(group, id);
  if (to && bytes.size() == block_bytes)
    std::memcpy(to, bytes.data(), block_bytes);
  else
    broken_("a block came back with a wrong size.");
}

void fake_memory::change_members(const step_changes& step) {
  if (step.snapshot)
    members_.clear();
  for (auto slot : step.left)
    if (auto* m = find(slot))
      *m = {};
  for (const auto& joined : step.joined) {
    if (joined.slot >= members_.size())
      members_.resize(joined.slot + 1);
    if (members_[joined.slot].joined)
      broken_("a sequence has joined where another is.");
    members_[joined.slot] = {true, joined.sampling, joined.prompt_tokens,
                             std::vector<std::vector<block_id>>(groups_.size()), -1};
  }
  for (const auto& appended : step.appended)
    if (auto* m = find(appended.slot)) {
      const auto first = step.blocks.begin() + appended.offset;
      auto& table = m->tables.at(appended.group);
      table.insert(table.end(), first, first + appended.count);
    }
  for (const auto& copy : step.copied) {
    const auto* from = block(copy.group, copy.from);
    auto* to = block(copy.group, copy.to);
    if (from && to)
      std::copy_n(from, tokens_per_block, to);
  }
}

step_result fake_memory::compute(const step_changes& step) {
  change_members(step);
  step_result result;
  result.epoch = step.epoch;
  result.step = step.step;
  std::uint32_t rows = 0;
  for (std::uint32_t i = 0; i < step.rows.size(); ++i) {
    const auto& r = step.rows[i];
    rows += r.count;
    auto* m = find(r.slot);
    if (!m || !write(step, r, *m))
      continue;
    compare_windows(*m, r.first_position + r.count);
    if (r.prompt_logprobs)
      report_prompt(step, i, *m, result);
    if (r.samples)
      sample(step, i, *m, result);
    if (m->sampling->pooling != pooling::none && r.first_position + r.count == m->prompt_tokens)
      embed(i, *m, result);
  }
  result.compute_ms = 0.05 + 0.01 * rows;
  return result;
}

bool fake_memory::write(const step_changes& step, const step_rows& rows, member& m) {
  const auto last = rows.count - rows.drafts - 1; ///< The row whose token the worker may hold.
  auto given = step.tokens.begin() + rows.offset;
  for (std::uint32_t i = 0; i < rows.count; ++i) {
    const auto token = rows.holds_last && i == last ? m.last : *given++;
    if (token < 0)
      broken_("a row goes on from a token that nobody has sampled.");
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      auto* place = at(m, g, rows.first_position + i);
      if (!place)
        return false;
      *place = token;
    }
  }
  return true;
}

void fake_memory::compare_windows(member& m, std::uint32_t end) {
  for (std::size_t g = 1; g < groups_.size(); ++g) {
    const auto window = groups_[g].window;
    for (auto position = window > 0 && end > window ? end - window : 0; position < end; ++position) {
      const auto *here = at(m, g, position), *there = at(m, 0, position);
      if (here && there && *here != *there)
        return broken_("group " + std::to_string(g) + " holds another token at position " + std::to_string(position) +
                       " than group 0.");
    }
  }
}

void fake_memory::sample(const step_changes& step, std::uint32_t index, member& m, step_result& result) {
  const auto& rows = step.rows[index];
  const auto base = rows.first_position + rows.count - rows.drafts;
  fake_model model(m.sampling->seed, m.sampling->choice), text(0, 0);
  const auto feed = [&](std::uint32_t position) {
    if (const auto* place = at(m, 0, position)) {
      model.feed(*place);
      text.feed(*place);
    }
  };
  std::vector<token_id> answer;
  for (std::uint32_t p = 0; p < base; ++p) {
    feed(p);
    if (const auto* place = p < m.prompt_tokens ? nullptr : at(m, 0, p))
      answer.push_back(*place);
  }
  row_logprobs logprobs{index, base, {}};
  std::uint16_t accepted = 0;
  while (true) {
    const auto position = base + accepted;
    m.last = next_token(model, *m.sampling, answer);
    result.sampled.push_back(m.last);
    if (m.last == no_token) {
      m.last = 0;
      break;
    }
    answer.push_back(m.last);
    if (m.sampling->logprobs >= 0)
      logprobs.tokens.push_back(text.logprob(m.last, m.sampling->logprobs));
    const auto* draft = accepted < rows.drafts ? at(m, 0, position) : nullptr;
    if (!draft || *draft != m.last)
      break;
    feed(position);
    ++accepted;
  }
  result.accepted.push_back(accepted);
  if (!logprobs.tokens.empty())
    result.logprobs.push_back(std::move(logprobs));
}

void fake_memory::embed(std::uint32_t index, member& m, step_result& result) {
  std::vector<token_id> prompt;
  for (std::uint32_t p = 0; p < m.prompt_tokens; ++p)
    if (const auto* place = at(m, 0, p))
      prompt.push_back(*place);
  result.embeddings.push_back({index, test::fake_embedding(prompt, m.sampling->pooling)});
}

void fake_memory::report_prompt(const step_changes& step, std::uint32_t index, member& m, step_result& result) {
  const auto& rows = step.rows[index];
  fake_model text(0, 0);
  row_logprobs logprobs{index, rows.first_position + 1, {}};
  const auto end = std::min(rows.first_position + rows.count + 1, m.prompt_tokens);
  for (std::uint32_t p = 0; p + 1 < end; ++p) {
    const auto* place = at(m, 0, p);
    if (!place)
      return;
    text.feed(*place);
    if (p >= rows.first_position)
      logprobs.tokens.push_back(
        text.logprob(step.tokens.at(rows.offset + p + 1 - rows.first_position), m.sampling->prompt_logprobs));
  }
  if (!logprobs.tokens.empty())
    result.prompt_logprobs.push_back(std::move(logprobs));
}

} // namespace troupe::simulated
