#include "engine/kv/fingerprint.hpp"

#include <cstring>

#include <xxhash.h>

namespace troupe {

content_hash hash_of(std::span<const std::byte> bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  content_hash result;
  static_assert(sizeof canonical.digest == sizeof result);
  std::memcpy(result.data(), canonical.digest, result.size());
  return result;
}

std::string hex_of(std::span<const std::uint8_t> bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const auto byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

std::string to_string(const numeric_fingerprint& fingerprint) {
  std::string block_bytes;
  for (const auto bytes : fingerprint.block_bytes) {
    if (!block_bytes.empty())
      block_bytes += ',';
    block_bytes += std::to_string(bytes);
  }
  return "troupe-kv-" + std::to_string(numeric_fingerprint::format_version) + " model=" + hex_of(fingerprint.model) +
         " backend=" + fingerprint.backend + " kv=" + fingerprint.kv_type + " hashing=" + fingerprint.hashing +
         " tokens_per_block=" + std::to_string(fingerprint.tokens_per_block) +
         " block_bytes=" + block_bytes;
}

content_hash hash_of(const numeric_fingerprint& fingerprint) {
  return hash_of(std::as_bytes(std::span<const char>(to_string(fingerprint))));
}

} // namespace troupe
