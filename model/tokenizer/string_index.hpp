// Looks up tokens by their text: open addressing over views that stay elsewhere, since starting up looks up each of
// some hundred thousand names.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <xxhash.h>

#include "model/tokenizer/merges.hpp"

namespace troupe {

class string_index {
public:
  explicit string_index(std::size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

  /// At most `count` times. Of a text that comes twice the first counts.
  void add(std::string_view text, token_id id) {
    auto& slot = slot_of(text);
    if (slot.id == no_token)
      slot = {text, id};
  }

  /// `no_token` where there is none.
  token_id find(std::string_view text) const { return const_cast<string_index*>(this)->slot_of(text).id; }

private:
  struct slot {
    std::string_view text;
    token_id id = no_token;
  };

  slot& slot_of(std::string_view text) {
    auto mask = slots_.size() - 1;
    auto index = static_cast<std::size_t>(XXH3_64bits(text.data(), text.size())) & mask;
    while (slots_[index].id != no_token && slots_[index].text != text)
      index = (index + 1) & mask;
    return slots_[index];
  }

  std::vector<slot> slots_;
};

} // namespace troupe
