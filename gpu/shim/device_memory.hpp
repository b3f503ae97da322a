// The memory of the shim's device, and pinned memory of the host, with a shadow that knows what was allocated and written.
//
// Addresses that the host gets are of a range that nobody can read or write, so that host code which follows one crashes;
// kernels and copies go through `read` and `write`, which check, count sectors and say where the bytes really are. Freed memory is never
// given out again.
//
// Threads: one at a time; the owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gpu/runtime.hpp"
#include "protocol/error.hpp"

namespace troupe::gpu::shim {

/// Unique sectors of 32 bytes, of device memory alone; and what threads asked for, each time that one did.
struct traffic {
  std::uint64_t read = 0, written = 0;                   ///< Once a launch.
  std::uint64_t read_by_block = 0, written_by_block = 0; ///< Once a block, and summed.
  std::uint64_t bytes_loaded = 0, bytes_stored = 0;      ///< By every access of every thread.
};

/// What pinned memory was like when a copy from it was queued.
struct pinned_snapshot {
  std::uint64_t checksum = 0;
  std::uint64_t device_writes = 0;
};

class device_memory {
public:
  static constexpr std::size_t sector_bytes = 32;
  static constexpr std::size_t alignment = 256;
  /// Of addresses; not of memory.
  static constexpr std::size_t reserved_bytes = std::size_t{1} << 40;

  /// capacity: bytes that can be allocated at a time. others: bytes of it that other processes have at the moment; empty: none.
  explicit device_memory(std::size_t capacity, std::function<std::size_t()> others = {});
  ~device_memory();
  device_memory(const device_memory&) = delete;

  /// Errors: out_of_memory.
  expected<address> allocate(std::size_t bytes);
  /// Errors: invalid_argument (not an address that `allocate` gave, or freed before).
  expected<void> free(address at);
  expected<address> allocate_pinned(std::size_t bytes);
  expected<void> free_pinned(address at);

  /// Memory without an address: what a library or a graph has. Errors: out_of_memory.
  expected<void> take(std::size_t bytes);
  void give_back(std::size_t bytes) { used_ -= bytes; }

  std::size_t left() const;
  std::size_t capacity() const { return capacity_; }
  bool is_device(address at) const { return at - base_ < reserved_bytes; }
  /// Whether these bytes are one pinned allocation's.
  bool is_pinned(address at, std::size_t bytes) const;
  /// Whether it is in what is allocated now, of either kind.
  bool is_allocated(address at) const;
  std::size_t offset_of(address at) const { return at - base_; }
  /// "byte 12 of 512 that were allocated"
  std::string place_of(address at) const;

  /// For a kernel: where the bytes are. Throws a violation; `bytes` is 1 to 16, a power of two.
  const std::byte* read(address at, std::size_t bytes);
  std::byte* write(address at, std::size_t bytes);

  /// For copies, of any size.
  const std::byte* read_range(address at, std::size_t bytes);
  std::byte* write_range(address at, std::size_t bytes);
  /// Copies the shadow, too: what was not written stays so.
  void copy_range(address to, address from, std::size_t bytes);

  pinned_snapshot look_at_pinned(address from, std::size_t bytes) const;
  /// Throws a violation where the host has changed it since; what the device has changed, itself, it may.
  void expect_unchanged(address from, std::size_t bytes, const pinned_snapshot& then) const;

  void begin_launch();
  void begin_block() { ++block_; }
  const traffic& counted() const { return traffic_; }
  /// From the next launch on, what is moved in these bytes is counted apart, too.
  void count_apart(address at, std::size_t bytes);
  /// Of the range that begins there.
  traffic counted_at(address at) const;

private:
  enum : std::uint8_t { never = 0, allocated = 1, written = 3, freed = 4 };
  struct sector {
    std::uint32_t launch_read, launch_written, block_read, block_written;
  };
  struct pinned_range {
    std::size_t bytes;
    std::uint64_t device_writes = 0;
  };
  struct counted_range {
    std::size_t first, end; ///< Offsets.
    traffic moved;
  };
  /// Behind each allocation, and as much again as it is large: a row or a block too far must not be the next one's.
  static constexpr std::size_t least_gap = 1 << 20;

  std::byte* check(address at, std::size_t bytes, bool reads);
  [[noreturn]] void fail_at(address at, std::size_t bytes, bool reads, std::uint8_t state) const;
  const pinned_range* find_pinned(address at, std::size_t bytes) const;
  void count(std::size_t first, std::size_t bytes, bool reads);

  std::size_t capacity_;
  std::function<std::size_t()> others_;
  std::size_t used_ = 0;
  std::size_t next_ = alignment; ///< Bytes into the range.
  std::uint64_t base_ = 0;       ///< Of the addresses.
  std::byte* storage_ = nullptr;
  std::uint8_t* shadow_ = nullptr;
  sector* sectors_ = nullptr;
  std::map<address, std::size_t> allocations_;
  std::map<address, pinned_range> pinned_;
  std::map<address, std::size_t> freed_;
  std::uint32_t launch_ = 1, block_ = 1;
  traffic traffic_;
  std::vector<counted_range> apart_;
};

} // namespace troupe::gpu::shim
