// The two backends that run on a CPU.
//
// Errors of both: out_of_memory (names what for), unsupported (a tensor's type or an option), invalid_argument (the
// environment variable TROUPE_CPU_ISA names no instruction set).
#pragma once

#include <memory>
#include <string_view>

#include "model/architecture.hpp"
#include "model/backend.hpp"
#include "model/gguf/file.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// The oracle: float32 throughout, keys and values too (another `arithmetic` or `kv_dtype` than the default is unsupported), plain
/// loops, weights dequantised at load (four bytes for each). Slow and large on purpose of being obvious; what the other
/// backends are tested against.
expected<std::unique_ptr<backend>> make_reference_backend(std::shared_ptr<const gguf::file> file,
                                                          const model_program& program,
                                                          const backend_options& options);

/// The arithmetics of `make_cpu_backend`, each the same bits on every instruction set. Whoever changes a bit of one changes
/// its name: stored KV blocks are found by it.
constexpr std::string_view fingerprint_of(cpu_arithmetic which) {
  return which == cpu_arithmetic::bf16 ? "cpu-bf16-segments" : "cpu-8and12bit-segments";
}

/// The threaded backend: packed weights, KV in bfloat16 or int8. Under `int8` activations have 8 or 12 bits (cpu/plan.hpp)
/// with a scale for each 32 columns where weights are quantised; under `bf16` activations and weights are rounded to
/// bfloat16 (cpu/bf16_kernels.hpp). Kernels are for the instruction set that the CPU has; TROUPE_CPU_ISA (portable, avx2,
/// avxvnni, avx512vnni, amx) forces another one. The results are the same bits with each of them, with any number of
/// threads, and for any composition of the batch.
expected<std::unique_ptr<backend>> make_cpu_backend(std::shared_ptr<const gguf::file> file,
                                                    const model_program& program, const backend_options& options);

/// Bytes of its KV memory that one block takes, for all layers.
std::uint64_t cpu_kv_block_bytes(const model_program& program, kv_cache_dtype dtype);

} // namespace troupe
