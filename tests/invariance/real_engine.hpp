// Engines over the real model, whose devices are watched: what differs between two of them must not be seen in any
// answer.
#pragma once

#include "cpu/backends.hpp"
#include "tests/actors/engine_fixture.hpp"
#include "tests/invariance/bit_ledger.hpp"
#include "tests/invariance/requests.hpp"
#include "tests/support/real_model.hpp"

namespace troupe::test {

/// In what two engines may differ.
struct variation {
  const char* name = "";
  std::uint32_t rows = 512; ///< In one step.
  std::uint32_t sequences = 128;
  std::uint32_t kv_blocks = 768;
  std::uint32_t steps_ahead = 2; ///< 1: no overlap.
  std::uint32_t threads = 2;
  bool prefix_caching = false;
  unsigned ranks = 1, stages = 1; ///< Several workers are not watched: what each has of a prefix is its own.
};

using answer_list = std::vector<answer>; ///< By the request's place.

std::shared_ptr<const model> real_model();

/// Of all engines of this program.
const std::shared_ptr<bit_ledger>& common_ledger();

class real_engine {
public:
  explicit real_engine(const variation& how);
  /// Fails the test if anything was computed with other bits than before.
  ~real_engine();

  /// All are there before the first step is done. Over one connection they come in their order.
  answer_list together(const std::vector<generate_request>& requests, std::size_t connections = 4);
  answer_list one_by_one(const std::vector<generate_request>& requests);

  bit_ledger::counts seen() const { return common_ledger()->seen(); }
  std::uint64_t preemptions() { return engine_.counts().preemptions; }
  std::uint64_t hit_tokens() {
    return engine_.ask<kv_status>(engine_.tree.engines.front().kv_cache, status_atom::value).statistics.hit_tokens;
  }

private:
  engine_fixture engine_;
};

/// Tokens, texts, logprobs and endings; not what was cached, and no times.
void check_same(const std::vector<generate_request>& requests, const answer_list& wanted, const answer_list& got);

} // namespace troupe::test
