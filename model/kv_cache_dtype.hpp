// How a device stores keys and values.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace troupe {

/// - bf16: bfloat16
/// - int8: integers, with a float32 scale for each key and each value of a head at a position; about half the bytes
enum class kv_cache_dtype : std::uint8_t { bf16, int8 };

std::string_view to_string(kv_cache_dtype which);
std::optional<kv_cache_dtype> parse_kv_cache_dtype(std::string_view name);

} // namespace troupe
