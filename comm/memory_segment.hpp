// Memory that processes of one host share, which no death of any of them leaves behind: it has no name in a file
// system, but an address under the process that made it, good for as long as that one keeps it.
#pragma once

#include <cstddef>
#include <string>

#include "protocol/error.hpp"

namespace troupe {

class memory_segment {
public:
  /// Zeroed; pages take memory when they are first used. Errors: out_of_memory, io.
  static expected<memory_segment> create(std::size_t bytes);
  /// What another process (or this one) has made. Errors: unavailable (it is gone), malformed (not of that many bytes).
  static expected<memory_segment> open(const std::string& address, std::size_t bytes);

  memory_segment(memory_segment&& other) noexcept;
  memory_segment& operator=(memory_segment&& other) noexcept;
  ~memory_segment();

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  /// For `open` in other processes of the same user.
  std::string address() const;

private:
  memory_segment(int descriptor, std::byte* data, std::size_t bytes)
      : descriptor_(descriptor), data_(data), bytes_(bytes) {}
  static expected<memory_segment> map(int descriptor, std::size_t bytes);

  int descriptor_ = -1;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

} // namespace troupe
