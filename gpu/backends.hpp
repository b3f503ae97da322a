// The backend on CUDA devices, and the same on the shim (gpu/shim/): its kernels' own source and all of its host code, run and checked
// on a machine without a GPU, some thousand times slower.
//
// Weights stay as the file has them (4 to 16 bits), activations are bf16 where products read them and float32 elsewhere, keys and values
// are bf16. Up to eight rows are multiplied by the weights as they are stored; for more, the weights are unpacked to bf16 and multiplied
// by cuBLASLt; rows of prompts attend together, others alone. So a row's bits depend on its company, as they do with cuBLAS in general.
// With `batch_invariant` every row goes the way of a single one, and has the same bits in any company; prompts are slower for it.
//
// Threads: the owner's alone, from its making on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/architecture.hpp"
#include "model/backend.hpp"
#include "model/gguf/file.hpp"

namespace troupe {

/// Errors of both: unsupported (head sizes, widths, types of weights or options that there are no kernels for), out_of_memory (with an
/// account of what wanted how much), unavailable (no device, or a library that is not there).
expected<std::unique_ptr<backend>> make_cuda_backend(std::shared_ptr<const gguf::file> file,
                                                     const model_program& program, const backend_options& options,
                                                     int device = 0);

struct shim_backend_options {
  std::uint32_t seed = 1; ///< Of all orders in which the device does things.
  std::size_t memory_bytes = std::size_t{8}
                             << 30; ///< Of the device that is none; taken from the host's as it is used.
  bool finds_global_races =
    false; ///< Of threads in device memory, too: slower, and 8 times the memory that kernels use.
};

expected<std::unique_ptr<backend>> make_shim_backend(std::shared_ptr<const gguf::file> file,
                                                     const model_program& program, const backend_options& options,
                                                     const shim_backend_options& shim = {});

/// The arithmetic of a device: the name of its backend, and part of the numeric fingerprint.
std::string gpu_arithmetic(const std::string& device, bool batch_invariant);

/// Bytes of KV memory that one block takes, for all layers.
std::uint64_t gpu_kv_block_bytes(const model_program& program);

} // namespace troupe
