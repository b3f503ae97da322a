// Writes GGUF files for tests: correct ones, and ones that lie where a test tells it to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "model/gguf/file.hpp"

namespace troupe::test {

class gguf_writer {
public:
  // What the header says. The counts are those of what was added, unless a test lies about them.
  std::uint32_t magic = 0x46554747;
  std::uint32_t version = 3;
  std::optional<std::uint64_t> claimed_tensors;
  std::optional<std::uint64_t> claimed_entries;

  explicit gguf_writer(std::uint32_t alignment = gguf::default_alignment) : alignment_(alignment) {
    if (alignment != gguf::default_alignment)
      add("general.alignment", alignment);
  }

  /// Any number, bool, string, or vector of these or of vectors.
  template <class T>
  gguf_writer& add(std::string_view key, const T& value) {
    put_entry(key, type_of<T>());
    put(metadata_, value);
    return *this;
  }

  /// A value of any type number, with bytes as they stand.
  gguf_writer& add_raw(std::string_view key, std::uint32_t type, std::span<const std::byte> value) {
    put_entry(key, static_cast<gguf::value_type>(type));
    append(metadata_, value);
    return *this;
  }

  /// `shape` as in the file, contiguous first. `type` is a number so that a test can name one that does not exist;
  /// `offset` is where the data is said to begin, from the start of all data, and where it is put by default.
  gguf_writer& add_tensor(std::string_view name, std::uint32_t type, const std::vector<std::uint64_t>& shape,
                          std::span<const std::byte> data, std::optional<std::uint64_t> offset = {}) {
    data_.resize(align(data_.size()));
    put(descriptions_, name);
    put(descriptions_, static_cast<std::uint32_t>(shape.size()));
    for (auto size : shape)
      put(descriptions_, size);
    put(descriptions_, type);
    put(descriptions_, offset.value_or(data_.size()));
    append(data_, data);
    ++tensors_;
    return *this;
  }

  gguf_writer& add_tensor(std::string_view name, gguf::tensor_type type, const std::vector<std::uint64_t>& shape,
                          std::span<const std::byte> data, std::optional<std::uint64_t> offset = {}) {
    return add_tensor(name, static_cast<std::uint32_t>(type), shape, data, offset);
  }

  std::vector<std::byte> finish() const {
    std::vector<std::byte> out;
    put(out, magic);
    put(out, version);
    put(out, claimed_tensors.value_or(tensors_));
    put(out, claimed_entries.value_or(entries_));
    append(out, metadata_);
    append(out, descriptions_);
    if (!data_.empty())
      out.resize(align(out.size()));
    append(out, data_);
    return out;
  }

private:
  template <class T>
  struct is_vector : std::false_type {};
  template <class T>
  struct is_vector<std::vector<T>> : std::true_type {};

  // By resize and copy: g++ 12 warns without cause about a vector's insert of bytes.
  static void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
    const auto size = to.size();
    to.resize(size + bytes.size());
    if (!bytes.empty())
      std::memcpy(to.data() + size, bytes.data(), bytes.size());
  }

  template <class T>
  static constexpr gguf::value_type type_of() {
    using enum gguf::value_type;
    if constexpr (is_vector<T>::value) return array;
    else if constexpr (std::is_convertible_v<const T&, std::string_view>) return string;
    else if constexpr (std::is_same_v<T, bool>) return boolean;
    else if constexpr (std::is_same_v<T, float>) return f32;
    else if constexpr (std::is_same_v<T, double>) return f64;
    else if constexpr (std::is_signed_v<T>) return sizeof(T) == 1 ? i8 : sizeof(T) == 2 ? i16 : sizeof(T) == 4 ? i32 : i64;
    else return sizeof(T) == 1 ? u8 : sizeof(T) == 2 ? u16 : sizeof(T) == 4 ? u32 : u64;
  }

  template <class T>
  static void put(std::vector<std::byte>& out, const T& value) {
    if constexpr (is_vector<T>::value) {
      put(out, static_cast<std::uint32_t>(type_of<typename T::value_type>()));
      put(out, static_cast<std::uint64_t>(value.size()));
      for (const typename T::value_type& element : value)
        put(out, element);
    } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
      const std::string_view text = value;
      put(out, static_cast<std::uint64_t>(text.size()));
      append(out, std::as_bytes(std::span(text)));
    } else {
      static_assert(std::is_arithmetic_v<T>);
      append(out, std::as_bytes(std::span(&value, 1)));
    }
  }

  void put_entry(std::string_view key, gguf::value_type type) {
    put(metadata_, key);
    put(metadata_, static_cast<std::uint32_t>(type));
    ++entries_;
  }

  std::size_t align(std::size_t size) const { return (size + alignment_ - 1) / alignment_ * alignment_; }

  std::uint32_t alignment_;
  std::uint64_t tensors_ = 0;
  std::uint64_t entries_ = 0;
  std::vector<std::byte> metadata_;
  std::vector<std::byte> descriptions_;
  std::vector<std::byte> data_;
};

} // namespace troupe::test
