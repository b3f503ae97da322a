// Code points in UTF-8, as Python's strings see them. A byte that begins no valid sequence is a code point of its
// own (0xDC80 to 0xDCFF, as Python's surrogateescape has it).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace troupe::jinja {

struct decoded {
  char32_t point;
  std::size_t bytes;
};

decoded decode(std::string_view bytes, std::size_t offset);
void encode(char32_t point, std::string& out);

bool is_ascii(std::string_view bytes);
std::size_t count_points(std::string_view bytes);
/// The byte offset of the code point with that index, or the size.
std::size_t offset_of_point(std::string_view bytes, std::size_t index);
/// Where the code point before `end` begins.
std::size_t previous_point(std::string_view bytes, std::size_t end);

bool is_space(char32_t point);      ///< str.isspace
bool is_line_break(char32_t point); ///< str.splitlines
bool is_printable(char32_t point);  ///< What repr leaves as it is.
bool is_alpha(char32_t point);
bool is_digit(char32_t point);
bool is_upper(char32_t point);
bool is_lower(char32_t point);
bool is_title(char32_t point);

void append_upper(char32_t point, std::string& out);
void append_lower(char32_t point, std::string& out);
void append_title(char32_t point, std::string& out);

} // namespace troupe::jinja
