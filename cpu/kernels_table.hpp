// The kernels as a table; included last by each instruction set's translation unit.
#include "cpu/kernels_matmul.hpp"

#include "cpu/kernels_attention.hpp"

namespace {

constexpr troupe::cpu::kernel_table table{.matmul_one_byte = matmul_quantised<1>,
                                          .matmul_two_bytes = matmul_quantised<2>,
                                          .matmul_float = matmul_float,
                                          .quantise_one_byte = quantise<1>,
                                          .quantise_two_bytes = quantise<2>,
                                          .rms_norm = rms_norm,
                                          .swiglu = swiglu,
                                          .add = add,
                                          .rope = rope,
                                          .store_kv = store_kv,
                                          .attention = attention,
                                          .attention_segment = attention_segment,
                                          .join_segments = join_segments,
                                          .multiply_bytes = multiply_bytes,
                                          .multiply_floats = multiply_floats,
                                          .read = read};

} // namespace
