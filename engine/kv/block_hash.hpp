// The name of a block's content: a hash of everything that its KV depends on.
//
// Hashes form a chain: a block's hash covers that of the block before it, so that two blocks have the same hash only
// if all tokens up to their ends are the same. What is hashed, byte by byte (integers little-endian):
//   root of a chain  "troupe.kv.1" and a zero byte (12 bytes); u32 length and bytes of the numeric fingerprint;
//                    u32 length and bytes of the salt; u64 adapter
//   block            32 bytes: the parent's hash (the root's for the first block); 16 * u32: the block's tokens
// The layout is a contract: tiers keep hashes on disk, and another process computes the same ones. Whoever changes
// it raises the number in the root.
//
// xxHash128 is the default: fast, but whoever chooses the tokens can make two prompts collide. Where tenants who do
// not trust each other share a cache, SHA-256 is the option.
//
// Owner: one thread (the SHA-256 context is used again for each block).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/step.hpp"
#include "protocol/error.hpp"

struct evp_md_ctx_st;

namespace troupe {

/// 32 bytes, as four little-endian words. Of xxHash128 the first two are the low and the high half, the others zero.
struct block_hash {
  std::array<std::uint64_t, 4> words{};
  bool operator==(const block_hash&) const = default;
  auto operator<=>(const block_hash&) const = default;
};

/// 64 hexadecimal digits, the bytes in their order.
std::string to_hex(const block_hash& hash);

/// For tables that are sized to their content. The first word is as good as any.
struct block_hash_hasher {
  std::size_t operator()(const block_hash& hash) const { return static_cast<std::size_t>(hash.words[0]); }
};

enum class block_hash_kind : std::uint8_t { xxh128, sha256 };

class block_hasher {
public:
  /// Errors: unavailable (the crypto library has no SHA-256).
  static expected<block_hasher> make(block_hash_kind kind, std::string_view fingerprint);

  /// The parent of first blocks: what keeps apart prefixes whose tokens are the same.
  block_hash root(std::string_view salt, std::uint64_t adapter) const;

  block_hash next(const block_hash& parent, std::span<const token_id, tokens_per_block> tokens) const;

private:
  struct free_context {
    void operator()(evp_md_ctx_st* context) const;
  };
  block_hash digest(const void* data, std::size_t size) const;

  block_hash_kind kind_ = block_hash_kind::xxh128;
  std::string fingerprint_;
  std::unique_ptr<evp_md_ctx_st, free_context> context_; ///< Only for SHA-256; its algorithm is set once.
};

} // namespace troupe
