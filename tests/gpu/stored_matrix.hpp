// Matrices of every format with random numbers and scales of all kinds, packed for the device, and their weights as
// floats.
#pragma once

#include <cmath>
#include <random>

#include "gpu/kernels/weight_kernels.hpp"
#include "gpu/weights/f8_weights.hpp"
#include "gpu/weights/packed_weights.hpp"
#include "tests/gpu/kernel_fixture.hpp"

namespace troupe::gpu::test {

inline constexpr weight_format all_formats[] = {weight_format::q8_0, weight_format::q4_0, weight_format::q4_1,
                                                weight_format::q4_k, weight_format::q6_k, weight_format::f8,
                                                weight_format::bf16, weight_format::f16};

/// As a file has it. Its tensor's data is `bytes`.
struct stored_matrix {
  std::vector<std::byte> bytes;
  gguf::tensor tensor;
  std::vector<float> weights; ///< [rows, columns]

  /// Scales are zero, denormal, negative or of the usual size.
  stored_matrix(gguf::tensor_type type, std::uint32_t rows, std::uint32_t columns, std::mt19937& random)
      : weights(std::size_t{rows} * columns) {
    const auto block = gguf::format_of(type);
    bytes.resize(weights.size() / block.elements * block.bytes);
    for (auto& each : bytes)
      each = static_cast<std::byte>(random());
    for (std::size_t at = 0; at < bytes.size(); at += block.bytes)
      for (const auto offset : halves_of(type))
        put(at + offset, some_half(random));
    std::normal_distribution<float> normal;
    if (type == gguf::tensor_type::f32 || type == gguf::tensor_type::bf16)
      for (std::size_t at = 0; at < bytes.size(); at += block.bytes) {
        const float number = normal(random);
        if (block.bytes == 2)
          put(at, to_bf16(number).bits);
        else
          std::memcpy(&bytes[at], &number, sizeof number);
      }
    tensor = {.name = "some.weight", .type = type, .shape = {columns, rows}, .data = bytes};
    gguf::dequantise(type, bytes, weights);
  }
  stored_matrix(const stored_matrix&) = delete;

private:
  /// Where a block's halves are.
  static std::vector<std::size_t> halves_of(gguf::tensor_type type) {
    switch (type) {
    case gguf::tensor_type::q4_1:
    case gguf::tensor_type::q4_k:
      return {0, 2};
    case gguf::tensor_type::q6_k:
      return {208};
    case gguf::tensor_type::f32:
    case gguf::tensor_type::bf16:
      return {};
    default:
      return {0};
    }
  }
  static std::uint16_t some_half(std::mt19937& random) {
    const auto sign = static_cast<std::uint16_t>(random() % 2 << 15);
    switch (random() % 8) {
    case 0:
      return sign;
    case 1:
      return static_cast<std::uint16_t>(sign | (1 + random() % 0x3ff)); // Denormal.
    default:
      return static_cast<std::uint16_t>(sign | (0x1c00 + random() % 0x1000)); // 0.004 to 0.06.
    }
  }
  void put(std::size_t at, std::uint16_t value) { std::memcpy(&bytes[at], &value, sizeof value); }
};

/// As a device has it.
struct device_weights {
  weight_layout layout;
  std::vector<std::uint8_t> bytes;
  std::vector<float> weights; ///< [outputs, inputs]

  device_weights(weight_format format, std::uint32_t outputs, std::uint32_t inputs, std::mt19937& random) {
    if (format == weight_format::f8) {
      layout = layout_of(format, outputs, inputs);
      bytes.resize(layout.bytes);
      weights.resize(std::size_t{outputs} * inputs);
      std::normal_distribution<float> normal(0, 0.1f);
      for (auto& each : weights)
        each = random() % 16 == 0 ? normal(random) / 1000 : normal(random); // Denormals of e4m3, too.
      must(quantise_f8(weights, outputs, inputs, std::as_writable_bytes(std::span(bytes))));
      for (std::size_t i = 0; i < weights.size(); ++i) {
        float scale;
        std::memcpy(&scale, &bytes[layout.parts[1] + i / inputs * 4], sizeof scale);
        weights[i] = from_f8(bytes[i]) * scale;
      }
      return;
    }
    stored_matrix stored(type_of(format), outputs, inputs, random);
    const auto packed = must(packed_weights::plan(stored.tensor));
    layout = packed.layout();
    bytes.resize(layout.bytes);
    packed.pack(stored.tensor, std::as_writable_bytes(std::span(bytes)));
    weights = std::move(stored.weights);
  }

  static gguf::tensor_type type_of(weight_format format) {
    switch (format) {
    case weight_format::q8_0:
      return gguf::tensor_type::q8_0;
    case weight_format::q4_0:
      return gguf::tensor_type::q4_0;
    case weight_format::q4_1:
      return gguf::tensor_type::q4_1;
    case weight_format::q4_k:
      return gguf::tensor_type::q4_k;
    case weight_format::q6_k:
      return gguf::tensor_type::q6_k;
    case weight_format::f16:
      return gguf::tensor_type::f16;
    default:
      return gguf::tensor_type::bf16;
    }
  }
};

/// The shim's device with a matrix on it.
struct weight_fixture : kernel_fixture {
  device_weights own;
  device_matrix matrix;

  weight_fixture(weight_format format, std::uint32_t outputs, std::uint32_t inputs, std::uint32_t seed = 1)
      : kernel_fixture(seed), own(format, outputs, inputs, random), matrix{upload(own.bytes), own.layout} {}
};

} // namespace troupe::gpu::test
