#include "cpu/kernels.hpp"

namespace troupe::cpu {

const kernel_table& kernels_for(instruction_set which) {
#if defined(__x86_64__)
  if (which == instruction_set::avx512vnni)
    return avx512vnni_kernels;
  if (which == instruction_set::avxvnni)
    return avxvnni_kernels;
  if (which == instruction_set::avx2)
    return avx2_kernels;
#endif
  static_cast<void>(which);
  return portable_kernels;
}

} // namespace troupe::cpu
