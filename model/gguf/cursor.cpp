#include "model/gguf/cursor.hpp"

#include <fmt/format.h>

namespace troupe::gguf {

std::string quoted(std::string_view text, std::size_t max_bytes) {
  std::string out = "'";
  for (char c : text.substr(0, max_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n')
      out += "\\n";
    else if (byte < 0x20 || byte >= 0x7f || c == '\'' || c == '\\')
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    else
      out += c;
  }
  out += '\'';
  if (text.size() > max_bytes)
    fmt::format_to(std::back_inserter(out), " (cut, {} bytes)", text.size());
  return out;
}

tl::unexpected<error> malformed_at(std::uint64_t offset, std::string_view what) {
  return fail(errc::malformed, fmt::format("{} (at byte {}). The GGUF file is damaged: fetch it again.", what, offset));
}

tl::unexpected<error> cursor::truncated(std::string_view what) const {
  return fail(errc::malformed, fmt::format("The GGUF file ends in {} (at byte {} of {}). It is truncated or damaged: "
                                           "fetch it again.", what, position_, bytes_.size()));
}

expected<std::string_view> cursor::read_string(std::string_view what, std::uint64_t max_bytes) {
  const auto start = position_;
  const auto length = read<std::uint64_t>(what);
  if (!length)
    return tl::unexpected(length.error());
  if (*length > remaining())
    return malformed_at(start, fmt::format("The string of {} has {} bytes, but {} are left in the file", what, *length,
                                           remaining()));
  if (*length > max_bytes)
    return fail(errc::limit_exceeded, fmt::format("The string of {} has {} bytes, over the limit of {} (at byte {}).",
                                                  what, *length, max_bytes, start));
  std::string_view text{reinterpret_cast<const char*>(bytes_.data() + position_), static_cast<std::size_t>(*length)};
  position_ += *length;
  return text;
}

expected<std::uint64_t> cursor::read_count(std::string_view what, std::uint64_t min_bytes_each) {
  const auto start = position_;
  const auto count = read<std::uint64_t>(what);
  if (!count)
    return count;
  if (*count > remaining() / min_bytes_each)
    return malformed_at(start, fmt::format("The file claims {} {}, but only {} bytes are left in it", *count, what,
                                           remaining()));
  return count;
}

} // namespace troupe::gguf
