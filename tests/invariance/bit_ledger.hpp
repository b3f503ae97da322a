// What was ever computed of a prefix of tokens, bit for bit: the logits after it, and the keys and values of each
// block that it fills. Whoever computes it again, in another batch, cut in another way, in another engine, must
// compute the same.
//
// A `watched_backend` stands before a real one, tells the ledger all that it computes, and changes nothing. It knows
// which tokens each block holds, so it also sees a block table whose blocks are not those of one sequence.
//
// Threads: the ledger may be asked by a test while a worker's thread writes to it; a backend has one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/kv/fingerprint.hpp"
#include "model/backend.hpp"
#include "tests/support/fake_backend.hpp"

namespace troupe::test {

/// Names all tokens up to one.
using prefix_name = content_hash;

prefix_name next_prefix(const prefix_name& before, token_id token);
prefix_name name_of(std::span<const token_id> tokens); ///< Of none: zeros.

/// At which of a block's positions a pass began, a bit for each. All: each token had a pass of its own.
using block_cuts = std::uint16_t;

class bit_ledger {
public:
  /// What passes did since `begin`.
  struct counts {
    std::uint64_t passes = 0, rows = 0;
    std::uint32_t most_rows = 0;                      ///< In one pass.
    std::uint32_t most_spans = 0;                     ///< Sequences in one pass.
    std::uint32_t longest_span = 0;                   ///< Rows of one sequence in one pass.
    std::uint64_t rows_beside_others = 0;             ///< In passes with more than one sequence.
    std::uint64_t logits_again = 0, blocks_again = 0; ///< That were computed before, and compared.
  };

  /// What follows belongs to this run.
  void begin(std::string run);
  counts seen() const;
  /// Sentences, the first few.
  std::vector<std::string> violations() const;

  /// How the block that ends with this prefix was cut whenever this run has computed it. Empty: it has not.
  std::set<block_cuts> cuts_of(const prefix_name& end) const;

  void pass(const forward_batch& batch);
  void logits(const prefix_name& after, std::span<const float> values);
  void block(const prefix_name& end, std::span<const std::byte> contents, block_cuts cuts);
  void wrong(std::string sentence);

  gate passes_gate;                       ///< Before each pass.
  std::atomic<int> crash_in_passes{-1};   ///< Counts down; the pass that reaches 0 throws.
  std::atomic<std::uint32_t> backends{0}; ///< Made so far.

private:
  struct entry {
    content_hash bits;
    std::size_t run; ///< That computed it first.
  };
  bool same(std::map<prefix_name, entry>& all, const prefix_name& name, const content_hash& bits, const char* what);
  void note(std::string sentence);

  mutable std::mutex mutex_;
  std::vector<std::string> runs_{"before any run"};
  counts seen_;
  std::map<prefix_name, entry> logits_, blocks_;
  std::map<prefix_name, std::set<block_cuts>> cuts_; ///< Of this run.
  std::vector<std::string> violations_;
};

class watched_backend final : public backend {
public:
  watched_backend(std::unique_ptr<backend> real, std::shared_ptr<bit_ledger> ledger, std::uint32_t vocabulary,
                  std::uint32_t kv_blocks)
      : real_(std::move(real)), ledger_(std::move(ledger)), vocabulary_(vocabulary), pages_(kv_blocks) {
    ++ledger_->backends;
  }

  std::string_view name() const override { return real_->name(); }
  std::string_view kv_type() const override { return real_->kv_type(); }
  memory_account memory() const override { return real_->memory(); }
  std::size_t block_bytes(kv_group group) const override { return real_->block_bytes(group); }
  expected<void> forward(const forward_batch& batch, std::span<float> logits) override;
  expected<void> read_block(kv_group group, block_id block, std::span<std::byte> to) const override {
    return real_->read_block(group, block, to);
  }
  expected<void> write_block(kv_group group, block_id block, std::span<const std::byte> from) override;
  expected<void> copy_block(kv_group group, block_id from, block_id to) override;

private:
  /// What a block holds.
  struct page {
    prefix_name before{};                    ///< All tokens in front of it.
    prefix_name ends[tokens_per_block] = {}; ///< With each of its tokens.
    std::uint32_t filled = 0;
    block_cuts cuts = 0;
  };
  prefix_name prefix_before(const batch_span& span);
  void take(const batch_span& span, std::span<const token_id> tokens, std::vector<prefix_name>& after);

  std::unique_ptr<backend> real_;
  std::shared_ptr<bit_ledger> ledger_;
  std::size_t vocabulary_;
  std::vector<page> pages_;
  std::vector<block_id> full_; ///< By the pass that runs.
};

} // namespace troupe::test
