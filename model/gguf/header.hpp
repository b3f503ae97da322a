// The checked header of a GGUF file: where its metadata is, and its tensors. Only this folder's .cpp files use it.
//
// Invariants once read: every key is unique and every value lies within the bytes; every tensor's name is unique, its
// data lies within the bytes, begins at a multiple of the alignment and overlaps no other's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/gguf/cursor.hpp"
#include "model/gguf/file.hpp"

namespace troupe::gguf {

struct header {
  std::vector<std::uint64_t> entries;  ///< The offset of each metadata entry, in the file's order.
  std::vector<std::uint32_t> by_key;   ///< Indices into `entries`, sorted by key.
  std::vector<tensor> tensors;         ///< In the file's order.
  std::vector<std::uint32_t> by_name;  ///< Indices into `tensors`, sorted by name.
  std::uint64_t alignment = default_alignment;
  std::uint64_t data_offset = 0;
};

/// Reads and checks everything before the tensors' data. The views in it point into `bytes`.
expected<header> read_header(std::span<const std::byte> bytes);

/// The key of the entry that begins at `offset`, which was checked before.
std::string_view key_at(std::span<const std::byte> bytes, std::uint64_t offset);

/// The bytes of one number of this type; 0 for strings and arrays.
std::uint32_t scalar_bytes(value_type type);

/// Reads a value's type, refusing numbers that the format does not know.
expected<value_type> read_value_type(cursor& at, std::string_view key);

/// Steps over a value and checks all of it. `nesting` counts the arrays around it.
expected<void> skip_value(cursor& at, value_type type, std::string_view key, std::uint32_t nesting = 0);

/// Goes over all descriptions and allocates nothing: that every tensor's data can be in the file, and that together
/// they do not take more than there is (which bounds what is allocated for the descriptions). Returns where data
/// begins.
expected<std::uint64_t> check_tensors(cursor& at, std::uint64_t count, std::uint64_t alignment);

/// Fills `out.tensors` from `count` checked descriptions, the first of which is at the cursor.
expected<void> store_tensors(cursor at, std::uint64_t count, header& out);

/// Fills `out.by_name`; refuses tensors that overlap and names that are there twice.
expected<void> index_tensors(std::span<const std::byte> bytes, header& out);

} // namespace troupe::gguf
