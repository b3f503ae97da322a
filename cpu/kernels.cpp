#include "cpu/kernels.hpp"

#include "cpu/bf16_kernels.hpp"

namespace troupe::cpu {

const kernel_table& kernels_for(instruction_set which) {
#if defined(__x86_64__)
  if (which >= instruction_set::avx512vnni) // AMX's bytes gain nothing where a scale follows each 32 columns.
    return avx512vnni_kernels;
  if (which == instruction_set::avxvnni)
    return avxvnni_kernels;
  if (which == instruction_set::avx2)
    return avx2_kernels;
#endif
  static_cast<void>(which);
  return portable_kernels;
}

const bf16_kernels& bf16_kernels_for(instruction_set which) {
#if defined(__x86_64__)
  if (which == instruction_set::amx)
    return bf16_amx_kernels;
  if (which == instruction_set::avx512vnni)
    return bf16_avx512_kernels;
  if (which >= instruction_set::avx2)
    return bf16_avx2_kernels;
#endif
  static_cast<void>(which);
  return bf16_portable_kernels;
}

} // namespace troupe::cpu
