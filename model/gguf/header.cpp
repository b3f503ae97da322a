#include "model/gguf/header.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "model/gguf/sort_unique.hpp"

namespace troupe::gguf {

namespace {

constexpr std::uint32_t supported_version = 3;
constexpr std::uint64_t min_entry_bytes = 8 + 1 + 4 + 1;          // key length, key, type, value
constexpr std::uint64_t min_tensor_bytes = 8 + 1 + 4 + 8 + 4 + 8; // name length, name, dimensions, one, type, offset

expected<std::uint64_t> read_alignment(cursor at, value_type type) {
  const auto start = at.position();
  if (type != value_type::u32)
    return malformed_at(start, fmt::format("general.alignment is a {} and not a u32", to_string(type)));
  const auto value = at.read<std::uint32_t>("the value of general.alignment");
  if (!value)
    return tl::unexpected(value.error());
  if (*value < 8 || *value > max_alignment || (*value & (*value - 1)) != 0)
    return malformed_at(start, fmt::format("general.alignment is {} and not a power of two from 8 to {}", *value,
                                           max_alignment));
  return *value;
}

expected<void> read_metadata(cursor& at, std::uint64_t count, header& out) {
  out.entries.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto start = at.position();
    const auto key = at.read_string("a metadata key", max_key_bytes);
    if (!key)
      return tl::unexpected(key.error());
    if (key->empty())
      return malformed_at(start, "A metadata key is empty");
    const auto type = read_value_type(at, *key);
    if (!type)
      return tl::unexpected(type.error());
    if (*key == "general.alignment") {
      const auto alignment = read_alignment(at, *type);
      if (!alignment)
        return tl::unexpected(alignment.error());
      out.alignment = *alignment;
    }
    if (auto good = skip_value(at, *type, *key); !good)
      return good;
    out.entries.push_back(start);
  }
  return {};
}

expected<void> index_metadata(std::span<const std::byte> bytes, header& out) {
  const auto twice = sort_unique(out.by_key, out.entries.size(), [&](auto i) { return key_at(bytes, out.entries[i]); });
  if (!twice)
    return {};
  const auto where = out.entries[twice->second];
  return malformed_at(where, fmt::format("The metadata key {} is there twice", quoted(key_at(bytes, where))));
}

expected<void> check_magic_and_version(cursor& at) {
  const auto magic = at.read<std::uint32_t>("its first four bytes");
  if (!magic)
    return tl::unexpected(magic.error());
  if (*magic != 0x46554747)
    return fail(errc::malformed, "This is not a GGUF file: it does not begin with \"GGUF\" (at byte 0). Give the path of a "
                                 ".gguf model.");
  const auto version = at.read<std::uint32_t>("its version");
  if (!version)
    return tl::unexpected(version.error());
  if (*version == __builtin_bswap32(supported_version))
    return fail(errc::unsupported, "The GGUF file is big-endian (at byte 4). Convert it to a little-endian one.");
  if (*version != supported_version)
    return fail(errc::unsupported,
                fmt::format("The GGUF file has version {}, and Troupe reads version {} (at byte 4). Convert the model "
                            "again with current tools.", *version, supported_version));
  return {};
}

expected<std::uint64_t> read_limited_count(cursor& at, std::string_view what, std::uint64_t min_bytes,
                                           std::uint64_t limit) {
  const auto start = at.position();
  const auto count = at.read_count(what, min_bytes);
  if (count && *count > limit)
    return fail(errc::limit_exceeded, fmt::format("The file has {} {}, over the limit of {} (at byte {}).", *count, what,
                                                  limit, start));
  return count;
}

} // namespace

std::string_view key_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  cursor at(bytes, offset);
  return at.read_string("a metadata key", max_key_bytes).value_or(std::string_view{});
}

expected<header> read_header(std::span<const std::byte> bytes) {
  cursor at(bytes);
  if (auto good = check_magic_and_version(at); !good)
    return tl::unexpected(good.error());
  const auto tensor_count = read_limited_count(at, "tensors", min_tensor_bytes, max_tensors);
  if (!tensor_count)
    return tl::unexpected(tensor_count.error());
  const auto entry_count = read_limited_count(at, "metadata entries", min_entry_bytes, max_metadata_entries);
  if (!entry_count)
    return tl::unexpected(entry_count.error());

  header out;
  if (auto good = read_metadata(at, *entry_count, out); !good)
    return tl::unexpected(good.error());
  if (auto good = index_metadata(bytes, out); !good)
    return tl::unexpected(good.error());
  const cursor descriptions = at;
  const auto begin = check_tensors(at, *tensor_count, out.alignment);
  if (!begin)
    return tl::unexpected(begin.error());
  out.data_offset = *begin;
  if (auto good = store_tensors(descriptions, *tensor_count, out); !good)
    return tl::unexpected(good.error());
  if (auto good = index_tensors(bytes, out); !good)
    return tl::unexpected(good.error());
  return out;
}

} // namespace troupe::gguf
