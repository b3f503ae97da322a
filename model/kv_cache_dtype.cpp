#include "model/kv_cache_dtype.hpp"

namespace troupe {

std::string_view to_string(kv_cache_dtype which) {
  return which == kv_cache_dtype::int8 ? "int8" : "bf16";
}

std::optional<kv_cache_dtype> parse_kv_cache_dtype(std::string_view name) {
  for (auto which : {kv_cache_dtype::bf16, kv_cache_dtype::int8})
    if (name == to_string(which))
      return which;
  return {};
}

} // namespace troupe
