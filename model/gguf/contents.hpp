// What an open GGUF file consists of. Only this folder's .cpp files use it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "model/gguf/file.hpp"
#include "model/gguf/header.hpp"

namespace troupe::gguf {

/// Pages that begin at a page boundary, as tensor data expects: of a file, or of memory.
class mapping {
public:
  mapping() = default;
  mapping(void* address, std::size_t size, bool of_file)
    : address_(static_cast<std::byte*>(address)), size_(size), of_file_(of_file) {}
  mapping(mapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)), of_file_(other.of_file_) {}
  mapping& operator=(mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    std::swap(of_file_, other.of_file_);
    return *this;
  }
  ~mapping();

  std::span<const std::byte> bytes() const { return {address_, size_}; }
  std::span<std::byte> writable() { return {address_, size_}; }

  /// Drops the resident pages that lie wholly within `range`; does nothing for memory, which has no other copy.
  void release(std::span<const std::byte> range) const;

private:
  std::byte* address_ = nullptr;
  std::size_t size_ = 0;
  bool of_file_ = false;
};

struct file::contents {
  std::filesystem::path path;
  std::string identity; ///< As of its opening.
  mapping pages;
  header head;
};

} // namespace troupe::gguf
