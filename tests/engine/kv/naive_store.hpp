// A model of the KV store for its random walk, written to be obviously right and nothing else: a block's name is the
// whole string of tokens up to its end, references are counted by looking through all tables, and a hit is found by
// trying all lengths from the longest. It takes right reports only.
#pragma once

#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/kv/store.hpp"

namespace troupe {

class naive_store {
public:
  explicit naive_store(const kv_store_options& options);

  kv_grant apply(const kv_report& report);
  void reset_prefix_cache();
  std::vector<kv_block_counts> counts() const;

  using place_in_group = std::pair<std::size_t, block_id>;
  std::vector<place_in_group> take_saves();
  bool saved(place_in_group block, bool ok);
  std::vector<place_in_group> take_loads();
  void loaded(place_in_group block, bool ok);
  std::vector<kv_hit> take_hits();

  /// Names in the tier, with their groups, and what a block that is saved or loaded is called there.
  std::set<std::string> tier;
  std::string transfer_name(place_in_group block) const {
    return in_tier(block.first, transfers_.at(block).name);
  }
  std::size_t names(std::size_t group) const { return groups_[group].index.size(); }

  std::uint64_t named_copies = 0;
  std::uint64_t queries = 0, query_tokens = 0, hit_tokens = 0;
  std::vector<std::uint64_t> evictions;

private:
  enum class place { blank, cached, leased, owned };
  struct block_state {
    place where = place::blank;
    std::optional<std::string> name;
    bool held = false;
  };
  struct group_state {
    kv_group_options options;
    std::vector<block_state> blocks;
    std::list<block_id> blank, lru; ///< `lru` has the held ones, too.
    std::map<std::string, block_id> index;
    std::list<std::pair<std::string, block_id>> copies; ///< Of named blocks, the oldest first.
  };
  struct sequence_state {
    std::string root; ///< Salt and adapter.
    std::vector<token_id> tokens;
    std::uint32_t filled = 0;
    bool cacheable = false;
    std::uint64_t order = 0; ///< When it was looked up.
    std::set<std::pair<std::size_t, std::uint32_t>> waits; ///< Groups and positions that are being loaded.
    std::uint32_t usable = 0;
    std::vector<std::vector<block_id>> tables;
  };
  struct transfer {
    std::string name;
    bool load = false;
    bool current = true;   ///< The cache was not reset since.
    bool shareable = true; ///< The same, for lookups.
  };

  std::string name_of(const sequence_state& who, std::uint32_t blocks) const;
  int references(std::size_t group, block_id block) const;
  void settle(std::size_t group, block_id block);
  void drop(std::size_t group, std::vector<block_id> table);
  void give_up(sequence_state& who);
  block_id lease(std::size_t group);
  std::size_t leasable(std::size_t group) const;
  void take(std::size_t group, block_id block);
  void fill(sequence_state& who, const kv_operation& operation, const kv_report& report);
  std::optional<kv_hit> look_up(const kv_lookup& wanted);
  bool visible(std::size_t group, std::uint32_t position, std::uint32_t blocks) const;
  bool windows_fit(const sequence_state& who, std::uint32_t blocks) const;
  bool fits(const sequence_state& who, std::uint32_t blocks) const;
  static std::string in_tier(std::size_t group, const std::string& name) {
    return std::to_string(group) + ":" + name;
  }
  block_id loading(std::size_t group, const std::string& name) const;
  void shorten(sequence_state& who, std::size_t group, std::uint32_t blocks);
  void take_table(sequence_state& who, std::size_t group, std::uint32_t blocks);
  void name_or_copy(std::size_t group, block_id block, const std::string& name);

  kv_store_options options_;
  std::vector<group_state> groups_;
  std::map<sequence_id, sequence_state> sequences_;
  std::map<place_in_group, transfer> transfers_;
  std::list<place_in_group> offers_;
  std::vector<place_in_group> new_loads_;
  std::vector<kv_hit> hits_;
  std::uint32_t generation_ = 0;
  std::uint64_t lookups_ = 0;
};

} // namespace troupe
