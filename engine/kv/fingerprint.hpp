// What stored keys and values depend on beside their tokens. Blocks go from one place to another only where all of it
// is equal: then they are what would be computed, bit for bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace troupe {

/// XXH3-128 in its canonical (big-endian) form.
using content_hash = std::array<std::uint8_t, 16>;

content_hash hash_of(std::span<const std::byte> bytes);

/// Digits in lower case.
std::string hex_of(std::span<const std::uint8_t> bytes);

struct numeric_fingerprint {
  /// Raised when a backend computes other bits or lays out its blocks in another way, or a block's hash is made
  /// differently: what was stored before is then not found any more.
  static constexpr std::uint32_t format_version = 1;

  content_hash model{}; ///< Of all bytes of the model's file.
  std::string backend;  ///< backend::name(): the arithmetic.
  std::string kv_type;  ///< backend::kv_type()
  std::string hashing;  ///< How blocks are named: "xxh128", "sha256".
  std::uint32_t tokens_per_block = 0;
  std::vector<std::uint64_t> block_bytes; ///< backend::block_bytes(), of each KV group.

  bool operator==(const numeric_fingerprint&) const = default;
};

/// All of it in one line, for people and to be hashed.
std::string to_string(const numeric_fingerprint& fingerprint);

content_hash hash_of(const numeric_fingerprint& fingerprint);

} // namespace troupe
