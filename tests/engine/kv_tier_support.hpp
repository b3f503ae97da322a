// What the tests of tiers share: blocks with contents that tell them apart, and folders that go with their owner.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/resource.h>

#include <boost/test/unit_test.hpp>

#include "engine/kv/disk_tier.hpp"

namespace troupe::test {

/// A folder of its own, removed with all that is in it.
class temporary_folder {
public:
  temporary_folder() {
    auto name = (std::filesystem::temp_directory_path() / "troupe-test-XXXXXX").string();
    if (!::mkdtemp(name.data()))
      throw std::runtime_error("no folder for a test can be made");
    path_ = name;
  }
  temporary_folder(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

/// The process's limit on the size of files, while it lives: what a full disk is to a program.
class file_size_limit {
public:
  explicit file_size_limit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~file_size_limit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

private:
  rlimit before_{};
};

inline constexpr std::uint64_t tier_block_bytes = 500;
inline constexpr std::uint64_t tier_file_bytes = tier_block_bytes + block_header_bytes;

/// The hash of test block `number`, spread as a real one.
inline block_hash numbered_hash(std::uint64_t number) {
  const auto mixed = (number + 1) * 0x9e3779b97f4a7c15u;
  return {{mixed, ~mixed, 0, 0}};
}

inline shared_bytes numbered_bytes(std::uint64_t number, std::size_t size = tier_block_bytes) {
  auto bytes = std::make_shared<std::vector<std::byte>>(size);
  for (std::size_t i = 0; i < size; ++i)
    (*bytes)[i] = static_cast<std::byte>(number * 31 + i * 7);
  return bytes;
}

inline numeric_fingerprint test_fingerprint(std::string backend = "fake") {
  return {.model = {1, 2, 3},
          .backend = std::move(backend),
          .kv_type = "tokens",
          .hashing = "xxh128",
          .tokens_per_block = tokens_per_block,
          .block_bytes = {tier_block_bytes}};
}

/// Room for so many blocks.
inline disk_tier_options tier_options(const std::filesystem::path& folder, std::uint64_t blocks,
                                      numeric_fingerprint fingerprint = test_fingerprint()) {
  return {.folder = folder, .capacity = blocks * tier_file_bytes, .fingerprint = std::move(fingerprint)};
}

inline std::unique_ptr<disk_tier> open_tier(disk_tier_options options) {
  auto tier = disk_tier::open(std::move(options));
  BOOST_REQUIRE_MESSAGE(tier, tier.error().message);
  return std::move(*tier);
}

inline bool save(block_tier& tier, std::uint64_t number) {
  return tier.save({numbered_hash(number), numbered_bytes(number)}).saved;
}

inline bool has(block_tier& tier, std::uint64_t number) {
  const auto found = tier.load(numbered_hash(number));
  if (!found) {
    BOOST_TEST((found.error().code == errc::not_found));
    return false;
  }
  BOOST_TEST((**found == *numbered_bytes(number)), "block " << number << " has other contents");
  return true;
}

inline std::vector<block_hash> numbers(std::initializer_list<std::uint64_t> which) {
  std::vector<block_hash> result;
  for (auto number : which)
    result.push_back(numbered_hash(number));
  return result;
}

} // namespace troupe::test
