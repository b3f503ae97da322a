// Large products by cuBLASLt, which is opened when the first one is wanted: a program that links this starts where it is not.
//
// The algorithm is the first that the library's heuristics name for a shape, asked for once a shape and never timed, and kept in a file
// (algorithm_file.hpp), so that a restart takes the same one. Shapes with other numbers of rows may get others, whose sums differ in the
// last bits.
#pragma once

#include <memory>

#include "gpu/runtime.hpp"

typedef struct CUstream_st* cudaStream_t;

namespace troupe::gpu::cuda {

class cublas_lt {
public:
  /// For the current device. Errors: unavailable (no library of a known version), out_of_memory, internal.
  static expected<std::unique_ptr<cublas_lt>> open();
  ~cublas_lt();

  expected<void> multiply(cudaStream_t on, const matrix_product& what);

private:
  struct library;
  struct state;
  explicit cublas_lt(std::unique_ptr<state> state);
  std::unique_ptr<state> state_;
};

} // namespace troupe::gpu::cuda
