// The descriptions of tensors in a GGUF header: first checked in one pass that allocates nothing, then stored.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "model/gguf/header.hpp"
#include "model/gguf/sort_unique.hpp"

namespace troupe::gguf {

namespace {

struct tensor_info {
  std::uint64_t start = 0; ///< Where in the header this description begins.
  std::string_view name;
  std::uint32_t dimensions = 0;
  std::array<std::uint64_t, max_dimensions> shape{};
  tensor_type type = tensor_type::f32;
  std::uint64_t offset = 0; ///< From where the data begins.
  std::uint64_t bytes = 0;
};

bool multiply(std::uint64_t a, std::uint64_t b, std::uint64_t& out) {
  return !__builtin_mul_overflow(a, b, &out);
}

bool add(std::uint64_t a, std::uint64_t b, std::uint64_t& out) {
  return !__builtin_add_overflow(a, b, &out);
}

/// `multiple` is a power of two and `value` at most the size of a file: this cannot wrap.
std::uint64_t align_up(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) & ~(multiple - 1);
}

/// What ggml calls the types that Troupe does not compute with, for the message.
std::string_view foreign_type_name(std::uint32_t type) {
  switch (type) {
    case 9: return "Q8_1";
    case 10: return "Q2_K";
    case 11: return "Q3_K";
    case 15: return "Q8_K";
    case 16: return "IQ2_XXS";
    case 17: return "IQ2_XS";
    case 18: return "IQ3_XXS";
    case 19: return "IQ1_S";
    case 20: return "IQ4_NL";
    case 21: return "IQ3_S";
    case 22: return "IQ2_S";
    case 23: return "IQ4_XS";
    case 24: return "I8";
    case 25: return "I16";
    case 26: return "I32";
    case 27: return "I64";
    case 28: return "F64";
    case 29: return "IQ1_M";
    case 34: return "TQ1_0";
    case 35: return "TQ2_0";
    case 39: return "MXFP4";
    case 40: return "NVFP4";
    default: return "unknown";
  }
}

expected<tensor_type> read_tensor_type(cursor& at, std::string_view name) {
  const auto start = at.position();
  const auto number = at.read<std::uint32_t>("the type of a tensor");
  if (!number)
    return tl::unexpected(number.error());
  const auto type = static_cast<tensor_type>(*number);
  if (to_string(type) != "unknown")
    return type;
  return fail(errc::unsupported,
              fmt::format("Tensor {} has type {} ({}), which Troupe does not compute with (at byte {}). Use a model file "
                          "with F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K tensors.",
                          quoted(name), *number, foreign_type_name(*number), start));
}

expected<void> read_shape(cursor& at, tensor_info& info) {
  const auto start = at.position();
  const auto dimensions = at.read<std::uint32_t>("the dimensions of a tensor");
  if (!dimensions)
    return tl::unexpected(dimensions.error());
  if (*dimensions < 1 || *dimensions > max_dimensions)
    return malformed_at(start, fmt::format("Tensor {} has {} dimensions and not 1 to {}", quoted(info.name), *dimensions,
                                           max_dimensions));
  info.dimensions = *dimensions;
  for (std::uint32_t i = 0; i < info.dimensions; ++i) {
    const auto here = at.position();
    const auto size = at.read<std::uint64_t>("the dimensions of a tensor");
    if (!size)
      return tl::unexpected(size.error());
    if (*size == 0)
      return malformed_at(here, fmt::format("Dimension {} of tensor {} is 0", i, quoted(info.name)));
    info.shape[i] = *size;
  }
  return {};
}

/// The bytes of the tensor's data.
expected<std::uint64_t> data_bytes(const tensor_info& info) {
  const auto format = format_of(info.type);
  if (info.shape[0] % format.elements != 0)
    return malformed_at(info.start,
                        fmt::format("Tensor {} has rows of {} elements, which is no multiple of the {} in a block of {}",
                                    quoted(info.name), info.shape[0], format.elements, to_string(info.type)));
  std::uint64_t elements = 1;
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < info.dimensions; ++i) {
    if (!multiply(elements, info.shape[i], elements))
      return malformed_at(info.start, fmt::format("The dimensions of tensor {} multiply to over 2^64", quoted(info.name)));
  }
  if (!multiply(elements / format.elements, format.bytes, bytes))
    return malformed_at(info.start, fmt::format("The size of tensor {} is over 2^64 bytes", quoted(info.name)));
  return bytes;
}

/// One tensor's description, checked for all that does not depend on where the data begins.
expected<tensor_info> read_tensor_info(cursor& at, std::uint64_t alignment) {
  tensor_info info;
  info.start = at.position();
  const auto name = at.read_string("a tensor's name", max_tensor_name_bytes);
  if (!name)
    return tl::unexpected(name.error());
  if (name->empty())
    return malformed_at(info.start, "A tensor has an empty name");
  info.name = *name;
  if (auto good = read_shape(at, info); !good)
    return tl::unexpected(good.error());
  const auto type = read_tensor_type(at, info.name);
  if (!type)
    return tl::unexpected(type.error());
  info.type = *type;
  const auto here = at.position();
  const auto offset = at.read<std::uint64_t>("the offset of a tensor");
  if (!offset)
    return tl::unexpected(offset.error());
  info.offset = *offset;
  if (info.offset % alignment != 0)
    return malformed_at(here, fmt::format("The data of tensor {} begins at {}, which is no multiple of the alignment {}",
                                          quoted(info.name), info.offset, alignment));
  const auto bytes = data_bytes(info);
  if (!bytes)
    return tl::unexpected(bytes.error());
  info.bytes = *bytes;
  return info;
}

std::uint64_t offset_of(std::span<const std::byte> bytes, std::string_view name) {
  return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(name.data()) - bytes.data());
}

} // namespace

expected<std::uint64_t> check_tensors(cursor& at, std::uint64_t count, std::uint64_t alignment) {
  const auto file_bytes = at.whole().size();
  tensor_info last; // The one that reaches furthest.
  std::uint64_t furthest = 0;
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto info = read_tensor_info(at, alignment);
    if (!info)
      return tl::unexpected(info.error());
    std::uint64_t end = 0;
    if (!add(info->offset, info->bytes, end) || end > file_bytes)
      return malformed_at(info->start,
                          fmt::format("The data of tensor {} ({} bytes at {}) is not within the file's {} bytes",
                                      quoted(info->name), info->bytes, info->offset, file_bytes));
    if (end >= furthest) {
      furthest = end;
      last = *info;
    }
    // Each term is at most about the file's size and there are at most max_tensors: no wrapping.
    total += align_up(info->bytes, alignment);
  }
  const auto begin = align_up(at.position(), alignment);
  if (count > 0 && (begin > file_bytes || furthest > file_bytes - begin))
    return malformed_at(last.start,
                        fmt::format("The data of tensor {} ends at byte {}, but the file has {}: it is truncated",
                                    quoted(last.name), begin + furthest, file_bytes));
  if (count > 0 && total > file_bytes - begin + alignment)
    return malformed_at(last.start,
                        fmt::format("The tensors have {} bytes of data, but the file has room for {}: some overlap",
                                    total, file_bytes - begin));
  return begin;
}

expected<void> store_tensors(cursor at, std::uint64_t count, header& out) {
  const auto bytes = at.whole();
  out.tensors.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto info = read_tensor_info(at, out.alignment);
    if (!info)
      return tl::unexpected(info.error());
    out.tensors.push_back({info->name, info->type, {info->shape.begin(), info->shape.begin() + info->dimensions},
                           bytes.subspan(out.data_offset + info->offset, info->bytes)});
  }
  return {};
}

expected<void> index_tensors(std::span<const std::byte> bytes, header& out) {
  auto begin_of = [&](auto i) { return out.tensors[i].data.data(); };
  auto& index = out.by_name; // Holds the order by place first, to spare memory.
  (void)sort_unique(index, out.tensors.size(), begin_of);
  for (std::size_t i = 1; i < index.size(); ++i) {
    const auto& before = out.tensors[index[i - 1]];
    const auto& after = out.tensors[index[i]];
    if (before.data.data() + before.data.size() > after.data.data())
      return malformed_at(offset_of(bytes, after.name), fmt::format("The data of tensors {} and {} overlaps",
                                                                    quoted(before.name), quoted(after.name)));
  }
  const auto twice = sort_unique(index, out.tensors.size(), [&](auto i) { return out.tensors[i].name; });
  if (!twice)
    return {};
  const auto name = out.tensors[twice->second].name;
  return malformed_at(offset_of(bytes, name), fmt::format("The tensor {} is there twice", quoted(name)));
}

} // namespace troupe::gguf
