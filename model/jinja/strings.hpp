// What methods and filters do to strings, with provenance kept.
#pragma once

#include <optional>

#include "model/jinja/builtins.hpp"

namespace troupe::jinja {

enum class letter_case : std::uint8_t { upper, lower, title, capitalize, swap };
value change_case(workspace& ws, const string_object& s, letter_case to);

/// `characters` is what to strip; white space if it is absent.
value strip(workspace& ws, const string_object& s, const string_object* characters, bool left, bool right);

value substring(workspace& ws, const string_object& s, std::size_t begin, std::size_t end);

/// Where `what` begins in [from, to) of `in`; npos if nowhere. Linear in time.
std::size_t find_bytes(std::string_view in, std::string_view what, std::size_t from = 0);

/// At most `count` times, if that is not negative.
value replace(workspace& ws, const string_object& s, const string_object& old, const string_object& replacement,
              std::int64_t count, bool markup);

value join(workspace& ws, const string_object& separator, const std::vector<value>& items, bool markup);

/// Lines without their ends, or with them.
value split_lines(workspace& ws, const string_object& s, bool keep_ends);

/// Filled up to `width` code points; `left` of the filling goes to the left, the rest to the right.
enum class alignment : std::uint8_t { left, right, center };
value pad(workspace& ws, const value& v, std::int64_t width, alignment align, std::string_view fill = " ");

} // namespace troupe::jinja
