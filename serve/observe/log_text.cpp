#include "serve/observe/log_text.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "protocol/utf8.hpp"

namespace troupe::serve {

namespace {

bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("._:/+-@").find(c) != std::string_view::npos;
}

/// U+0080 to U+009F, U+2028 to U+202E and U+2066 to U+2069: other controls, ends of lines, directions of text.
std::size_t control_bytes_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  if (byte(0) < 0x20 || byte(0) == 0x7f)
    return 1;
  if (byte(0) == 0xc2 && byte(1) < 0xa0)
    return 2;
  const bool control = byte(0) == 0xe2 && ((byte(1) == 0x80 && byte(2) >= 0xa8 && byte(2) <= 0xae) ||
                                           (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9));
  return control ? 3 : 0;
}

/// also: characters that get a \ in front.
std::string escaped(std::string_view given, std::string_view also = {}) {
  const auto text = replace_invalid_utf8(given);
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto control = control_bytes_at(text, at);
    if (control == 0) {
      if (also.find(text[at]) != also.npos)
        result += '\\';
      result += text[at++];
      continue;
    }
    for (const auto end = at + control; at < end; ++at)
      if (text[at] == '\n')
        result += "\\n";
      else if (text[at] == '\t')
        result += "\\t";
      else
        result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at]));
  }
  return result;
}

std::string value_of(const std::string& text) {
  if (!text.empty() && std::ranges::all_of(text, is_plain))
    return text;
  return '"' + escaped(text, "\"\\") + '"';
}
std::string value_of(std::uint64_t number) {
  return std::to_string(number);
}
std::string value_of(double number) {
  return fmt::format("{:.1f}", number);
}

std::string in_ascii(const nlohmann::json& value) {
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

} // namespace

std::string text_of(const log_entry& entry) {
  auto line = escaped(entry.message);
  for (const auto& [name, value] : entry.fields)
    line += fmt::format(" {}={}", name, std::visit([](const auto& each) { return value_of(each); }, value));
  return line;
}

std::string json_members_of(const log_entry& entry) {
  auto members = fmt::format("\"event\":{},\"message\":{}", in_ascii(entry.event), in_ascii(entry.message));
  for (const auto& [name, value] : entry.fields)
    members +=
      fmt::format(",{}:{}", in_ascii(name), std::visit([](const auto& each) { return in_ascii(each); }, value));
  return members;
}

} // namespace troupe::serve
