// A scheduler for one test: says what sequences do in one line each.
#pragma once

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

#include "engine/kv/store.hpp"

namespace troupe {

inline shared_tokens counted_tokens(std::uint32_t count, token_id first = 0) {
  std::vector<token_id> tokens(count);
  for (std::uint32_t i = 0; i < count; ++i)
    tokens[i] = first + static_cast<token_id>(i);
  return std::make_shared<const std::vector<token_id>>(std::move(tokens));
}

inline kv_store_options store_options(std::vector<kv_group_options> groups) {
  kv_store_options options;
  options.groups = std::move(groups);
  options.fingerprint = std::string("cpu");
  options.events = true;
  return options;
}

inline kv_store_options tier_options(std::uint32_t blocks) {
  auto options = store_options({{blocks, 0}});
  options.tier.enabled = true;
  return options;
}

class store_driver {
public:
  using kind = kv_operation::kind_type;

  explicit store_driver(kv_store_options options)
      : store(*kv_store::make(options)), groups_(options.groups.size()) {}

  /// The answer, if there is one at once. `tokens` 0 and no blocks otherwise.
  kv_hit look_up(sequence_id id, shared_tokens tokens, prefix_key key = {}, bool may_hit = true) {
    kv_report report;
    report.lookups.push_back({id, std::move(tokens), std::move(key), may_hit});
    auto grant = right(report);
    return grant.hits.empty() ? kv_hit{} : grant.hits[0];
  }

  /// Leases blocks for each group, as many as there are, and spends them all.
  std::vector<std::vector<block_id>> spend(sequence_id id, std::uint32_t count) {
    kv_report want;
    want.purse_targets.assign(groups_, count);
    auto blocks = right(want).blocks;
    for (std::size_t group = 0; group < groups_; ++group)
      if (!blocks[group].empty())
        right(operation(kind::spend, id, static_cast<std::uint32_t>(blocks[group].size()), blocks[group], group));
    return blocks;
  }

  void fill(sequence_id id, std::uint32_t count, std::vector<token_id> tokens = {}) {
    auto report = operation(kind::fill, id, count, {}, 0);
    report.tokens = std::move(tokens);
    right(report);
  }

  /// As after a worker's death.
  void reset() {
    kv_report report;
    report.reset = true;
    right(std::move(report));
  }

  void release(sequence_id id) { right(operation(kind::release, id, 0, {}, 0)); }

  void drop_front(sequence_id id, std::uint32_t count, std::size_t group) {
    right(operation(kind::drop_front, id, count, {}, group));
  }

  void fork(sequence_id id, sequence_id parent, std::uint32_t count) {
    kv_report report = stamped();
    for (std::size_t group = 0; group < groups_; ++group)
      report.operations.push_back({kind::fork, static_cast<kv_group>(group), count, 0, id, parent});
    right(report);
  }

  /// Looks up, spends and fills the whole prompt; the tables that it then has are those of its hit and `spend`.
  kv_hit run(sequence_id id, const shared_tokens& tokens, prefix_key key = {}) {
    auto hit = look_up(id, tokens, std::move(key));
    const auto size = static_cast<std::uint32_t>(tokens->size());
    spend(id, (size + tokens_per_block - 1) / tokens_per_block - hit.tokens / tokens_per_block);
    fill(id, size - hit.tokens);
    return hit;
  }

  /// Leases so many blocks of the first group, and gives them back.
  std::vector<block_id> next_blocks(std::uint32_t count) {
    kv_report want;
    want.purse_targets.assign(groups_, 0);
    want.purse_targets[0] = count;
    auto blocks = right(want).blocks[0];
    right(operation(kind::take_back, 0, static_cast<std::uint32_t>(blocks.size()), blocks, 0));
    return blocks;
  }

  kv_report operation(kind what, sequence_id id, std::uint32_t count, std::vector<block_id> blocks,
                      std::size_t group) {
    kv_report report = stamped();
    report.operations.push_back({what, static_cast<kv_group>(group), count, 0, id, 0});
    report.blocks = std::move(blocks);
    return report;
  }

  kv_grant right(kv_report report) {
    report.generation = store.generation() + (report.reset ? 1 : 0);
    auto grant = store.apply(report);
    BOOST_REQUIRE_MESSAGE(grant, (grant ? "" : grant.error().message));
    const auto fine = store.check_integrity();
    BOOST_REQUIRE_MESSAGE(fine, (fine ? "" : fine.error().message));
    return std::move(*grant);
  }

  /// The sentence with which a report is refused.
  std::string refused(const kv_report& report) {
    const auto grant = store.apply(report);
    BOOST_REQUIRE(!grant);
    BOOST_CHECK(grant.error().code == errc::internal);
    return grant.error().message;
  }

  kv_store store;

private:
  kv_report stamped() const {
    kv_report report;
    report.generation = store.generation();
    return report;
  }

  std::size_t groups_;
};

} // namespace troupe
