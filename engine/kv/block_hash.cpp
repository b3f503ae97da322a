#include "engine/kv/block_hash.hpp"

#include <bit>
#include <cstdlib>
#include <cstring>

#include <openssl/evp.h>
#include <xxhash.h>

#include "engine/kv/fingerprint.hpp"

namespace troupe {

static_assert(std::endian::native == std::endian::little, "The hashed bytes are those of memory.");
static_assert(sizeof(block_hash) == 32 && sizeof(token_id) == 4);

namespace {

void append_text(std::string& bytes, std::string_view text) {
  const auto size = static_cast<std::uint32_t>(text.size());
  bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
  bytes.append(text);
}

} // namespace

std::string to_hex(const block_hash& hash) {
  return hex_of(std::span(reinterpret_cast<const std::uint8_t*>(hash.words.data()), sizeof(hash.words)));
}

void block_hasher::free_context::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

expected<block_hasher> block_hasher::make(block_hash_kind kind, std::string_view fingerprint) {
  block_hasher result;
  result.kind_ = kind;
  result.fingerprint_ = fingerprint;
  if (kind == block_hash_kind::sha256) {
    result.context_.reset(EVP_MD_CTX_new());
    if (!result.context_ || EVP_DigestInit_ex(result.context_.get(), EVP_sha256(), nullptr) != 1)
      return fail(errc::unavailable, "The crypto library has no SHA-256, by which blocks of the KV cache were to be "
                                     "named; use xxh128.");
  }
  return result;
}

block_hash block_hasher::root(std::string_view salt, std::uint64_t adapter) const {
  std::string bytes("troupe.kv.1", 12); // with the zero that ends it
  append_text(bytes, fingerprint_);
  append_text(bytes, salt);
  bytes.append(reinterpret_cast<const char*>(&adapter), sizeof(adapter));
  return digest(bytes.data(), bytes.size());
}

block_hash block_hasher::next(const block_hash& parent, std::span<const token_id, tokens_per_block> tokens) const {
  char bytes[sizeof(block_hash) + tokens_per_block * sizeof(token_id)];
  std::memcpy(bytes, parent.words.data(), sizeof(block_hash));
  std::memcpy(bytes + sizeof(block_hash), tokens.data(), tokens.size_bytes());
  return digest(bytes, sizeof(bytes));
}

block_hash block_hasher::digest(const void* data, std::size_t size) const {
  block_hash result;
  if (kind_ == block_hash_kind::xxh128) {
    const auto hash = XXH3_128bits(data, size);
    result.words[0] = hash.low64;
    result.words[1] = hash.high64;
    return result;
  }
  // Without an algorithm, the context starts again with the one it has and allocates nothing. Once `make` has had it,
  // SHA-256 of bytes in memory does not fail; a cache with wrong names would mix up tenants, so this does not go on.
  auto* context = context_.get();
  if (EVP_DigestInit_ex(context, nullptr, nullptr) != 1 || EVP_DigestUpdate(context, data, size) != 1 ||
      EVP_DigestFinal_ex(context, reinterpret_cast<unsigned char*>(result.words.data()), nullptr) != 1)
    std::abort();
  return result;
}

} // namespace troupe
