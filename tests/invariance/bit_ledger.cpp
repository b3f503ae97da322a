#include "tests/invariance/bit_ledger.hpp"

#include <algorithm>

namespace troupe::test {

prefix_name next_prefix(const prefix_name& before, token_id token) {
  std::array<std::byte, sizeof(prefix_name) + sizeof(token_id)> both;
  std::memcpy(both.data(), before.data(), before.size());
  std::memcpy(both.data() + before.size(), &token, sizeof token);
  return hash_of(both);
}

prefix_name name_of(std::span<const token_id> tokens) {
  prefix_name name{};
  for (auto token : tokens)
    name = next_prefix(name, token);
  return name;
}

void bit_ledger::begin(std::string run) {
  std::lock_guard lock(mutex_);
  runs_.push_back(std::move(run));
  seen_ = {};
  cuts_.clear();
}

bit_ledger::counts bit_ledger::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

std::vector<std::string> bit_ledger::violations() const {
  std::lock_guard lock(mutex_);
  return violations_;
}

std::set<block_cuts> bit_ledger::cuts_of(const prefix_name& end) const {
  std::lock_guard lock(mutex_);
  const auto found = cuts_.find(end);
  return found == cuts_.end() ? std::set<block_cuts>{} : found->second;
}

void bit_ledger::pass(const forward_batch& batch) {
  std::lock_guard lock(mutex_);
  const auto rows = static_cast<std::uint32_t>(batch.tokens.size());
  const auto spans = static_cast<std::uint32_t>(batch.spans.size());
  ++seen_.passes;
  seen_.rows += rows;
  seen_.rows_beside_others += spans > 1 ? rows : 0;
  seen_.most_rows = std::max(seen_.most_rows, rows);
  seen_.most_spans = std::max(seen_.most_spans, spans);
  for (const auto& span : batch.spans)
    seen_.longest_span = std::max(seen_.longest_span, span.rows);
}

void bit_ledger::note(std::string sentence) {
  constexpr std::size_t enough = 20;
  if (violations_.size() < enough)
    violations_.push_back(runs_.back() + ": " + std::move(sentence));
}

void bit_ledger::wrong(std::string sentence) {
  std::lock_guard lock(mutex_);
  note(std::move(sentence));
}

/// False: it is new.
bool bit_ledger::same(std::map<prefix_name, entry>& all, const prefix_name& name, const content_hash& bits,
                      const char* what) {
  const auto [found, is_new] = all.try_emplace(name, entry{bits, runs_.size() - 1});
  if (!is_new && found->second.bits != bits)
    note(std::string(what) + " of the prefix " + hex_of(name) + " differ from those in: " + runs_[found->second.run]);
  return !is_new;
}

void bit_ledger::logits(const prefix_name& after, std::span<const float> values) {
  const auto bits = hash_of(std::as_bytes(values));
  std::lock_guard lock(mutex_);
  seen_.logits_again += same(logits_, after, bits, "Logits");
}

void bit_ledger::block(const prefix_name& end, std::span<const std::byte> contents, block_cuts cuts) {
  const auto bits = hash_of(contents);
  std::lock_guard lock(mutex_);
  seen_.blocks_again += same(blocks_, end, bits, "Keys and values");
  cuts_[end].insert(cuts);
}

/// The tokens that the blocks in front of the span hold, each block being one that follows the one before it.
prefix_name watched_backend::prefix_before(const batch_span& span) {
  prefix_name name{};
  for (std::uint32_t position = 0; position < span.first_position; position += tokens_per_block) {
    const auto& held = pages_.at(span.blocks[position / tokens_per_block]);
    const auto needed = std::min(tokens_per_block, span.first_position - position);
    if (held.before != name || held.filled < needed) {
      ledger_->wrong("Block " + std::to_string(position / tokens_per_block) + " of a table of " +
                     std::to_string(span.first_position) + " tokens is not what follows the blocks before it.");
      return {};
    }
    name = held.ends[needed - 1];
  }
  return name;
}

void watched_backend::take(const batch_span& span, std::span<const token_id> tokens,
                           std::vector<prefix_name>& after) {
  auto name = prefix_before(span);
  for (std::uint32_t row = 0; row < span.rows; ++row) {
    const auto position = span.first_position + row, offset = position % tokens_per_block;
    const auto block = span.blocks[position / tokens_per_block];
    auto& held = pages_.at(block);
    if (offset == 0)
      held = {.before = name};
    name = next_prefix(name, tokens[span.first_row + row]);
    held.ends[offset] = name;
    held.filled = offset + 1; // What a copied block has behind it is another sequence's.
    const auto bit = static_cast<block_cuts>(1u << offset);
    held.cuts = static_cast<block_cuts>(row == 0 ? held.cuts | bit : held.cuts & ~bit);
    after.push_back(name);
    if (held.filled == tokens_per_block)
      full_.push_back(block);
  }
}

expected<void> watched_backend::forward(const forward_batch& batch, std::span<float> logits) {
  ledger_->passes_gate.pass();
  if (ledger_->crash_in_passes >= 0 && ledger_->crash_in_passes-- == 0)
    throw std::runtime_error("the device has crashed, as the test wanted");
  ledger_->pass(batch);
  full_.clear();
  std::vector<prefix_name> after;
  for (const auto& span : batch.spans)
    take(span, batch.tokens, after);
  if (auto done = real_->forward(batch, logits); !done)
    return done;
  for (std::size_t i = 0; i < batch.logit_rows.size(); ++i)
    ledger_->logits(after[batch.logit_rows[i]], logits.subspan(i * vocabulary_, vocabulary_));
  std::vector<std::byte> contents(real_->block_bytes(0));
  for (auto block : full_) {
    if (auto read = real_->read_block(0, block, contents); !read)
      return read;
    ledger_->block(pages_[block].ends[tokens_per_block - 1], contents, pages_[block].cuts);
  }
  return {};
}

expected<void> watched_backend::write_block(kv_group group, block_id block, std::span<const std::byte> from) {
  pages_.at(block) = {}; // Nobody says what that is: who reads it is told of as wrong.
  return real_->write_block(group, block, from);
}

expected<void> watched_backend::copy_block(kv_group group, block_id from, block_id to) {
  pages_.at(to) = pages_.at(from);
  return real_->copy_block(group, from, to);
}

} // namespace troupe::test
