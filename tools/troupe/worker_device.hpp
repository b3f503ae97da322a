// What makes a worker's backend, in values that travel to its process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "actors/worker.hpp"
#include "model/model.hpp"
#include "model/sharding.hpp"

namespace troupe::cli {

struct worker_device {
  std::string model;          ///< Path of the file,
  std::string file;           ///< and which file that was (gguf::file::identity): another one has other weights.
  std::string device = "cpu"; ///< "cpu", "cuda", "cuda-shim"
  bool reference = false;     ///< Of the CPU the reference backend, not the threaded one.
  std::uint32_t kv_blocks = 0, max_rows = 0, max_logit_rows = 0;
  std::uint32_t threads = 1; ///< Of this worker.
  bool graphs = true, batch_invariant = false;
  std::uint32_t kv_dtype = 0, arithmetic = 0;
  std::uint32_t ranks = 1; ///< Tensor-parallel ones.
  std::vector<std::uint32_t>
    layer_cuts; ///< Where each stage's layers begin, and the last one's end; empty: one stage.
  std::uint32_t shim_memory_mib = 8192; ///< Of a device that is the shim.
};

/// What a backend is told. group: this rank's, or null.
backend_options options_of(const worker_device& device, std::shared_ptr<communicator> group);

/// The part of the whole model that a worker in this seat has. Errors: invalid_argument (more ranks than the model can be cut into).
expected<model_program> program_of_seat(const worker_device& device, const gguf::file& file,
                                        const model_program& whole, const worker_seat& seat);

/// number: of the CUDA device, among those that this process sees. Errors: those of the backend.
expected<std::unique_ptr<backend>> make_backend(const worker_device& device, std::shared_ptr<const gguf::file> file,
                                                const model_program& part, std::shared_ptr<communicator> group,
                                                int number = 0);

/// The same of the part that a worker in this seat has of the whole model; each has a CUDA device of its own, engine by engine, stage
/// by stage, rank by rank. Errors: also those of program_of_seat.
expected<std::unique_ptr<backend>> make_part(const worker_device& device, std::shared_ptr<const gguf::file> file,
                                             const model_program& whole, const worker_seat& seat,
                                             std::shared_ptr<communicator> group);

std::string encode(const worker_device& device);

} // namespace troupe::cli
