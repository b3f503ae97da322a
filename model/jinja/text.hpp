// Text that remembers, byte by byte, whether the template or the user wrote it.
//
// The interpreter's strings and its output are such texts. All bytes are kept in one string, so that searching is
// plain; provenance is a first flag and the offsets where it flips, which is nothing at all for the usual text that
// comes from one side only. A text is UTF-8; bytes that are not are carried along as they are, each one counting as
// a code point.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "model/text.hpp"

namespace troupe::jinja {

class text {
public:
  text() = default;
  text(std::string bytes, bool trusted) : bytes_(std::move(bytes)), first_trusted_(trusted) {}

  std::string_view bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  void append(std::string_view bytes, bool trusted);
  void append(const text& other) { append(other, 0, other.size()); }
  /// The bytes [begin, end) of another text, each with its own flag.
  void append(const text& other, std::size_t begin, std::size_t end);

  /// Whether the byte at `offset` was written by the template.
  bool trusted_at(std::size_t offset) const;
  /// Whether every byte was.
  bool all_trusted() const { return empty() || (first_trusted_ && flips_.empty()); }

  /// Calls `visit(bytes, trusted)` for each run of [begin, end), in order.
  template <class Visitor>
  void each_run(std::size_t begin, std::size_t end, Visitor visit) const {
    std::size_t flip = first_flip_after(begin);
    bool trusted = first_trusted_ == (flip % 2 == 0);
    while (begin < end) {
      std::size_t stop = flip < flips_.size() && flips_[flip] < end ? flips_[flip] : end;
      visit(std::string_view(bytes_).substr(begin, stop - begin), trusted);
      begin = stop;
      trusted = !trusted;
      ++flip;
    }
  }

  text_parts parts() const;
  /// What it takes in memory, for the budget.
  std::size_t footprint() const { return bytes_.capacity() + flips_.capacity() * sizeof(std::size_t); }

private:
  /// The index of the first flip that lies after `offset`.
  std::size_t first_flip_after(std::size_t offset) const;

  std::string bytes_;
  std::vector<std::size_t> flips_; ///< Ascending, each in (0, size).
  bool first_trusted_ = true;
};

} // namespace troupe::jinja
