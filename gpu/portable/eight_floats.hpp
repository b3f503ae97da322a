// Eight numbers in registers: what 16 bytes of brain floats hold.
#pragma once

#include "gpu/portable/portable.hpp"

namespace troupe::gpu {

struct eight_floats {
  float at[8];
};

TROUPE_GPU_BOTH eight_floats unpack(words4 words) {
  eight_floats out;
  TROUPE_UNROLL
  for (unsigned i = 0; i < 4; ++i) {
    out.at[2 * i] = bits_as<float>(words.at[i] << 16);
    out.at[2 * i + 1] = bits_as<float>(words.at[i] & 0xffff0000u);
  }
  return out;
}

TROUPE_GPU_BOTH words4 pack(const eight_floats& numbers) {
  words4 out;
  TROUPE_UNROLL
  for (unsigned i = 0; i < 4; ++i)
    out.at[i] = pack(to_bf16(numbers.at[2 * i]), to_bf16(numbers.at[2 * i + 1]));
  return out;
}

} // namespace troupe::gpu
