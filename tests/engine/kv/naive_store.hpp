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

  std::vector<block_id> take_saves();
  bool saved(block_id block, bool ok);
  std::vector<block_id> take_loads();
  void loaded(block_id block, bool ok);
  std::vector<kv_hit> take_hits();

  /// Names in the tier, and what a block that is saved or loaded is called.
  std::set<std::string> tier;
  const std::string& transfer_name(block_id block) const { return transfers_.at(block).name; }
  std::size_t names(std::size_t group) const { return groups_[group].index.size(); }

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
  };
  struct sequence_state {
    std::string root; ///< Salt and adapter.
    std::vector<token_id> tokens;
    std::uint32_t filled = 0;
    bool cacheable = false;
    std::uint64_t order = 0; ///< When it was looked up.
    std::set<std::uint32_t> waits; ///< Positions that are being loaded.
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
  bool full_fits(const sequence_state& who, std::uint32_t blocks) const;
  block_id loading(const std::string& name) const;
  void take_windows(sequence_state& who, std::uint32_t blocks);

  kv_store_options options_;
  std::vector<group_state> groups_;
  std::map<sequence_id, sequence_state> sequences_;
  std::size_t tier_group_ = 0;
  std::map<block_id, transfer> transfers_; ///< Of the tier's group.
  std::list<block_id> offers_;
  std::vector<block_id> new_loads_;
  std::vector<kv_hit> hits_;
  std::uint32_t generation_ = 0;
  std::uint64_t lookups_ = 0;
};

} // namespace troupe
