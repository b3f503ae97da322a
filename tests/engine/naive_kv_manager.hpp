// A KV-cache manager that keeps prefixes as whole lists of tokens, and believes nothing: every operation of a report
// is checked against what it has. Lookups are decided at once or, as if a disk had to be asked, later.
#pragma once

#include <map>
#include <random>
#include <set>
#include <tuple>

#include "tests/engine/kv_partner.hpp"

namespace troupe::test {

class naive_kv_manager : public kv_partner {
public:
  struct partners {
    std::function<truth&(sequence_id)> truth_of;
    std::function<std::uint32_t(sequence_id)> most_filled; ///< Tokens whose steps are back.
  };

  naive_kv_manager(const std::vector<kv_group_options>& options, std::uint32_t seed, unsigned late_percent,
                   partners others)
      : others_(std::move(others)), rng_(seed), late_percent_(late_percent) {
    for (const auto& group : options)
      groups_.push_back({group.window, std::vector<block>(group.blocks)});
  }

  kv_grant process(const kv_report& report) override {
    if (report.reset)
      forget_everything();
    for (const auto& operation : report.operations)
      repeat(operation, report);
    for (const auto& lookup : report.lookups)
      open(lookup, report.generation);
    kv_grant grant;
    grant.generation = report.generation;
    for (auto id : std::exchange(decided_, {}))
      if (accounts_.count(id))
        grant.hits.push_back(find_hit(id));
    must(report.purse_targets.size() == groups_.size(), "a report has not one target for each group");
    for (std::size_t g = 0; g < groups_.size(); ++g)
      top_up(g, report.purse_targets[g], grant);
    return grant;
  }

  /// Decides a lookup that has been waiting, if there is one.
  std::optional<std::pair<kv_hit, std::uint32_t>> decide_late() override {
    if (late_.empty())
      return std::nullopt;
    const auto chosen = std::next(late_.begin(), static_cast<std::ptrdiff_t>(rng_() % late_.size()));
    const auto [id, waiting] = *chosen;
    give_back(waiting.set_aside);
    late_.erase(chosen);
    return std::pair(find_hit(id), waiting.generation);
  }

  bool may_use(sequence_id id, std::size_t group, std::size_t index, block_id block) const override {
    if (groups_[group].blocks.at(block).where == place::leased)
      return true;
    auto found = accounts_.find(id);
    return found != accounts_.end() && index < found->second.tables[group].size() &&
           found->second.tables[group][index] == block;
  }

  bool nothing_waits() const override { return late_.empty(); }
  bool has_account(sequence_id id) const override { return accounts_.count(id) > 0; }
  std::size_t accounts() const override { return accounts_.size(); }
  std::uint32_t leased(std::size_t group) const override { return count(group, place::leased); }

  /// Every block is in one place, and used as often as tables have it.
  void check() const override {
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      std::vector<std::uint32_t> users(groups_[g].blocks.size());
      for (const auto& [id, account] : accounts_)
        for (auto b : account.tables[g])
          if (b != no_block)
            ++users[b];
      for (std::size_t b = 0; b < users.size(); ++b)
        must(users[b] == groups_[g].blocks[b].users && (users[b] > 0) == (groups_[g].blocks[b].where == place::owned),
             "the manager of the tests has lost count");
    }
  }

private:
  enum class place : std::uint8_t { free, leased, owned, set_aside };
  using content = std::tuple<std::string, std::uint64_t, std::vector<token_id>>; ///< Salt, adapter, all tokens.
  struct block {
    place where = place::free; ///< A free one may still be cached.
    std::uint32_t users = 0;
    std::optional<content> name;
  };
  struct group {
    std::uint32_t window = 0;
    std::vector<block> blocks;
    std::map<content, block_id> cached{};
  };
  struct account {
    prefix_key key;
    std::vector<token_id> tokens; ///< As far as it knows them.
    bool may_hit = true;
    std::uint32_t filled = 0;
    std::vector<std::vector<block_id>> tables;
    std::vector<std::uint32_t> dropped;
  };
  using block_list = std::vector<std::pair<std::size_t, block_id>>;
  struct waiting_lookup {
    std::uint32_t generation = 0;
    block_list set_aside;
  };

  std::uint32_t count(std::size_t g, place where) const {
    return static_cast<std::uint32_t>(
      std::count_if(groups_[g].blocks.begin(), groups_[g].blocks.end(), [&](auto& b) { return b.where == where; }));
  }

  void forget_everything() {
    for (auto& g : groups_) {
      std::fill(g.blocks.begin(), g.blocks.end(), block{});
      g.cached.clear();
    }
    accounts_.clear();
    late_.clear();
    decided_.clear();
  }

  account& find(sequence_id id) {
    auto found = accounts_.find(id);
    must(found != accounts_.end(), id, "is in a report, but has no account with the manager");
    return found->second;
  }

  account& add(sequence_id id) {
    auto [made, is_new] = accounts_.emplace(id, account{});
    must(is_new, id, "has an account with the manager already");
    made->second.tables.resize(groups_.size());
    made->second.dropped.resize(groups_.size());
    return made->second;
  }

  void repeat(const kv_operation& operation, const kv_report& report) {
    using kind = kv_operation::kind_type;
    switch (operation.kind) {
    case kind::spend:
      return spend(operation, report);
    case kind::fill:
      return fill(operation, report);
    case kind::fork:
      return fork(operation);
    case kind::drop_front:
      return drop_front(operation);
    case kind::release:
      return release(operation.sequence);
    case kind::take_back:
      for (std::uint32_t i = 0; i < operation.count; ++i) {
        auto& b = groups_.at(operation.group).blocks.at(report.blocks.at(operation.offset + i));
        must(b.where == place::leased, "a block was given back that was not leased");
        b.where = place::free;
      }
    }
  }

  void spend(const kv_operation& operation, const kv_report& report) {
    auto& table = find(operation.sequence).tables.at(operation.group);
    for (std::uint32_t i = 0; i < operation.count; ++i) {
      const auto id = report.blocks.at(operation.offset + i);
      auto& b = groups_[operation.group].blocks.at(id);
      must(b.where == place::leased, operation.sequence, "spent a block that was not leased");
      b.where = place::owned;
      b.users = 1;
      table.push_back(id);
    }
  }

  void fill(const kv_operation& operation, const kv_report& report) {
    const auto id = operation.sequence;
    auto& a = find(id);
    const auto filled = a.filled + operation.count;
    for (std::size_t g = 0; g < groups_.size(); ++g)
      must(filled <= a.tables[g].size() * tokens_per_block, id, "filled more than it has blocks for");
    for (auto next = operation.offset; a.tokens.size() < filled; ++next)
      a.tokens.push_back(report.tokens.at(next));
    for (auto i = a.filled / tokens_per_block; i < filled / tokens_per_block; ++i)
      name_blocks(a, i);
    a.filled = filled;
    must(filled <= others_.most_filled(id), id, "filled tokens that are not computed");
    for (std::uint32_t i = 0; i < filled; ++i)
      must(a.tokens[i] == others_.truth_of(id).token(i), id, "filled blocks with wrong tokens");
  }

  void name_blocks(account& a, std::uint32_t index) {
    const auto end = a.tokens.begin() + (index + 1) * tokens_per_block;
    const content name{a.key.salt, a.key.adapter, {a.tokens.begin(), end}};
    for (std::size_t g = 0; g < groups_.size(); ++g)
      if (const auto id = a.tables[g][index]; id != no_block && groups_[g].cached.emplace(name, id).second)
        groups_[g].blocks[id].name = name;
  }

  void fork(const kv_operation& operation) {
    const auto& other = find(operation.other);
    if (!accounts_.count(operation.sequence)) {
      auto& a = add(operation.sequence);
      a.key = other.key;
      a.filled = operation.count * tokens_per_block;
      must(a.filled <= other.filled, operation.sequence, "shares blocks that are not full");
      a.tokens.assign(other.tokens.begin(), other.tokens.begin() + a.filled);
    }
    auto& a = accounts_.at(operation.sequence);
    const auto& from = other.tables.at(operation.group);
    must(a.tables[operation.group].empty(), operation.sequence, "is a fork, but has blocks");
    must(operation.count <= from.size() && operation.count * tokens_per_block == a.filled, operation.sequence,
         "shares blocks that there are not");
    a.tables[operation.group].assign(from.begin(), from.begin() + operation.count);
    a.dropped[operation.group] = std::min(other.dropped[operation.group], operation.count);
    for (auto b : a.tables[operation.group])
      if (b != no_block)
        ++groups_[operation.group].blocks[b].users;
  }

  void drop_front(const kv_operation& operation) {
    auto& a = find(operation.sequence);
    const auto g = operation.group;
    must(operation.count > a.dropped[g] && operation.count <= a.tables[g].size(), operation.sequence,
         "drops blocks that it does not have");
    must(groups_[g].window > 0, operation.sequence, "drops blocks of a group without a window");
    // Rows to come are at `most_filled` or later.
    must(operation.count * tokens_per_block <=
           oldest_seen(others_.most_filled(operation.sequence), groups_[g].window),
         operation.sequence, "drops blocks that it still sees");
    for (; a.dropped[g] < operation.count; ++a.dropped[g])
      unuse(g, std::exchange(a.tables[g][a.dropped[g]], no_block));
  }

  void release(sequence_id id) {
    auto& a = find(id);
    for (std::size_t g = 0; g < groups_.size(); ++g)
      for (auto b : a.tables[g])
        unuse(g, b);
    if (auto found = late_.find(id); found != late_.end()) {
      give_back(found->second.set_aside);
      late_.erase(found);
    }
    accounts_.erase(id);
  }

  void unuse(std::size_t g, block_id id) {
    if (id != no_block && --groups_[g].blocks[id].users == 0)
      groups_[g].blocks[id].where = place::free;
  }

  void open(const kv_lookup& lookup, std::uint32_t generation) {
    auto& a = add(lookup.sequence);
    a.key = lookup.key;
    a.tokens = *lookup.tokens;
    a.may_hit = lookup.may_hit;
    for (std::uint32_t i = 0; i < a.tokens.size(); ++i)
      must(a.tokens[i] == others_.truth_of(lookup.sequence).token(i), lookup.sequence,
           "is looked up with wrong tokens");
    if (rng_() % 100 >= late_percent_) {
      decided_.push_back(lookup.sequence);
      return;
    }
    waiting_lookup waits{generation, {}};
    for (std::size_t g = 0; g < groups_.size(); ++g)
      if (rng_() % 2)
        if (auto id = take_free(g)) {
          groups_[g].blocks[*id].where = place::set_aside;
          waits.set_aside.emplace_back(g, *id);
        }
    late_.emplace(lookup.sequence, waits);
  }

  void give_back(const block_list& blocks) {
    for (auto [g, id] : blocks)
      groups_[g].blocks[id].where = place::free;
  }

  /// The longest prefix that every group has as far as its window reaches back.
  kv_hit find_hit(sequence_id id) {
    auto& a = accounts_.at(id);
    kv_hit hit;
    hit.sequence = id;
    hit.blocks.resize(groups_.size());
    const auto most = a.may_hit ? static_cast<std::uint32_t>((a.tokens.size() - 1) / tokens_per_block) : 0;
    auto blocks = most;
    while (blocks > 0 && !has_prefix(a, blocks))
      --blocks;
    hit.tokens = a.filled = blocks * tokens_per_block;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const auto first = oldest_seen(hit.tokens, groups_[g].window) / tokens_per_block;
      for (std::uint32_t i = 0; i < blocks; ++i)
        hit.blocks[g].push_back(i < first ? no_block : groups_[g].cached.at(name_of(a, i)));
      for (auto b : hit.blocks[g])
        if (b != no_block) {
          must(groups_[g].blocks[b].where != place::leased, "a cached block was leased");
          groups_[g].blocks[b].where = place::owned;
          ++groups_[g].blocks[b].users;
        }
      a.tables[g] = hit.blocks[g];
      a.dropped[g] = std::min(first, blocks);
    }
    return hit;
  }

  content name_of(const account& a, std::uint32_t index) const {
    return {a.key.salt, a.key.adapter, {a.tokens.begin(), a.tokens.begin() + (index + 1) * tokens_per_block}};
  }

  bool has_prefix(const account& a, std::uint32_t blocks) const {
    for (const auto& g : groups_)
      for (auto i = oldest_seen(blocks * tokens_per_block, g.window) / tokens_per_block; i < blocks; ++i) {
        auto found = g.cached.find(name_of(a, i));
        if (found == g.cached.end() || g.blocks[found->second].where == place::set_aside)
          return false;
      }
    return true;
  }

  /// Any free block, those that are not cached first; its content is forgotten.
  std::optional<block_id> take_free(std::size_t g) {
    auto& blocks = groups_[g].blocks;
    std::vector<block_id> empty, cached;
    for (block_id id = 0; id < blocks.size(); ++id)
      if (blocks[id].where == place::free)
        (blocks[id].name ? cached : empty).push_back(id);
    const auto& chosen = empty.empty() ? cached : empty;
    if (chosen.empty())
      return std::nullopt;
    const auto id = chosen[rng_() % chosen.size()];
    if (auto name = std::exchange(blocks[id].name, std::nullopt))
      groups_[g].cached.erase(*name);
    return id;
  }

  void top_up(std::size_t g, std::uint32_t target, kv_grant& grant) {
    auto& blocks = grant.blocks.emplace_back();
    while (count(g, place::leased) < target) {
      const auto id = take_free(g);
      if (!id)
        break;
      groups_[g].blocks[*id].where = place::leased;
      blocks.push_back(*id);
    }
    grant.available.push_back(count(g, place::free));
  }

  partners others_;
  std::mt19937 rng_;
  unsigned late_percent_;
  std::vector<group> groups_;
  std::map<sequence_id, account> accounts_;
  std::map<sequence_id, waiting_lookup> late_;
  std::vector<sequence_id> decided_;
};

} // namespace troupe::test
