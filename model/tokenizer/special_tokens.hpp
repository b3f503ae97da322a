// Finding the tokens that are parsed from their names: control tokens ("<|im_start|>") and user-defined ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe {

struct special_token {
  std::string_view name; ///< Not empty; outlives the matcher.
  token_id id = 0;
  bool needs_trust = true; ///< Parsed in trusted text only.
};

class special_token_matcher {
public:
  struct match {
    token_id id;
    std::size_t bytes;
  };

  explicit special_token_matcher(std::vector<special_token> tokens);

  /// Whether any name begins with this byte.
  bool may_begin(unsigned char byte) const { return begins_[byte].low != begins_[byte].high; }

  /// The longest name that `text` begins with; one that needs trust only if it lies within the first `trusted` bytes.
  std::optional<match> longest_at(std::string_view text, std::size_t trusted) const;

private:
  // Of the tokens, sorted by name.
  struct range {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
  };
  std::vector<special_token> tokens_;
  std::array<range, 256> begins_{};
};

} // namespace troupe
