// A random walk of the store against a naive model: a scheduler that does right things in a random order, and a tier
// that takes its time and fails. The two must agree on every block, hit and count.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/engine/kv/naive_store.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(store_walk_suite)

namespace {

using kind = kv_operation::kind_type;

class walk {
public:
  walk(kv_store_options options, std::uint32_t seed)
      : options_(std::move(options)), store_(*kv_store::make(options_)), model_(options_), random_(seed),
        purses_(options_.groups.size()), names_(options_.groups.size()) {}

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      BOOST_TEST_CONTEXT("step " << step) {
        one_report();
        transfers();
        if (once_in(400)) {
          store_.reset_prefix_cache();
          model_.reset_prefix_cache();
        }
        compare();
      }
    }
    wind_up();
  }

  std::uint64_t hits = 0, late_hits = 0, forks = 0, failed_loads = 0, released_while_loading = 0;
  std::uint64_t windows_saved = 0, windows_loaded = 0;
  std::uint64_t named_copies() const { return model_.named_copies; }

private:
  struct sequence {
    std::string salt;
    shared_tokens prompt;
    std::uint32_t known = 0; ///< Tokens that the lookup had; 0 for one opened by a fork.
    std::uint32_t filled = 0;
    bool ready = false;
    sequence_id twin = 0; ///< Whose prompt it has.
    std::vector<std::uint32_t> size, dropped; ///< Of its tables.
  };

  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  bool once_in(std::uint32_t n) { return below(n) == 0; }
  std::size_t groups() const { return options_.groups.size(); }

  sequence* pick(sequence_id& id) {
    if (sequences_.empty())
      return nullptr;
    auto found = sequences_.begin();
    std::advance(found, below(static_cast<std::uint32_t>(sequences_.size())));
    id = found->first;
    return &found->second;
  }

  shared_tokens random_prompt() {
    std::vector<token_id> tokens(1 + below(150));
    const auto base = static_cast<token_id>(below(3) * 1000);
    const auto fork_at = below(200);
    const auto other = static_cast<token_id>(below(2));
    for (std::uint32_t i = 0; i < tokens.size(); ++i)
      tokens[i] = base + static_cast<token_id>(i % 7) + (i >= fork_at ? 100 + other : 0);
    return std::make_shared<const std::vector<token_id>>(std::move(tokens));
  }

  void one_report() {
    kv_report report;
    report.generation = store_.generation();
    if (once_in(500)) {
      report.reset = true;
      ++report.generation;
      sequences_.clear();
      for (auto& purse : purses_)
        purse.clear();
    }
    for (auto i = below(6); i > 0; --i) {
      sequence_id id = 0;
      auto* who = pick(id);
      if (!who)
        break;
      if (once_in(5))
        release(report, id);
      else if (who->ready && once_in(20))
        fork(report, id);
      else if (who->ready)
        compute(report, id, *who);
    }
    for (std::size_t group = 0; group < groups(); ++group)
      if (!purses_[group].empty() && once_in(10)) {
        report.operations.push_back({kind::take_back, static_cast<kv_group>(group), 1,
                                     static_cast<std::uint32_t>(report.blocks.size()), 0, 0});
        report.blocks.push_back(purses_[group].back());
        purses_[group].pop_back();
      }
    look_up(report);
    for (std::size_t group = 0; group < groups(); ++group)
      report.purse_targets.push_back(below(12));
    apply(report);
  }

  void release(kv_report& report, sequence_id id) {
    released_while_loading += !sequences_.at(id).ready;
    report.operations.push_back({kind::release, 0, 0, 0, id, 0});
    sequences_.erase(id);
  }

  void compute(kv_report& report, sequence_id id, sequence& who) {
    const auto count = 1 + below(once_in(2) ? 40 : 2);
    const auto blocks = (who.filled + count + tokens_per_block - 1) / tokens_per_block + once_in(6);
    for (std::size_t group = 0; group < groups(); ++group)
      if (blocks > who.size[group] + purses_[group].size())
        return;
    for (std::size_t group = 0; group < groups(); ++group) {
      if (blocks <= who.size[group])
        continue;
      const auto needed = blocks - who.size[group];
      report.operations.push_back({kind::spend, static_cast<kv_group>(group), needed,
                                   static_cast<std::uint32_t>(report.blocks.size()), id, 0});
      report.blocks.insert(report.blocks.end(), purses_[group].end() - needed, purses_[group].end());
      purses_[group].resize(purses_[group].size() - needed);
      who.size[group] = blocks;
    }
    report.operations.push_back({kind::fill, 0, count, static_cast<std::uint32_t>(report.tokens.size()), id, 0});
    for (auto i = std::max(who.filled, who.known); i < who.filled + count; ++i)
      report.tokens.push_back(static_cast<token_id>(i % 5 == 0 ? below(2) : i % 3));
    who.filled += count;
    for (std::size_t group = 0; group < groups(); ++group) {
      const auto window = options_.groups[group].window;
      if (window == 0 || who.filled + 1 <= window || once_in(3))
        continue;
      const auto gone = (who.filled + 1 - window) / tokens_per_block;
      report.operations.push_back({kind::drop_front, static_cast<kv_group>(group), gone, 0, id, 0});
      who.dropped[group] = std::max(who.dropped[group], gone);
    }
  }

  void fork(kv_report& report, sequence_id parent_id) {
    const auto& parent = sequences_.at(parent_id);
    if (parent.filled < tokens_per_block)
      return;
    auto count = 1 + below(parent.filled / tokens_per_block);
    sequence_id child_id = 0;
    for (const auto& [id, other] : sequences_) // one that was opened for this, if there is one
      if (other.twin == parent_id && other.ready && other.filled == 0 && other.size[0] == 0)
        child_id = id;
    if (child_id != 0)
      count = std::min(count, sequences_.at(child_id).known / tokens_per_block);
    for (std::size_t group = 0; group < groups(); ++group) {
      const auto window = options_.groups[group].window, tokens = count * tokens_per_block;
      const auto needed = window == 0 || tokens + 1 <= window ? 0 : (tokens + 1 - window) / tokens_per_block;
      if (parent.dropped[group] > needed)
        return;
    }
    if (count == 0)
      return;
    if (child_id == 0)
      child_id = ++last_id_;
    auto& child = sequences_[child_id];
    child.ready = true;
    child.salt = parent.salt;
    child.filled = count * tokens_per_block;
    child.size.assign(groups(), count);
    child.dropped.clear();
    for (std::size_t group = 0; group < groups(); ++group) {
      child.dropped.push_back(std::min(parent.dropped[group], count));
      report.operations.push_back({kind::fork, static_cast<kv_group>(group), count, 0, child_id, parent_id});
    }
    ++forks;
  }

  void look_up(kv_report& report) {
    for (auto i = below(3); i > 0 && sequences_.size() < 8; --i) {
      sequence who;
      bool may_hit = !once_in(8);
      who.salt = once_in(5) ? "salt" : "";
      who.prompt = random_prompt();
      sequence_id twin = 0;
      if (auto* other = pick(twin); other && other->prompt && once_in(4)) {
        who.prompt = other->prompt;
        who.salt = other->salt;
        who.twin = twin;
        may_hit = false;
      }
      who.known = static_cast<std::uint32_t>(who.prompt->size());
      report.lookups.push_back({++last_id_, who.prompt, {who.salt, 0}, may_hit});
      sequences_.emplace(last_id_, std::move(who));
    }
  }

  void apply(const kv_report& report) {
    auto grant = store_.apply(report);
    BOOST_REQUIRE_MESSAGE(grant, (grant ? "" : grant.error().message));
    const auto expected_grant = model_.apply(report);
    BOOST_REQUIRE(grant->generation == expected_grant.generation);
    BOOST_REQUIRE(grant->blocks == expected_grant.blocks);
    BOOST_REQUIRE(grant->available == expected_grant.available);
    take_hits(grant->hits, expected_grant.hits);
    for (std::size_t group = 0; group < groups(); ++group)
      purses_[group].insert(purses_[group].end(), grant->blocks[group].begin(), grant->blocks[group].end());
  }

  void take_hits(const std::vector<kv_hit>& got, const std::vector<kv_hit>& wanted) {
    BOOST_REQUIRE_EQUAL(got.size(), wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      BOOST_REQUIRE_EQUAL(got[i].sequence, wanted[i].sequence);
      BOOST_REQUIRE_EQUAL(got[i].tokens, wanted[i].tokens);
      BOOST_REQUIRE(got[i].blocks == wanted[i].blocks);
      auto& who = sequences_.at(got[i].sequence);
      who.ready = true;
      who.filled = got[i].tokens;
      who.size.clear();
      who.dropped.clear();
      for (const auto& table : got[i].blocks) {
        who.size.push_back(static_cast<std::uint32_t>(table.size()));
        who.dropped.push_back(static_cast<std::uint32_t>(
          std::find_if(table.begin(), table.end(), [](auto b) { return b != no_block; }) - table.begin()));
      }
      hits += got[i].tokens > 0;
    }
  }

  template <class Transfer>
  static naive_store::place_in_group place_of(const Transfer& of) {
    return {of.group, of.block};
  }

  void transfers() {
    if (once_in(3)) {
      const auto saves = store_.take_saves();
      const auto expected_saves = model_.take_saves();
      BOOST_REQUIRE_EQUAL(saves.size(), expected_saves.size());
      for (std::size_t i = 0; i < saves.size(); ++i) {
        BOOST_REQUIRE((place_of(saves[i]) == expected_saves[i]));
        hashes_.emplace(model_.transfer_name(place_of(saves[i])), saves[i].hash);
        windows_saved += options_.groups[saves[i].group].window != 0;
        saves_.push_back(saves[i]);
      }
    }
    const auto loads = store_.take_loads();
    const auto expected_loads = model_.take_loads();
    BOOST_REQUIRE_EQUAL(loads.size(), expected_loads.size());
    for (std::size_t i = 0; i < loads.size(); ++i) {
      BOOST_REQUIRE((place_of(loads[i]) == expected_loads[i]));
      BOOST_REQUIRE(loads[i].hash == hashes_.at(model_.transfer_name(place_of(loads[i]))));
      windows_loaded += options_.groups[loads[i].group].window != 0;
      loads_.push_back(loads[i]);
    }
    for (auto i = below(4); i > 0 && !saves_.empty(); --i)
      end_save();
    for (auto i = below(4); i > 0 && !loads_.empty(); --i)
      end_load();
    const auto late = store_.take_hits();
    late_hits += late.size();
    take_hits(late, model_.take_hits());
    if (!model_.tier.empty() && once_in(30)) {
      auto lost = model_.tier.begin();
      std::advance(lost, below(static_cast<std::uint32_t>(model_.tier.size())));
      store_.tier_lost(hashes_.at(*lost));
      model_.tier.erase(lost);
    }
  }

  void end_save() {
    std::swap(saves_[below(static_cast<std::uint32_t>(saves_.size()))], saves_.back());
    const auto save = saves_.back();
    saves_.pop_back();
    const bool ok = !once_in(6);
    const auto kept = store_.saved(save, ok);
    BOOST_REQUIRE(kept);
    BOOST_REQUIRE_EQUAL(*kept, model_.saved(place_of(save), ok));
  }

  void end_load() {
    std::swap(loads_[below(static_cast<std::uint32_t>(loads_.size()))], loads_.back());
    const auto load = loads_.back();
    loads_.pop_back();
    const bool ok = !once_in(6);
    failed_loads += !ok;
    BOOST_REQUIRE(store_.loaded(load, ok));
    model_.loaded(place_of(load), ok);
  }

  void compare() {
    const auto fine = store_.check_integrity();
    BOOST_REQUIRE_MESSAGE(fine, (fine ? "" : fine.error().message));
    BOOST_REQUIRE(store_.counts() == model_.counts());
    const auto statistics = store_.statistics();
    BOOST_REQUIRE_EQUAL(statistics.queries, model_.queries);
    BOOST_REQUIRE_EQUAL(statistics.query_tokens, model_.query_tokens);
    BOOST_REQUIRE_EQUAL(statistics.hit_tokens, model_.hit_tokens);
    const auto log = store_.take_events();
    BOOST_REQUIRE_EQUAL(log.dropped, 0u);
    for (const auto& event : log.events)
      follow(event);
    for (std::size_t group = 0; group < groups(); ++group) {
      BOOST_REQUIRE_EQUAL(statistics.groups[group].evictions, model_.evictions[group]);
      BOOST_REQUIRE_EQUAL(names_[group].size(), model_.names(group));
    }
    for (const auto& [name, hash] : hashes_)
      if (once_in(8))
        BOOST_REQUIRE_EQUAL(store_.tier_contains(hash), model_.tier.contains(name));
  }

  /// Who follows the events knows what can be hit.
  void follow(const kv_event& event) {
    if (event.kind == kv_event::kind_type::all_cleared)
      for (auto& names : names_)
        names.clear();
    for (const auto& hash : event.hashes)
      if (event.kind == kv_event::kind_type::block_stored)
        BOOST_REQUIRE(names_[event.group].insert(hash).second);
      else
        BOOST_REQUIRE_EQUAL(names_[event.group].erase(hash), 1u);
    if (event.kind == kv_event::kind_type::block_stored)
      BOOST_REQUIRE_EQUAL(event.tokens.size(), event.hashes.size() * tokens_per_block);
  }

  /// At the end nobody has a block.
  void wind_up() {
    kv_report report;
    report.generation = store_.generation();
    for (std::size_t group = 0; group < groups(); ++group) {
      report.operations.push_back({kind::take_back, static_cast<kv_group>(group),
                                   static_cast<std::uint32_t>(purses_[group].size()),
                                   static_cast<std::uint32_t>(report.blocks.size()), 0, 0});
      report.blocks.insert(report.blocks.end(), purses_[group].begin(), purses_[group].end());
      purses_[group].clear();
      report.purse_targets.push_back(0);
    }
    while (!sequences_.empty())
      release(report, sequences_.begin()->first);
    apply(report);
    while (!saves_.empty())
      end_save();
    while (!loads_.empty())
      end_load();
    compare();
    BOOST_TEST(store_.sequences() == 0u);
    for (const auto& count : store_.counts()) {
      BOOST_TEST(count.leased == 0u);
      BOOST_TEST(count.owned == 0u);
    }
  }

  kv_store_options options_;
  kv_store store_;
  naive_store model_;
  std::mt19937 random_;
  std::vector<std::vector<block_id>> purses_;
  std::vector<std::set<block_hash>> names_;
  std::map<sequence_id, sequence> sequences_;
  sequence_id last_id_ = 0;
  std::vector<kv_save> saves_;
  std::vector<kv_load> loads_;
  std::map<std::string, block_hash> hashes_;
};

kv_store_options options_of(std::vector<kv_group_options> groups, bool tier) {
  kv_store_options options;
  options.groups = std::move(groups);
  options.fingerprint = "test";
  options.events = true;
  options.tier = {tier, 3, 6};
  return options;
}

void run_walks(const kv_store_options& options, std::uint32_t first_seed, int steps) {
  std::uint64_t hits = 0, late_hits = 0, forks = 0, failed_loads = 0, released_while_loading = 0;
  std::uint64_t windows_saved = 0, windows_loaded = 0, named_copies = 0;
  for (auto seed = first_seed; seed < first_seed + 4; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      walk it(options, seed);
      it.run(steps);
      hits += it.hits;
      late_hits += it.late_hits;
      forks += it.forks;
      failed_loads += it.failed_loads;
      released_while_loading += it.released_while_loading;
      windows_saved += it.windows_saved;
      windows_loaded += it.windows_loaded;
      named_copies += it.named_copies();
    }
  // The walk must come where things happen.
  BOOST_TEST(hits > 300u);
  BOOST_TEST(forks > 50u);
  BOOST_TEST(named_copies > 0u);
  if (options.tier.enabled) {
    BOOST_TEST(late_hits > 50u);
    BOOST_TEST(failed_loads > 20u);
    BOOST_TEST(released_while_loading > 10u);
    const bool windows = std::ranges::any_of(options.groups, [](const auto& group) { return group.window != 0; });
    BOOST_TEST((windows_saved > 50 || !windows));
    BOOST_TEST((windows_loaded > 50 || !windows));
  }
  BOOST_TEST_MESSAGE("hits " << hits << ", late " << late_hits << ", forks " << forks << ", failed loads "
                             << failed_loads << ", released while loading " << released_while_loading
                             << ", blocks of windows saved " << windows_saved << ", loaded " << windows_loaded
                             << ", copies named " << named_copies);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_walk_with_a_full_group_and_a_window_agrees_with_the_model) {
  run_walks(options_of({{48, 0}, {32, 40}}, false), 100, 1500);
}

BOOST_AUTO_TEST_CASE(a_walk_with_a_tier_agrees_with_the_model) { run_walks(options_of({{40, 0}}, true), 200, 1500); }

BOOST_AUTO_TEST_CASE(a_walk_with_a_tier_and_a_window_agrees_with_the_model) {
  run_walks(options_of({{90, 33}, {36, 0}}, true), 300, 1500);
}

BOOST_AUTO_TEST_CASE(a_walk_with_a_tier_and_several_groups_of_each_kind_agrees_with_the_model) {
  run_walks(options_of({{48, 0}, {40, 20}, {44, 0}, {44, 50}}, true), 350, 1500);
}

BOOST_AUTO_TEST_CASE(a_walk_with_a_tier_and_windows_alone_agrees_with_the_model) {
  run_walks(options_of({{40, 18}, {40, 65}}, true), 450, 1500);
}

BOOST_AUTO_TEST_CASE(a_walk_with_windows_alone_agrees_with_the_model) {
  run_walks(options_of({{40, 18}, {40, 65}}, false), 400, 1500);
}

BOOST_AUTO_TEST_CASE(a_walk_with_sha256_agrees_with_the_model) {
  auto options = options_of({{40, 0}}, true);
  options.hash = block_hash_kind::sha256;
  run_walks(options, 500, 1000);
}

BOOST_AUTO_TEST_SUITE_END()
