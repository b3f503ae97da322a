// Names and sizes of the types that a GGUF file may have.
#include "model/gguf/file.hpp"

namespace troupe::gguf {

std::string_view to_string(tensor_type type) {
  switch (type) {
    case tensor_type::f32: return "F32";
    case tensor_type::f16: return "F16";
    case tensor_type::q4_0: return "Q4_0";
    case tensor_type::q4_1: return "Q4_1";
    case tensor_type::q5_0: return "Q5_0";
    case tensor_type::q5_1: return "Q5_1";
    case tensor_type::q8_0: return "Q8_0";
    case tensor_type::q4_k: return "Q4_K";
    case tensor_type::q5_k: return "Q5_K";
    case tensor_type::q6_k: return "Q6_K";
    case tensor_type::bf16: return "BF16";
  }
  return "unknown";
}

block_format format_of(tensor_type type) {
  switch (type) {
    case tensor_type::f32: return {1, 4};
    case tensor_type::f16: return {1, 2};
    case tensor_type::bf16: return {1, 2};
    case tensor_type::q4_0: return {32, 2 + 16};
    case tensor_type::q4_1: return {32, 2 + 2 + 16};
    case tensor_type::q5_0: return {32, 2 + 4 + 16};
    case tensor_type::q5_1: return {32, 2 + 2 + 4 + 16};
    case tensor_type::q8_0: return {32, 2 + 32};
    case tensor_type::q4_k: return {256, 2 + 2 + 12 + 128};
    case tensor_type::q5_k: return {256, 2 + 2 + 12 + 32 + 128};
    case tensor_type::q6_k: return {256, 128 + 64 + 16 + 2};
  }
  return {1, 1};
}

std::string_view to_string(value_type type) {
  switch (type) {
    case value_type::u8: return "u8";
    case value_type::i8: return "i8";
    case value_type::u16: return "u16";
    case value_type::i16: return "i16";
    case value_type::u32: return "u32";
    case value_type::i32: return "i32";
    case value_type::f32: return "f32";
    case value_type::boolean: return "bool";
    case value_type::string: return "string";
    case value_type::array: return "array";
    case value_type::u64: return "u64";
    case value_type::i64: return "i64";
    case value_type::f64: return "f64";
  }
  return "unknown";
}

std::uint64_t tensor::elements() const {
  std::uint64_t product = 1;
  for (auto dimension : shape)
    product *= dimension;
  return product;
}

std::span<const std::byte> tensor::row(std::uint64_t index) const {
  const auto format = format_of(type);
  const auto row_bytes = columns() / format.elements * format.bytes;
  return data.subspan(index * row_bytes, row_bytes);
}

} // namespace troupe::gguf
