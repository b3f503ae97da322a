// Byte-pair merges: the table of which two neighbouring tokens become one, and their application to a word.
// Source: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe {

/// The id of what has no token, in symbols of a word; never given out.
inline constexpr token_id no_token = -1;

/// The merges of a vocabulary by pairs of ids. Immutable once filled; open addressing, since looking pairs up is most
/// of what encoding does.
class merge_table {
public:
  static constexpr std::uint32_t no_rank = std::numeric_limits<std::uint32_t>::max();

  struct merge {
    std::uint32_t rank = no_rank; ///< The lowest goes first.
    token_id result = no_token;
  };

  explicit merge_table(std::size_t count);

  /// At most `count` times. Ranks come in ascending order; of a pair that comes twice the first counts.
  void add(token_id left, token_id right, merge what);

  /// A rank of `no_rank` where the two do not merge.
  merge find(token_id left, token_id right) const {
    auto key = key_of(left, right);
    auto index = first_slot(key);
    while (slots_[index].key != key) {
      if (slots_[index].key == empty)
        return {};
      index = (index + 1) & (slots_.size() - 1);
    }
    return slots_[index].value;
  }

private:
  struct slot {
    std::uint64_t key = empty;
    merge value;
  };
  // Both ids would be `no_token`, which merges with nothing.
  static constexpr std::uint64_t empty = std::numeric_limits<std::uint64_t>::max();

  static std::uint64_t key_of(token_id left, token_id right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  // Fibonacci hashing, after folding the halves into each other: ids are small, so the upper bits of both are zero.
  std::size_t first_slot(std::uint64_t key) const {
    return static_cast<std::size_t>(((key ^ key >> 29) * 0x9E3779B97F4A7C15u) >> shift_);
  }

  std::vector<slot> slots_;
  int shift_;
};

/// Applies merges to one word after another, in order of rank and from the left among equals. A long word is done in
/// steps, in time n log n and with about 24 bytes of memory for each byte of it.
class merger {
public:
  /// `merges` outlives the merger.
  explicit merger(const merge_table& merges) : merges_(&merges) {}

  /// Merges a short word where it stands: at most `short_word` symbols. Returns how many are left, at its front.
  std::size_t merge_short(std::span<token_id> symbols) const;
  static constexpr std::size_t short_word = 24;

  /// Begins a word of any length.
  void start(std::span<const token_id> symbols);
  /// Does at most `steps` more steps, of which a word takes up to three for each symbol; returns how many it did.
  std::size_t advance(std::size_t steps);
  bool done() const { return queue_.empty(); }
  /// Appends the tokens of a word that is done, without those that are `no_token`.
  void take(std::vector<token_id>& out);

private:
  // A symbol of a long word: it and its right neighbour may merge with `rank`. What was merged into its left
  // neighbour keeps a rank of no_rank and is reached no more.
  struct symbol {
    token_id id;
    std::uint32_t previous;
    std::uint32_t next;
    std::uint32_t rank;
  };
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  void offer(std::uint32_t left);

  const merge_table* merges_;
  std::vector<symbol> symbols_;
  // A heap, lowest first: the rank in the upper half, the index of the left symbol in the lower.
  std::vector<std::uint64_t> queue_;
};

} // namespace troupe
