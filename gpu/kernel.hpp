// Kernels as values: what the host needs to know to launch one, the same for devices and for the shim.
//
// A kernel is a struct:
//
//   struct scale {
//     static constexpr const char* name = "scale";
//     static constexpr unsigned max_threads = 256;                       // of a block
//     struct arguments { global<const float> x; global<float> y; float by; std::uint32_t count; };
//     static TROUPE_GPU void run(const arguments& a, shared_memory memory);
//   };
//
// Its arguments are bytes that both compilers lay out alike; gpu/kernels/list.hpp lists all kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu/portable/numbers.hpp"

namespace troupe::gpu {

template <class... Kernels>
struct kernel_list {};

/// A kernel's number in its list.
using kernel_id = std::uint32_t;

template <class Kernel, class List>
struct kernel_index;
template <class Kernel, class... Rest>
struct kernel_index<Kernel, kernel_list<Kernel, Rest...>> {
  static constexpr kernel_id value = 0;
};
template <class Kernel, class First, class... Rest>
struct kernel_index<Kernel, kernel_list<First, Rest...>> {
  static constexpr kernel_id value = 1 + kernel_index<Kernel, kernel_list<Rest...>>::value;
};

template <class... Lists>
struct joined_lists;
template <class... Kernels>
struct joined_lists<kernel_list<Kernels...>> {
  using type = kernel_list<Kernels...>;
};
template <class... First, class... Second, class... Rest>
struct joined_lists<kernel_list<First...>, kernel_list<Second...>, Rest...> {
  using type = typename joined_lists<kernel_list<First..., Second...>, Rest...>::type;
};
/// All kernels of some lists, in order.
template <class... Lists>
using joined = typename joined_lists<Lists...>::type;

/// "decode_attention<64,3>": the name of one of several kernels that a template makes.
template <std::size_t N>
struct numbered_name {
  char text[N + 24] = {};

  template <class... Numbers>
  constexpr explicit numbered_name(const char (&name)[N], Numbers... numbers) {
    std::size_t at = 0;
    for (; name[at] != '\0'; ++at)
      text[at] = name[at];
    const unsigned all[] = {numbers...};
    for (std::size_t i = 0; i < sizeof...(Numbers); ++i) {
      text[at++] = i == 0 ? '<' : ',';
      unsigned place = 1;
      while (all[i] / place >= 10)
        place *= 10;
      for (; place > 0; place /= 10)
        text[at++] = static_cast<char>('0' + all[i] / place % 10);
    }
    text[at] = '>';
  }
};

/// One kernel as a build has it.
struct kernel_entry {
  const char* name = nullptr;
  std::size_t argument_bytes = 0;
  std::size_t argument_alignment = 0;
  unsigned max_threads = 0;
  const void* function = nullptr; ///< Of a device: its `__global__` function. Of the shim: a `shim_function`.
};

using kernel_table = std::vector<kernel_entry>;

/// How a grid is to run.
struct grid_shape {
  extent3 blocks;
  unsigned threads = 32;        ///< Of a block; whole warps.
  std::size_t shared_bytes = 0; ///< Of a block.
};

inline constexpr unsigned warp_size = 32;
inline constexpr unsigned most_threads = 1024;              ///< Of a block.
inline constexpr std::size_t most_shared_bytes = 163 << 10; ///< Of a block, on sm_80; later ones have more.

} // namespace troupe::gpu
