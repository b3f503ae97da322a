// What a kernel may use: one layer, compiled by nvcc for devices (portable/device.hpp) and by the host's compiler for the shim
// (portable/shim.hpp), which runs a block's threads as fibers and checks each access.
//
// TROUPE_GPU stands before a kernel's functions, TROUPE_UNROLL before a loop over arrays that must stay in registers. Both have, in
// namespace troupe::gpu:
//
//   global<T>, shared<T>   pointers to the device's memory and to the block's. An element is read and written by
//                          `load(i)` and `store(i, value)`; `load_as<V>(i)` and `store_as(i, V)` move 2 to 16 bytes at once, at
//                          element i, aligned to the size of V. `p + n` is the pointer n elements on; a `global` that is null does not `exist()`.
//   shared_memory          hands out a block's shared memory, in the same order in each thread: `array<T>(count)`.
//   thread_index(), thread_count(), lane(), warp(), block_index(), block_count()
//   sync_block(), sync_warp()
//   fence_device()         what the thread has done, and what came before it by barriers, is there for the device before what it does
//                          next: a thread that writes, fences and then adds to a number by an atomic, and one that adds later, fences
//                          and then reads, share what was written. Nothing else orders blocks of a launch.
//   shuffle(v, from), shuffle_xor(v, mask), shuffle_down(v, by), any(p), all(p), ballot(p)
//   atomic_add(p, i, v), atomic_max(p, i, v)
//   copy_async(to, i, from, j), commit_copies(), wait_copies<N>()   16 bytes each; N: groups that may still be under way
//   load_matrix(p, i), load_matrix_transposed(p, i)                  `ldmatrix.x4`: each lane gives the address of one row of 8
//   multiply_add(accumulators, a, b)                                 `mma.m16n8k16`, bf16, fp32 sums
//
// Threads meet where they call the same function at the same place of the source: two places are two meetings, whatever they do. A function
// that does something together for its caller takes a last argument `call_site here = call_site::current()` and hands it on.
//
// Everything with a warp in it needs all 32 lanes, which is stricter than CUDA: blocks have whole warps, and no lane leaves early
// where others still meet. Fragments have the lane layouts of the PTX ISA, section "Matrix Fragments for mma.m16n8k16".
#pragma once

#if defined(__CUDACC__)
#include "gpu/portable/device.hpp"
#else
#include "gpu/portable/shim.hpp"
#endif
