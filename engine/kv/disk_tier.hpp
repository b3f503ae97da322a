// The tier in a folder on a disk: conversations' prefixes survive a restart of the server.
//
//   FOLDER/kv-<hash of the fingerprint>/ab/<hash of the block>   blocks (engine/kv/block_file.hpp)
//   FOLDER/kv-<hash of the fingerprint>/tmp/                     files that are being written
//
// A block is written beside its place and renamed, so a file is whole or not there; it is not synced, since one that
// a power cut has damaged is found out by its hash when it is read. A file's time of modification is when the block
// was used last, a nanosecond less than that of the block before it in its chain, so the order of use survives too.
//
// Several servers may share a folder, of one model or of several. Nothing is locked: all of them write the same bytes
// under one name, and each takes what another has removed for a miss. The limit is that of the whole folder; a server
// looks at what others have written when it has itself written an eighth of it, so they can go over it by so much
// each until then. Blocks of fingerprints that nobody uses any more grow old and are evicted like all others.
//
// When something cannot be written (no space, a limit, no permission) the tier stops saving, says so once, and tries
// again after a pause with whatever is to be saved then, until it can. It can be read all the time.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "engine/kv/block_file.hpp"
#include "engine/kv/block_tier.hpp"
#include "engine/kv/fingerprint.hpp"
#include "engine/kv/lru_index.hpp"

namespace troupe {

struct disk_tier_options {
  std::filesystem::path folder; ///< Made where there is none, readable by its owner alone.
  std::uint64_t capacity = 0;   ///< Bytes of all files in it.
  numeric_fingerprint fingerprint;
  std::chrono::seconds pause{60}; ///< After a write that failed.
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now; ///< For the pause.
};

class disk_tier final : public block_tier {
public:
  /// A temporary file that has not been written to for so long was left by a server that died.
  static constexpr std::int64_t leftover_seconds = 60;

  /// Reads the folder. Errors: io (the folder cannot be made, read or written), invalid_argument (the capacity is
  /// less than one block, or the fingerprint does not say how large blocks are).
  static expected<std::unique_ptr<disk_tier>> open(disk_tier_options options);

  std::string_view name() const override { return "disk"; }
  std::vector<block_hash> list() const override;
  bool contains(const block_hash& hash) const override { return files_.contains(key_of(hash)); }
  tier_saved save(const tier_block& block) override;

  /// Also finds what another server has saved since the folder was read.
  expected<shared_bytes> load(const block_hash& hash) override;

  void use(const block_hash& hash) override;
  void drop(const block_hash& hash) override;
  tier_counts counts() const override;
  expected<void> check_integrity() const override;

  std::filesystem::path path_of(const block_hash& hash) const { return options_.folder / key_of(hash); }

private:
  using key = std::string;    ///< The path within the folder.
  using stamp = std::int64_t; ///< Nanoseconds since 1970.

  explicit disk_tier(disk_tier_options options);
  key key_of(const block_hash& hash) const { return own_folder_ + "/" + file_name(hash); }
  bool is_own(const key& file) const { return file.starts_with(own_folder_ + "/"); }
  bool is_file_size(std::uint64_t bytes) const;

  void read_folder();
  void look_again(std::vector<block_hash>& gone);
  bool make_room(std::uint64_t bytes, const key* parent, tier_saved& result);
  bool remove_file(const key& file);
  error problem(const std::string& doing, int why) const;
  void stop(const std::string& doing, int why, tier_saved& result);
  stamp stamp_under(const key* parent) const;
  bool touch_under(const key& file, const key* parent);
  int write_file(const key& file, const block_header& header, std::span<const std::byte> contents, stamp used);

  disk_tier_options options_;
  content_hash fingerprint_;
  std::string own_folder_;
  lru_index<key, stamp> files_;                    ///< Of all fingerprints, with the times of their last use.
  std::uint64_t written_ = 0;                      ///< Bytes, since the folder was read.
  std::chrono::steady_clock::time_point again_at_; ///< When saving is tried again, while `counts_.accepts` is false.
  tier_counts counts_;
};

} // namespace troupe
