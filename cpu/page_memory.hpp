// Zeroed memory straight from the operating system: pages cost nothing until they are touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "protocol/error.hpp"

namespace troupe::cpu {

class page_memory {
public:
  page_memory() = default;
  ~page_memory();
  page_memory(page_memory&& other) noexcept { *this = std::move(other); }
  page_memory& operator=(page_memory&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }

  /// `count` things of `bytes` each. `what` is for the error, out_of_memory: "the KV cache". `large_pages`: ask for
  /// pages of 2 MiB, for what is touched as a whole.
  static expected<page_memory> allocate(std::size_t count, std::size_t bytes, const char* what, bool large_pages);

  template <class T = std::uint8_t>
  T* as(std::size_t offset = 0) const {
    return reinterpret_cast<T*>(data_ + offset);
  }
  std::size_t size() const { return size_; }

private:
  std::uint8_t* mapping_ = nullptr;
  std::uint8_t* data_ = nullptr; ///< Within the mapping, aligned.
  std::size_t size_ = 0, mapped_ = 0;
};

} // namespace troupe::cpu
