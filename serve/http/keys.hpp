// API keys: who may use the server.
//
// Immutable after it was made; any thread. Keys are kept and compared as SHA-256 digests, all of them for each request and
// each in constant time, so that nothing can be learnt from how long a refusal takes.
#pragma once

#include <array>
#include <filesystem>
#include <string_view>
#include <vector>

#include "protocol/error.hpp"

namespace troupe::serve {

inline constexpr std::size_t max_api_keys = 1024;
inline constexpr std::size_t max_api_key_bytes = 1024;
inline constexpr std::size_t max_api_key_file_bytes = 1u << 20;

class api_keys {
public:
  /// Errors: invalid_argument (a space or control character in it), limit_exceeded.
  expected<void> add(std::string_view key);

  /// One key a line; empty lines and spaces around keys are nothing. Errors: io, limit_exceeded, invalid_argument (there
  /// is none).
  expected<void> add_file(const std::filesystem::path& file);

  /// Separated by commas. Errors: as those of a file; `name` is what they call it.
  expected<void> add_list(std::string_view list, std::string_view name);

  bool empty() const { return digests_.empty(); }

  /// By "Authorization: Bearer KEY" or "x-api-key: KEY"; empty: the field is not there. Without keys everybody passes.
  bool allow(std::string_view authorization, std::string_view api_key) const;

private:
  using digest = std::array<unsigned char, 32>;
  static digest digest_of(std::string_view key);
  bool knows(std::string_view key) const;

  std::vector<digest> digests_;
};

} // namespace troupe::serve
