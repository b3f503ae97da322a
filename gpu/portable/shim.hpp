// The portable layer on the host; gpu/portable/portable.hpp says what each name is. Each access is checked by the block that runs
// (gpu/shim/block_run.hpp).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <source_location>
#include <type_traits>

#include "gpu/portable/numbers.hpp"
#include "gpu/shim/block_run.hpp"

#define TROUPE_GPU inline
#define TROUPE_UNROLL

namespace troupe::gpu {
inline namespace on_host {

/// Where a function is called: what threads do together has to be done at the same place.
using call_site = std::source_location;

template <class T>
struct global {
  address at = 0; ///< As the device has it: 8 bytes.

  operator global<const T>() const { return {at}; }
  bool exists() const { return at != 0; }

  T load(std::size_t i) const { return load_as<std::remove_const_t<T>>(i); }
  void store(std::size_t i, T value) const { store_as(i, value); }
  template <class V>
  V load_as(std::size_t i) const {
    V value;
    std::memcpy(&value, shim::block_run::current().read_global(at + i * sizeof(T), sizeof(V)), sizeof(V));
    return value;
  }
  template <class V>
  void store_as(std::size_t i, V value) const {
    static_assert(!std::is_const_v<T>);
    std::memcpy(shim::block_run::current().write_global(at + i * sizeof(T), sizeof(V)), &value, sizeof(V));
  }
  global operator+(std::size_t n) const { return {at + n * sizeof(T)}; }
};

template <class T>
struct shared {
  std::size_t at = 0;             ///< Its offset in the block's memory.
  std::size_t first = 0, end = 0; ///< Of the array that it points into.

  T load(std::size_t i) const { return load_as<T>(i); }
  void store(std::size_t i, T value) const { store_as(i, value); }
  template <class V>
  V load_as(std::size_t i) const {
    V value;
    std::memcpy(&value, shim::block_run::current().read_shared(inside(i, sizeof(V)), sizeof(V)), sizeof(V));
    return value;
  }
  template <class V>
  void store_as(std::size_t i, V value) const {
    std::memcpy(shim::block_run::current().write_shared(inside(i, sizeof(V)), sizeof(V)), &value, sizeof(V));
  }
  shared operator+(std::size_t n) const { return {at + n * sizeof(T), first, end}; }

  /// The offset of an element; throws where the bytes are another array's.
  std::size_t inside(std::size_t i, std::size_t bytes) const {
    const auto offset = at + i * sizeof(T);
    if (offset < first || offset + bytes > end)
      throw shim::violation(
        shim::violation_kind::out_of_bounds,
        "element " +
          std::to_string((static_cast<std::ptrdiff_t>(offset) - static_cast<std::ptrdiff_t>(first)) /
                         static_cast<std::ptrdiff_t>(sizeof(T))) +
          " of " + std::to_string((end - first) / sizeof(T)) + " of an array in shared memory");
    return offset;
  }
};

class shared_memory {
public:
  template <class T>
  shared<T> array(std::size_t count) {
    const auto begin = used_;
    used_ += (count * sizeof(T) + 15) / 16 * 16;
    if (begin + count * sizeof(T) > shim::block_run::current().shared_bytes())
      throw shim::violation(shim::violation_kind::out_of_bounds,
                            "the block was launched with less shared memory than its arrays take");
    return {begin, begin, begin + count * sizeof(T)};
  }

private:
  std::size_t used_ = 0;
};

inline unsigned thread_index() {
  return shim::block_run::current().thread();
}
inline unsigned thread_count() {
  return shim::block_run::current().shape().threads;
}
inline unsigned lane() {
  return thread_index() % 32;
}
inline unsigned warp() {
  return thread_index() / 32;
}
inline index3 block_index() {
  return shim::block_run::current().block();
}
inline extent3 block_count() {
  return shim::block_run::current().shape().blocks;
}

inline void sync_block(call_site here = call_site::current()) {
  shim::block_run::current().sync_block(here);
}
inline void sync_warp(call_site here = call_site::current()) {
  shim::block_run::current().sync_warp(here);
}
inline void fence_device() {
  shim::block_run::current().fence_device();
}

/// What all lanes have brought.
template <class T>
std::array<T, 32> exchange(shim::meeting kind, T value, const call_site& here) {
  std::array<T, 32> all;
  shim::block_run::current().meet(kind, here, value, all);
  return all;
}
template <class T>
T shuffle(T value, unsigned from, call_site here = call_site::current()) {
  return exchange(shim::meeting::shuffle, value, here)[from % 32];
}
template <class T>
T shuffle_xor(T value, unsigned mask, call_site here = call_site::current()) {
  return exchange(shim::meeting::shuffle_xor, value, here)[(lane() ^ mask) % 32];
}
template <class T>
T shuffle_down(T value, unsigned by, call_site here = call_site::current()) {
  return exchange(shim::meeting::shuffle_down, value, here)[lane() + by < 32 ? lane() + by : lane()];
}
inline unsigned ballot(bool value, call_site here = call_site::current()) {
  const auto all = exchange(shim::meeting::vote, value, here);
  unsigned bits = 0;
  for (unsigned i = 0; i < 32; ++i)
    bits |= static_cast<unsigned>(all[i]) << i;
  return bits;
}
inline bool any(bool value, call_site here = call_site::current()) {
  return ballot(value, here) != 0;
}
inline bool all(bool value, call_site here = call_site::current()) {
  return ballot(value, here) == 0xffffffffu;
}

/// Threads of the host take no part in it: blocks and fibers run one after the other.
template <class T, class Combine>
T change(std::byte* at, Combine combine) {
  T before;
  std::memcpy(&before, at, sizeof before);
  const T after = combine(before);
  std::memcpy(at, &after, sizeof after);
  return before;
}
template <class T, class Combine>
T change(global<T> p, std::size_t i, Combine combine) {
  return change<T>(shim::block_run::current().write_global(p.at + i * sizeof(T), sizeof(T), true), combine);
}
template <class T, class Combine>
T change(shared<T> p, std::size_t i, Combine combine) {
  return change<T>(shim::block_run::current().write_shared(p.inside(i, sizeof(T)), sizeof(T), true), combine);
}

template <template <class> class Pointer, class T>
T atomic_add(Pointer<T> p, std::size_t i, T value) {
  return change(p, i, [&](T before) { return static_cast<T>(before + value); });
}
template <template <class> class Pointer, class T>
T atomic_max(Pointer<T> p, std::size_t i, T value) {
  return change(p, i, [&](T before) { return before < value ? value : before; });
}

template <class T>
void copy_async(shared<T> to, std::size_t i, global<const T> from, std::size_t j) {
  shim::block_run::current().copy_async(to.inside(i, 16), from.at + j * sizeof(T), 16);
}
inline void commit_copies() {
  shim::block_run::current().commit_copies();
}
template <unsigned N>
void wait_copies() {
  shim::block_run::current().wait_copies(N);
}

/// Four matrices of 8 x 8: lane 8 m + r gives the address of row r of matrix m; lane l gets of each the two elements of row l / 4 at
/// column 2 (l % 4) (transposed: of column l / 4, rows 2 (l % 4) and the next).
inline words4 load_matrix_as(shared<bf16> p, std::size_t i, bool transposed, const call_site& here) {
  struct row {
    std::uint32_t at[4];
  };
  static_assert(sizeof(row) == 16);
  std::array<row, 32> rows;
  shim::block_run::current().meet(shim::meeting::load_matrix, here, p.template load_as<row>(i), rows);
  const auto element = [&](unsigned matrix, unsigned r, unsigned c) {
    return bf16{static_cast<std::uint16_t>(rows[matrix * 8 + r].at[c / 2] >> (c % 2 * 16))};
  };
  words4 out;
  const auto group = lane() / 4, pair = lane() % 4 * 2;
  for (unsigned m = 0; m < 4; ++m)
    out.at[m] = transposed ? pack(element(m, pair, group), element(m, pair + 1, group))
                           : pack(element(m, group, pair), element(m, group, pair + 1));
  return out;
}
inline words4 load_matrix(shared<bf16> p, std::size_t i, call_site here = call_site::current()) {
  return load_matrix_as(p, i, false, here);
}
inline words4 load_matrix_transposed(shared<bf16> p, std::size_t i, call_site here = call_site::current()) {
  return load_matrix_as(p, i, true, here);
}

/// The sums are added in order of k, in fp32; a device's order is its own.
inline void multiply_add(fragment_sums& d, const fragment_a& a, const fragment_b& b,
                         call_site here = call_site::current()) {
  struct operands {
    fragment_a a;
    fragment_b b;
  };
  std::array<operands, 32> all;
  shim::block_run::current().meet(shim::meeting::multiply_add, here, operands{a, b}, all);
  const auto half = [](std::uint32_t word, unsigned upper) {
    return to_float(bf16{static_cast<std::uint16_t>(word >> (upper * 16))});
  };
  const auto group = lane() / 4, pair = lane() % 4 * 2;
  for (unsigned j = 0; j < 4; ++j) {
    const auto row = group + (j >= 2 ? 8 : 0), column = pair + j % 2;
    for (unsigned k = 0; k < 16; ++k) {
      const auto& from_a = all[row % 8 * 4 + k % 8 / 2].a;
      const auto& from_b = all[column * 4 + k % 8 / 2].b;
      d.at[j] += half(from_a.at[row / 8 + 2 * (k / 8)], k % 2) * half(from_b.at[k / 8], k % 2);
    }
  }
}

inline float reciprocal_root(float x) {
  return 1.0f / std::sqrt(x);
}
inline float exponential(float x) {
  return std::exp(x);
}

} // namespace on_host
} // namespace troupe::gpu
