// One block in a file: a header, then its contents.
//
// The header is a function of what is stored, so a reader makes the header that the contents would have and compares
// all of it: a file of another version, of another model, of another block or with a flipped bit is no block.
//
//   offset  bytes
//        0      8  "TROUPEKV"
//        8      4  version, little-endian, as all numbers here
//       12      4  bytes of the header
//       16     16  hash of the numeric fingerprint
//       32     32  the block's hash
//       64      8  bytes of the contents
//       72      8  zeros
//       80     16  XXH3-128 of the contents, canonical
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/kv/block_hash.hpp"
#include "engine/kv/fingerprint.hpp"

namespace troupe {

inline constexpr std::uint32_t block_file_version = 1;
inline constexpr std::size_t block_header_bytes = 96;
using block_header = std::array<std::byte, block_header_bytes>;

block_header header_of(const content_hash& fingerprint, const block_hash& hash, std::span<const std::byte> contents);

/// "kv-" and the fingerprint's hash: the folder of all blocks that share it.
std::string folder_name(const content_hash& fingerprint);
bool is_folder_name(std::string_view name);

/// "ab/ab01...": a block's file within that folder.
std::string file_name(const block_hash& hash);

/// The reverse, of the part after the slash; nothing where it is no such name.
std::optional<block_hash> hash_of_file_name(std::string_view name);

} // namespace troupe
