// GGUF files, version 3, read through mmap.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// Nothing of a file is believed before it is checked: every count, length, offset and size is compared with the
// bytes that are there, with arithmetic that cannot wrap, before anything is allocated for it. An error names the
// byte offset at which it was found. Opening allocates less than twice the file's size, whatever the file claims
// (metadata stays in the mapping and is decoded when asked for). A `file` is immutable once open, and safe to read
// from any thread; tensor data and strings are views into the mapping and live as long as the `file`.
//
// What cannot be checked: if another program truncates the file while it is mapped, reading it raises SIGBUS. Replace
// a model by renaming a new file over it, never by writing into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.hpp"

namespace troupe::gguf {

// Limits, some the format's own and some Troupe's; what is over one is refused with `limit_exceeded`.
inline constexpr std::uint64_t max_tensors = 1u << 20;
inline constexpr std::uint64_t max_metadata_entries = 1u << 16;
inline constexpr std::size_t max_key_bytes = 65535;        ///< The format's.
inline constexpr std::size_t max_tensor_name_bytes = 64;   ///< The format's.
inline constexpr std::uint32_t max_dimensions = 4;         ///< The format's.
inline constexpr std::uint32_t max_array_nesting = 8;      ///< Arrays of arrays in metadata.
inline constexpr std::uint32_t max_alignment = 1u << 21;   ///< Bytes.
inline constexpr std::uint32_t default_alignment = 32;     ///< Bytes; the format's, where general.alignment is absent.

/// Tensor types that Troupe computes with; the numbers are the format's.
enum class tensor_type : std::uint32_t {
  f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q5_0 = 6, q5_1 = 7, q8_0 = 8, q4_k = 12, q5_k = 13, q6_k = 14, bf16 = 30,
};

/// "Q4_1" and so on.
std::string_view to_string(tensor_type type);

/// How a row is stored: `elements` weights in `bytes` bytes.
struct block_format {
  std::uint32_t elements;
  std::uint32_t bytes;
};
block_format format_of(tensor_type type);

struct tensor {
  std::string_view name;
  tensor_type type = tensor_type::f32;
  std::vector<std::uint64_t> shape; ///< As in the file: shape[0] is contiguous (the columns, or K of a product).
  std::span<const std::byte> data;

  std::uint64_t elements() const;
  std::uint64_t columns() const { return shape.empty() ? 1 : shape[0]; }
  std::uint64_t rows() const { return elements() / columns(); }
  /// The stored bytes of one row; `index` is below `rows()`.
  std::span<const std::byte> row(std::uint64_t index) const;
};

enum class value_type : std::uint32_t {
  u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, boolean = 7, string = 8, array = 9, u64 = 10, i64 = 11,
  f64 = 12,
};

/// "u32", "string" and so on.
std::string_view to_string(value_type type);

/// One metadata value, as `troupe inspect` lists it.
struct metadata_entry {
  std::string_view key;
  value_type type = value_type::u8;
  value_type element_type = value_type::u8; ///< Of an array; otherwise `type`.
  std::uint64_t count = 1;                  ///< Elements of an array; otherwise 1.
};

class file;

/// Opens and checks a whole header. Errors: not_found, io, malformed (with the offset), limit_exceeded, unsupported
/// (version, byte order, tensor type, one part of a split model).
expected<std::shared_ptr<const file>> open(const std::filesystem::path& path);

/// The same for bytes in memory, which it copies (beside the mapping's place): for tests.
expected<std::shared_ptr<const file>> parse(std::span<const std::byte> bytes);

class file {
public:
  ~file();
  file(const file&) = delete;
  file& operator=(const file&) = delete;

  /// Typed metadata. T: bool, std::int64_t, std::uint64_t, std::uint32_t, std::int32_t (from any integer type whose
  /// value fits), float, double (from either), std::string_view, or std::vector of std::string_view, std::int32_t,
  /// float. Vectors of std::int32_t come from arrays of integers of 16 bits or more, so that none takes over twice
  /// the bytes that the file has for it. Errors: not_found (names the key), malformed (names the key, the type there
  /// and the one wanted).
  template <class T>
  expected<T> get(std::string_view key) const;

  /// As `get`, but an absent key gives `fallback`; a present one of the wrong type is still an error.
  template <class T>
  expected<T> get_or(std::string_view key, T fallback) const {
    if (!has(key))
      return fallback;
    return get<T>(key);
  }

  bool has(std::string_view key) const;
  std::span<const tensor> tensors() const;                ///< In the file's order.
  const tensor* find_tensor(std::string_view name) const; ///< nullptr where there is none.

  /// Metadata in the file's order: `index` is below `metadata_count()`.
  std::size_t metadata_count() const;
  metadata_entry metadata(std::size_t index) const;

  /// A value as text for people, cut to about `max_bytes`; strings quoted and control characters escaped. Empty for
  /// an absent key.
  std::string describe(std::string_view key, std::size_t max_bytes = 120) const;

  const std::filesystem::path& path() const; ///< Empty for parsed bytes.
  /// Which file this is, whatever its path names by now: the same text in every process that has opened the same one,
  /// and nothing has been written into it between. Empty for parsed bytes.
  const std::string& identity() const;
  std::uint64_t size() const;                ///< Bytes of the whole file.
  std::span<const std::byte> bytes() const;  ///< The whole file. Who reads it all calls `release_pages` after it.
  std::uint64_t alignment() const;           ///< Bytes; a power of two, and every tensor begins at a multiple of it.
  std::uint64_t data_offset() const;         ///< Where the header ends and tensor data may begin.

  /// Gives the mapping's resident pages back to the system: call it when weights have been packed elsewhere. The data
  /// can still be read and comes from the file again. Pages shared with a neighbouring tensor stay.
  void release_pages() const;
  void release_pages(const tensor& which) const;

private:
  struct contents;
  explicit file(std::unique_ptr<const contents> what);
  static expected<std::shared_ptr<const file>> make(std::unique_ptr<contents> what);
  friend expected<std::shared_ptr<const file>> open(const std::filesystem::path& path);
  friend expected<std::shared_ptr<const file>> parse(std::span<const std::byte> bytes);

  std::unique_ptr<const contents> contents_;
};

/// Writes the float32 values of stored weights, exactly as the `gguf` Python package does. `bytes` is a whole number
/// of blocks of `type`; `out` has as many elements as they hold.
void dequantise(tensor_type type, std::span<const std::byte> bytes, std::span<float> out);

} // namespace troupe::gguf
