// A complete Llama model of some 100 KB with random weights, for tests of whatever loads and runs one.
//
// The same options give the same bytes on every machine. What it generates is nonsense, but lively: its layers
// outweigh the residual stream, so a greedy answer depends on the whole prompt. It has the metadata, names and
// vocabulary rules of SmolLM2's file: byte-level BPE with 256 byte tokens, a few merges, and <|endoftext|> 0,
// <|im_start|> 1, <|im_end|> 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/gguf/file.hpp"
#include "tests/support/temporary_file.hpp"

namespace troupe::test {

struct tiny_model_options {
  std::uint64_t seed = 1;
  std::uint32_t layers = 2;
  std::uint32_t width = 64;        ///< A multiple of 32, for the quantised types.
  std::uint32_t heads = 4;
  std::uint32_t kv_heads = 2;
  std::uint32_t head_size = 16;
  std::uint32_t feed_forward = 128;
  std::uint32_t context = 512;
  float rope_base = 10000.0f;
  gguf::tensor_type type = gguf::tensor_type::f32; ///< Of the layers' matrices: F32, F16, Q8_0 or Q4_1.
  bool tied_embeddings = true;     ///< Otherwise there is an output.weight.
};

/// The tiny model's token embedding is F32 or F16 where its matrices are, and else Q8_0; norms are F32.
std::vector<std::byte> tiny_model(const tiny_model_options& options = {});

temporary_file tiny_model_file(const tiny_model_options& options = {});

} // namespace troupe::test
