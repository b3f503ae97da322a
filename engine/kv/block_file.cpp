#include "engine/kv/block_file.hpp"

#include <algorithm>
#include <cstring>

namespace troupe {

namespace {

constexpr std::string_view magic = "TROUPEKV";
constexpr std::string_view folder_prefix = "kv-";

template <class Number>
void put(block_header& header, std::size_t at, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    header[at + i] = static_cast<std::byte>(value >> (8 * i));
}

int digit_of(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return digit_of(c) >= 0; });
}

} // namespace

block_header header_of(const content_hash& fingerprint, const block_hash& hash, std::span<const std::byte> contents) {
  block_header header{};
  std::memcpy(header.data(), magic.data(), magic.size());
  put(header, 8, block_file_version);
  put(header, 12, static_cast<std::uint32_t>(block_header_bytes));
  std::memcpy(header.data() + 16, fingerprint.data(), fingerprint.size());
  static_assert(sizeof hash == 32);
  std::memcpy(header.data() + 32, hash.words.data(), sizeof hash);
  put(header, 64, std::uint64_t{contents.size()});
  const auto check = hash_of(contents);
  std::memcpy(header.data() + 80, check.data(), check.size());
  return header;
}

std::string folder_name(const content_hash& fingerprint) {
  return std::string(folder_prefix) + hex_of(fingerprint);
}

bool is_folder_name(std::string_view name) {
  return name.starts_with(folder_prefix) && name.size() == folder_prefix.size() + 2 * sizeof(content_hash) &&
         is_hex(name.substr(folder_prefix.size()));
}

std::string file_name(const block_hash& hash) {
  const auto hex = to_hex(hash);
  return hex.substr(0, 2) + "/" + hex;
}

std::optional<block_hash> hash_of_file_name(std::string_view name) {
  std::array<std::uint8_t, sizeof(block_hash)> bytes;
  if (name.size() != 2 * bytes.size() || !is_hex(name))
    return {};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(digit_of(name[2 * i]) * 16 + digit_of(name[2 * i + 1]));
  block_hash hash;
  std::memcpy(hash.words.data(), bytes.data(), bytes.size());
  return hash;
}

} // namespace troupe
