#include "model/sampling/kernels.hpp"

namespace troupe::sampling {

vectors best_vectors() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return vectors::avx512;
  if (__builtin_cpu_supports("avx2"))
    return vectors::avx2;
#endif
  return vectors::portable;
}

const kernel_table& kernels_for(vectors which) {
#if defined(__x86_64__)
  if (which == vectors::avx512)
    return avx512_kernels;
  if (which == vectors::avx2)
    return avx2_kernels;
#endif
  static_cast<void>(which);
  return portable_kernels;
}

} // namespace troupe::sampling
