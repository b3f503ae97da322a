// Numbers in strings, as Python's int() and float() read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace troupe::jinja {

/// Optional sign, digits with single underscores between them, white space around. Base 0 takes 0x, 0o and 0b.
std::optional<std::int64_t> read_integer(std::string_view bytes, int base);
std::optional<double> read_real(std::string_view bytes);

} // namespace troupe::jinja
