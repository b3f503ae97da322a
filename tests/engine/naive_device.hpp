// A worker that computes nothing but hashes, and looks at everything: that a step follows from the one before, that
// each row reads its own sequence's KV in every group and within the window, that nobody writes where another reads.
#pragma once

#include <functional>
#include <map>

#include "tests/engine/naive_truth.hpp"

namespace troupe::test {

class naive_device {
public:
  /// What it asks the others.
  struct partners {
    std::function<truth&(sequence_id)> truth_of;
    /// Whether the manager has this block for this entry of the sequence's table, or leased, as not yet heard of.
    std::function<bool(sequence_id, std::size_t group, std::size_t index, block_id)> may_use;
  };

  naive_device(const std::vector<kv_group_options>& groups, partners others)
      : groups_(groups), others_(std::move(others)) {
    for (const auto& group : groups)
      memory_.emplace_back(std::size_t{group.blocks} * tokens_per_block, 0xbad);
  }

  using block_content = std::vector<chain>;
  block_content block(std::size_t group, block_id id) {
    const auto first = memory_.at(group).begin() + std::ptrdiff_t{id} * tokens_per_block;
    return {first, first + tokens_per_block};
  }
  void write(std::size_t group, block_id id, const block_content& content) {
    std::copy(content.begin(), content.end(), memory_.at(group).begin() + std::ptrdiff_t{id} * tokens_per_block);
  }

  step_result run(const step_changes& step) {
    apply(step);
    step_result result;
    result.epoch = step.epoch;
    result.step = step.step;
    std::map<slot_id, int> seen;
    bool drafts = false;
    for (std::uint32_t i = 0; i < step.rows.size(); ++i) {
      must(++seen[step.rows[i].slot] == 1, "a sequence has rows twice in one step");
      run_rows(step, i, result);
      drafts = drafts || step.rows[i].drafts > 0;
    }
    if (!drafts)
      result.accepted.clear();
    return result;
  }

private:
  struct member {
    sequence_joined joined;
    std::vector<std::vector<block_id>> tables;
    std::optional<token_id> last;
    std::uint32_t end = 0; ///< Its rows to come are at this position or later.
    chain pooled = 0;      ///< Of its rows since it joined.
  };

  void apply(const step_changes& step) {
    if (step.snapshot)
      members_.clear();
    must(step.snapshot || started_, "the first step is no snapshot");
    started_ = true;
    for (auto slot : step.left)
      must(members_.erase(slot) == 1, "a slot left that nobody had");
    for (const auto& joined : step.joined) {
      const bool free = members_.emplace(joined.slot, member{joined, {}, {}, 0, 0}).second;
      must(free, joined.sequence, "joined in a slot that is taken");
      members_.at(joined.slot).tables.resize(groups_.size());
    }
    for (const auto& appended : step.appended) {
      auto& table = find(appended.slot).tables.at(appended.group);
      must(appended.offset + appended.count <= step.blocks.size(), "blocks are appended that the step does not have");
      const auto first = step.blocks.begin() + appended.offset;
      table.insert(table.end(), first, first + appended.count);
    }
    for (const auto& copied : step.copied)
      copy(copied);
  }

  member& find(slot_id slot) {
    auto found = members_.find(slot);
    must(found != members_.end(), "a step names a slot that nobody has");
    return found->second;
  }

  chain& cell(std::size_t group, block_id block, std::uint32_t position) {
    must(block < groups_[group].blocks, "a block is used that there is not");
    return memory_[group][std::size_t{block} * tokens_per_block + position % tokens_per_block];
  }

  void copy(const block_copied& copied) {
    const auto group = copied.group;
    must_have_one_reader(group, copied.to, nullptr);
    bool held = false;
    for (auto& [slot, m] : members_)
      held = held || std::count(m.tables[group].begin(), m.tables[group].end(), copied.from) > 0;
    must(held, "a block is copied that nobody holds");
    for (std::uint32_t i = 0; i < tokens_per_block; ++i)
      cell(group, copied.to, i) = cell(group, copied.from, i);
  }

  /// Nobody but `owner`, or one at most, will read this block.
  void must_have_one_reader(std::size_t group, block_id block, const member* owner) {
    std::size_t readers = 0;
    for (auto& [slot, m] : members_) {
      const auto& table = m.tables[group];
      for (std::size_t i = oldest_seen(m.end, groups_[group].window) / tokens_per_block; i < table.size(); ++i)
        if (table[i] == block) {
          ++readers;
          must(!owner || &m == owner, m.joined.sequence, "reads a block that another writes to");
        }
    }
    must(readers <= 1, "a block that is written to is in two tables");
  }

  void run_rows(const step_changes& step, std::uint32_t index, step_result& result) {
    const auto& rows = step.rows[index];
    auto& m = find(rows.slot);
    auto& right = others_.truth_of(m.joined.sequence);
    const auto id = m.joined.sequence;
    must(rows.count > rows.drafts, id, "has rows that are guesses only");
    must(!rows.holds_last || m.last, id, "is to go on from a token that the worker does not hold");
    must(rows.offset + rows.given() <= step.tokens.size(), id, "has rows without tokens");
    const auto known = rows.count - rows.drafts;
    auto given = step.tokens.begin() + rows.offset;
    bool right_so_far = true;
    std::vector<token_id> sampled;
    for (std::uint32_t i = 0; i < rows.count; ++i) {
      const auto position = rows.first_position + i;
      const auto token = rows.holds_last && i + 1 == known ? *m.last : *given++;
      must(i >= known || token == right.token(position), id, "is computed with a wrong token");
      right_so_far = right_so_far && token == right.token(position);
      const auto kv = run_row(m, position, token, right_so_far ? &right : nullptr);
      m.pooled = truth::pooled_with(m.joined.sampling->pooling, m.pooled, kv);
      if (rows.samples && i + 1 >= known && (i + 1 == known || right_so_far))
        sampled.push_back(sample_after(kv, *m.joined.sampling, position + 1 - m.joined.prompt_tokens));
    }
    m.end = rows.first_position + known;
    if (m.joined.sampling->pooling != pooling::none && m.end == m.joined.prompt_tokens)
      result.embeddings.push_back({index, values_of(m.pooled)});
    if (rows.prompt_logprobs)
      report_prompt(step, index, right, result);
    if (!rows.samples)
      return;
    m.last = sampled.back();
    m.end += static_cast<std::uint32_t>(sampled.size()) - 1;
    result.sampled.insert(result.sampled.end(), sampled.begin(), sampled.end());
    result.accepted.push_back(static_cast<std::uint16_t>(sampled.size() - 1));
    if (m.joined.sampling->logprobs >= 0) {
      row_logprobs logprobs{index, rows.first_position + known, {}};
      for (auto token : sampled)
        logprobs.tokens.push_back({token, -1.0f, 1, {}});
      result.logprobs.push_back(std::move(logprobs));
    }
  }

  /// Writes the KV of one row in all groups, from what it reads there; where its tokens are the right ones so far,
  /// what it reads must be right.
  chain run_row(member& m, std::uint32_t position, token_id token, truth* right) {
    const auto id = m.joined.sequence;
    std::optional<chain> result;
    for (std::size_t group = 0; group < groups_.size(); ++group) {
      const auto& table = m.tables[group];
      must(position / tokens_per_block < table.size(), id, "has rows without blocks");
      auto entry = [&](std::uint32_t at) {
        const auto block = table[at / tokens_per_block];
        must(block != no_block, id, "needs a block that it has given up");
        return block;
      };
      const auto own = entry(position);
      if (position % tokens_per_block == 0 || position == m.end) // Once for each block of a chunk is enough.
        must_have_one_reader(group, own, &m);
      chain before = chain_before(m.joined.adapter);
      for (auto at = oldest_seen(position, groups_[group].window); at < position; ++at) {
        before = cell(group, entry(at), at);
        must(!right || before == right->at(at), id, "reads KV that is not that of its tokens");
      }
      for (auto i = oldest_seen(position, groups_[group].window) / tokens_per_block; i <= position / tokens_per_block;
           ++i)
        must(others_.may_use(id, group, i, table[i]), id, "uses a block that the manager does not have for it");
      const auto kv = chain_after(before, token);
      cell(group, own, position) = kv;
      must(!result || *result == kv, id, "has KV that differs between the groups");
      result = kv;
    }
    return *result;
  }

  void report_prompt(const step_changes& step, std::uint32_t index, truth& right, step_result& result) {
    const auto& rows = step.rows[index];
    const auto& joined = find(rows.slot).joined;
    row_logprobs report{index, rows.first_position + 1, {}};
    for (std::uint32_t i = 0; i < rows.count && rows.first_position + i + 1 < joined.prompt_tokens; ++i)
      report.tokens.push_back({right.token(rows.first_position + i + 1), -1.0f, 1, {}});
    if (rows.first_position + rows.count < joined.prompt_tokens) { // The token after the last row follows the others.
      const auto next = rows.offset + rows.given();
      must(next < step.tokens.size() && step.tokens[next] == right.token(rows.first_position + rows.count),
           joined.sequence, "lacks the prompt's token after its rows, whose logprob is wanted");
    }
    result.prompt_logprobs.push_back(std::move(report));
  }

  std::vector<kv_group_options> groups_;
  partners others_;
  std::vector<std::vector<chain>> memory_;
  std::map<slot_id, member> members_;
  bool started_ = false;
};

} // namespace troupe::test
