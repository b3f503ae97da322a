// Everything that bounds a chat template, in one place.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::jinja {

struct limits {
  std::size_t max_source_bytes = 256u << 10;      ///< Of a template; the largest known has 17 KB.
  std::size_t max_syntax_nesting = 100;           ///< Brackets, inner expressions and blocks inside each other.
  std::uint64_t max_steps = 20'000'000;           ///< Nodes evaluated; long texts and lists cost more than one.
  std::size_t max_output_bytes = 64u << 20;       ///< Of the rendered prompt.
  std::size_t max_value_bytes = std::size_t{512} << 20; ///< Of all values that are alive at once.
  std::size_t max_evaluation_depth = 1000;        ///< Nodes and macro calls that wait for each other.
  std::size_t max_value_nesting = 100;            ///< Lists in lists, when they are printed, compared or hashed.
  std::int64_t max_range_items = 100'000;         ///< Of one range().
};

} // namespace troupe::jinja
