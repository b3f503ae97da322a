#include "model/jinja/unicode.hpp"

#include <utf8proc.h>

namespace troupe::jinja {

namespace {

constexpr char32_t escaped_byte = 0xDC00;

utf8proc_category_t category(char32_t point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(point));
}

// Letters whose other case is more than one letter; utf8proc's simple mappings have no room for them.
struct wide_case {
  char32_t point;
  std::string_view upper;
  std::string_view title;
};
constexpr wide_case wide_cases[] = {
  {0xDF, "SS", "Ss"},           {0x149, "\u02BCN", "\u02BCN"}, {0x1F0, "J\u030C", "J\u030C"},
  {0x390, "\u0399\u0308\u0301", "\u0399\u0308\u0301"},         {0x3B0, "\u03A5\u0308\u0301", "\u03A5\u0308\u0301"},
  {0x587, "\u0535\u0552", "\u0535\u0582"},                     {0xFB00, "FF", "Ff"},
  {0xFB01, "FI", "Fi"},         {0xFB02, "FL", "Fl"},          {0xFB03, "FFI", "Ffi"},
  {0xFB04, "FFL", "Ffl"},       {0xFB05, "ST", "St"},          {0xFB06, "ST", "St"},
};

} // namespace

decoded decode(std::string_view bytes, std::size_t offset) {
  auto byte = static_cast<unsigned char>(bytes[offset]);
  if (byte < 0x80)
    return {byte, 1};
  utf8proc_int32_t point;
  auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()) + offset,
                                 static_cast<utf8proc_ssize_t>(bytes.size() - offset), &point);
  if (length <= 0)
    return {escaped_byte + byte, 1};
  return {static_cast<char32_t>(point), static_cast<std::size_t>(length)};
}

void encode(char32_t point, std::string& out) {
  if (point >= escaped_byte + 0x80 && point <= escaped_byte + 0xFF) {
    out += static_cast<char>(point - escaped_byte);
    return;
  }
  utf8proc_uint8_t buffer[4];
  auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(point), buffer);
  out.append(reinterpret_cast<char*>(buffer), static_cast<std::size_t>(length));
}

bool is_ascii(std::string_view bytes) {
  unsigned char all = 0;
  for (char c : bytes)
    all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

std::size_t count_points(std::string_view bytes) {
  std::size_t count = 0;
  for (std::size_t offset = 0; offset < bytes.size(); offset += decode(bytes, offset).bytes)
    ++count;
  return count;
}

std::size_t offset_of_point(std::string_view bytes, std::size_t index) {
  std::size_t offset = 0;
  while (index > 0 && offset < bytes.size()) {
    offset += decode(bytes, offset).bytes;
    --index;
  }
  return offset;
}

std::size_t previous_point(std::string_view bytes, std::size_t end) {
  for (std::size_t length = 4; length > 1; --length)
    if (length <= end && decode(bytes.substr(0, end), end - length).bytes == length)
      return end - length;
  return end - 1;
}

bool is_space(char32_t point) {
  if (point <= 0x20)
    return point == 0x20 || (point >= 0x09 && point <= 0x0D) || (point >= 0x1C && point <= 0x1F);
  return point == 0x85 || point == 0xA0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028
         || point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
}

bool is_line_break(char32_t point) {
  return (point >= 0x0A && point <= 0x0D) || (point >= 0x1C && point <= 0x1E) || point == 0x85 || point == 0x2028
         || point == 0x2029;
}

bool is_printable(char32_t point) {
  if (point < 0x7F)
    return point >= 0x20;
  if (point >= escaped_byte + 0x80 && point <= escaped_byte + 0xFF)
    return true; // Carried along, not spelled out.
  switch (category(point)) {
    case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS: case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP: case UTF8PROC_CATEGORY_ZS:
      return false;
    default: return true;
  }
}

bool is_alpha(char32_t point) {
  auto c = category(point);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}
bool is_digit(char32_t point) { return category(point) == UTF8PROC_CATEGORY_ND; }
bool is_upper(char32_t point) { return category(point) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t point) { return category(point) == UTF8PROC_CATEGORY_LL; }
bool is_title(char32_t point) { return category(point) == UTF8PROC_CATEGORY_LT; }

void append_upper(char32_t point, std::string& out) {
  for (const auto& wide : wide_cases)
    if (wide.point == point) {
      out += wide.upper;
      return;
    }
  encode(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(point))), out);
}

void append_lower(char32_t point, std::string& out) {
  if (point == 0x130)
    out += "i\u0307";
  else
    encode(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point))), out);
}

void append_title(char32_t point, std::string& out) {
  for (const auto& wide : wide_cases)
    if (wide.point == point) {
      out += wide.title;
      return;
    }
  encode(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(point))), out);
}

} // namespace troupe::jinja
