// The portable layer on a device; gpu/portable/portable.hpp says what each name is.
#pragma once

#include "gpu/portable/numbers.hpp"

#define TROUPE_GPU __device__ __forceinline__
#define TROUPE_UNROLL _Pragma("unroll")

namespace troupe::gpu {
inline namespace on_device {

/// Only the shim asks where a function is called.
struct call_site {
  TROUPE_GPU static call_site current() { return {}; }
};

template <class T>
struct global {
  T* at;

  TROUPE_GPU bool exists() const { return at != nullptr; }

  TROUPE_GPU T load(std::size_t i) const { return at[i]; }
  TROUPE_GPU void store(std::size_t i, T value) const { at[i] = value; }
  template <class V>
  TROUPE_GPU V load_as(std::size_t i) const {
    return *reinterpret_cast<const V*>(at + i);
  }
  template <class V>
  TROUPE_GPU void store_as(std::size_t i, V value) const {
    *reinterpret_cast<V*>(at + i) = value;
  }
  TROUPE_GPU global operator+(std::size_t n) const { return {at + n}; }
};

template <class T>
struct shared {
  T* at;

  TROUPE_GPU T load(std::size_t i) const { return at[i]; }
  TROUPE_GPU void store(std::size_t i, T value) const { at[i] = value; }
  template <class V>
  TROUPE_GPU V load_as(std::size_t i) const {
    return *reinterpret_cast<const V*>(at + i);
  }
  template <class V>
  TROUPE_GPU void store_as(std::size_t i, V value) const {
    *reinterpret_cast<V*>(at + i) = value;
  }
  TROUPE_GPU shared operator+(std::size_t n) const { return {at + n}; }
};

class shared_memory {
public:
  template <class T>
  TROUPE_GPU shared<T> array(std::size_t count) {
    extern __shared__ __align__(16) unsigned char troupe_shared_memory[];
    auto* here = reinterpret_cast<T*>(troupe_shared_memory + used_);
    used_ += (count * sizeof(T) + 15) / 16 * 16;
    return {here};
  }

private:
  std::size_t used_ = 0;
};

inline constexpr unsigned all_lanes = 0xffffffffu;

TROUPE_GPU unsigned thread_index() {
  return threadIdx.x;
}
TROUPE_GPU unsigned thread_count() {
  return blockDim.x;
}
TROUPE_GPU unsigned lane() {
  return threadIdx.x % 32;
}
TROUPE_GPU unsigned warp() {
  return threadIdx.x / 32;
}
TROUPE_GPU index3 block_index() {
  return {blockIdx.x, blockIdx.y, blockIdx.z};
}
TROUPE_GPU extent3 block_count() {
  return {gridDim.x, gridDim.y, gridDim.z};
}

TROUPE_GPU void sync_block(call_site = call_site::current()) {
  __syncthreads();
}
TROUPE_GPU void sync_warp(call_site = call_site::current()) {
  __syncwarp();
}
TROUPE_GPU void fence_device() {
  __threadfence();
}

template <class T>
TROUPE_GPU T shuffle(T value, unsigned from, call_site = call_site::current()) {
  return __shfl_sync(all_lanes, value, static_cast<int>(from));
}
template <class T>
TROUPE_GPU T shuffle_xor(T value, unsigned mask, call_site = call_site::current()) {
  return __shfl_xor_sync(all_lanes, value, static_cast<int>(mask));
}
template <class T>
TROUPE_GPU T shuffle_down(T value, unsigned by, call_site = call_site::current()) {
  return __shfl_down_sync(all_lanes, value, by);
}
TROUPE_GPU unsigned ballot(bool value, call_site = call_site::current()) {
  return __ballot_sync(all_lanes, value);
}
TROUPE_GPU bool any(bool value, call_site = call_site::current()) {
  return __any_sync(all_lanes, value);
}
TROUPE_GPU bool all(bool value, call_site = call_site::current()) {
  return __all_sync(all_lanes, value);
}

template <class T>
TROUPE_GPU T atomic_add(global<T> p, std::size_t i, T value) {
  return atomicAdd(p.at + i, value);
}
template <class T>
TROUPE_GPU T atomic_add(shared<T> p, std::size_t i, T value) {
  return atomicAdd(p.at + i, value);
}
template <class T>
TROUPE_GPU T atomic_max(global<T> p, std::size_t i, T value) {
  return atomicMax(p.at + i, value);
}
template <class T>
TROUPE_GPU T atomic_max(shared<T> p, std::size_t i, T value) {
  return atomicMax(p.at + i, value);
}

template <class T>
TROUPE_GPU unsigned shared_address(shared<T> p, std::size_t i) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p.at + i));
}

template <class T>
TROUPE_GPU void copy_async(shared<T> to, std::size_t i, global<const T> from, std::size_t j) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to, i)), "l"(from.at + j) : "memory");
}
TROUPE_GPU void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <unsigned N>
TROUPE_GPU void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

TROUPE_GPU words4 load_matrix(shared<bf16> p, std::size_t i, call_site = call_site::current()) {
  words4 out;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out.at[0]), "=r"(out.at[1]), "=r"(out.at[2]), "=r"(out.at[3])
               : "r"(shared_address(p, i))
               : "memory");
  return out;
}
TROUPE_GPU words4 load_matrix_transposed(shared<bf16> p, std::size_t i, call_site = call_site::current()) {
  words4 out;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out.at[0]), "=r"(out.at[1]), "=r"(out.at[2]), "=r"(out.at[3])
               : "r"(shared_address(p, i))
               : "memory");
  return out;
}

TROUPE_GPU void multiply_add(fragment_sums& d, const fragment_a& a, const fragment_b& b,
                             call_site = call_site::current()) {
  asm volatile(
    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d.at[0]), "+f"(d.at[1]), "+f"(d.at[2]), "+f"(d.at[3])
    : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b.at[0]), "r"(b.at[1]));
}

TROUPE_GPU float reciprocal_root(float x) {
  return rsqrtf(x);
}
TROUPE_GPU float exponential(float x) {
  return __expf(x);
}

} // namespace on_device
} // namespace troupe::gpu
