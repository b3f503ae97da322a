#include "gpu/shim/device_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

namespace {

constexpr std::size_t round_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

/// Address space without memory behind it, until it is written.
void* reserve(std::size_t bytes, int protection) {
  void* at = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw std::bad_alloc();
  return at;
}

void add(traffic& to, const traffic& more) {
  to.read += more.read;
  to.written += more.written;
  to.read_by_block += more.read_by_block;
  to.written_by_block += more.written_by_block;
  to.bytes_loaded += more.bytes_loaded;
  to.bytes_stored += more.bytes_stored;
}

/// The first of these states that does not allow the use; `bytes` where all do.
std::size_t first_refused(const std::uint8_t* states, std::size_t bytes, std::uint8_t mask, std::uint8_t wanted) {
  constexpr std::uint64_t each_byte = 0x0101010101010101u;
  std::size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, states + i, 8);
    if ((eight & each_byte * mask) != each_byte * wanted)
      break;
  }
  for (; i < bytes && (states[i] & mask) == wanted; ++i)
    ;
  return i;
}

} // namespace

device_memory::device_memory(std::size_t capacity, std::function<std::size_t()> others)
    : capacity_(capacity), others_(std::move(others)) {
  base_ = reinterpret_cast<std::uint64_t>(reserve(reserved_bytes, PROT_NONE));
  storage_ = static_cast<std::byte*>(reserve(reserved_bytes, PROT_READ | PROT_WRITE));
  shadow_ = static_cast<std::uint8_t*>(reserve(reserved_bytes, PROT_READ | PROT_WRITE));
  sectors_ = static_cast<sector*>(reserve(reserved_bytes / sector_bytes * sizeof(sector), PROT_READ | PROT_WRITE));
}

device_memory::~device_memory() {
  ::munmap(reinterpret_cast<void*>(base_), reserved_bytes);
  ::munmap(storage_, reserved_bytes);
  ::munmap(shadow_, reserved_bytes);
  ::munmap(sectors_, reserved_bytes / sector_bytes * sizeof(sector));
  for (const auto& [at, bytes] : pinned_)
    std::free(reinterpret_cast<void*>(at));
}

expected<address> device_memory::allocate(std::size_t bytes) {
  if (bytes == 0)
    return fail(errc::invalid_argument, "An allocation of no bytes.");
  const auto taken = round_up(bytes + std::max(bytes, least_gap), alignment);
  if (bytes > left() || taken > reserved_bytes - next_)
    return fail(errc::out_of_memory,
                fmt::format("The device has {} of {} bytes left, and {} are wanted.", left(), capacity_, bytes));
  const auto at = base_ + next_;
  std::memset(shadow_ + next_, allocated, bytes);
  next_ += taken;
  used_ += bytes;
  allocations_[at] = bytes;
  return at;
}

std::size_t device_memory::left() const {
  return capacity_ - std::min(used_ + (others_ ? others_() : 0), capacity_);
}

expected<void> device_memory::take(std::size_t bytes) {
  if (bytes > left())
    return fail(errc::out_of_memory,
                fmt::format("The device has {} of {} bytes left, and {} are wanted.", left(), capacity_, bytes));
  used_ += bytes;
  return {};
}

expected<void> device_memory::free(address at) {
  const auto found = allocations_.find(at);
  if (found == allocations_.end())
    return fail(errc::invalid_argument, "Device memory is freed that is not allocated.");
  const auto offset = at - base_;
  std::memset(shadow_ + offset, freed, found->second);
  ::madvise(storage_ + round_up(offset, 4096),
            found->second / 4096 * 4096 > 8192 ? found->second / 4096 * 4096 - 8192 : 0, MADV_DONTNEED);
  used_ -= found->second;
  freed_.insert(*found);
  allocations_.erase(found);
  return {};
}

expected<address> device_memory::allocate_pinned(std::size_t bytes) {
  void* at = bytes > 0 ? std::aligned_alloc(alignment, round_up(bytes, alignment)) : nullptr;
  if (!at)
    return fail(errc::out_of_memory, fmt::format("{} bytes of pinned memory could not be had.", bytes));
  pinned_[reinterpret_cast<address>(at)] = {bytes};
  return reinterpret_cast<address>(at);
}

expected<void> device_memory::free_pinned(address at) {
  if (pinned_.erase(at) == 0)
    return fail(errc::invalid_argument, "Pinned memory is freed that is not allocated.");
  std::free(reinterpret_cast<void*>(at));
  return {};
}

const device_memory::pinned_range* device_memory::find_pinned(address at, std::size_t bytes) const {
  auto after = pinned_.upper_bound(at);
  if (after == pinned_.begin())
    return nullptr;
  --after;
  const auto& range = after->second;
  return at - after->first <= range.bytes && bytes <= range.bytes - (at - after->first) ? &range : nullptr;
}

bool device_memory::is_pinned(address at, std::size_t bytes) const {
  return find_pinned(at, bytes) != nullptr;
}

bool device_memory::is_allocated(address at) const {
  return is_device(at) ? (shadow_[at - base_] & allocated) != 0 : is_pinned(at, 1);
}

pinned_snapshot device_memory::look_at_pinned(address from, std::size_t bytes) const {
  const auto* range = find_pinned(from, bytes);
  if (!range)
    return {};
  pinned_snapshot seen{bytes, range->device_writes};
  const auto* at = reinterpret_cast<const std::byte*>(from);
  for (std::size_t i = 0; i < bytes; i += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, at + i, std::min<std::size_t>(8, bytes - i));
    seen.checksum = ((seen.checksum << 29 | seen.checksum >> 35) ^ eight) * 0x9e3779b97f4a7c15u;
  }
  return seen;
}

void device_memory::expect_unchanged(address from, std::size_t bytes, const pinned_snapshot& then) const {
  const auto now = look_at_pinned(from, bytes);
  if (now.device_writes == then.device_writes && now.checksum != then.checksum)
    throw violation(violation_kind::host_change,
                    fmt::format("{} bytes of pinned memory are copied that the host has changed since the copy was "
                                "queued",
                                bytes));
}

void device_memory::fail_at(address at, std::size_t bytes, bool reads, std::uint8_t state) const {
  const char* verb = reads ? "read" : "written";
  if (!is_device(at))
    throw violation(
      violation_kind::host_memory,
      fmt::format("{} bytes at {:#x} are {}, which is neither device memory nor pinned", bytes, at, verb));
  const auto kind = state == freed       ? violation_kind::use_after_free
                    : state == allocated ? violation_kind::uninitialised_read
                                         : violation_kind::out_of_bounds;
  throw violation(kind, fmt::format("{} bytes are {} at {}", bytes, verb, place_of(at)));
}

std::string device_memory::place_of(address at) const {
  const bool is_freed = shadow_[at - base_] == freed;
  const auto& known = is_freed ? freed_ : allocations_;
  auto near = known.upper_bound(at);
  if (near == known.begin())
    return "before everything that is allocated";
  --near;
  return fmt::format("byte {} of {} that were {}allocated", at - near->first, near->second,
                     is_freed ? "freed after they had been " : "");
}

std::byte* device_memory::check(address at, std::size_t bytes, bool reads) {
  if (!is_device(at)) {
    if (auto* range = const_cast<pinned_range*>(find_pinned(at, bytes))) {
      range->device_writes += !reads;
      return reinterpret_cast<std::byte*>(at);
    }
    fail_at(at, bytes, reads, never);
  }
  const auto offset = at - base_;
  const auto refused = reads ? first_refused(shadow_ + offset, bytes, 0xff, written)
                             : first_refused(shadow_ + offset, bytes, allocated, allocated);
  if (refused < bytes)
    fail_at(at + refused, bytes, reads, shadow_[offset + refused]);
  return storage_ + offset;
}

void device_memory::count(std::size_t first, std::size_t bytes, bool reads) {
  traffic more;
  (reads ? more.bytes_loaded : more.bytes_stored) = bytes;
  for (auto i = first / sector_bytes; i <= (first + bytes - 1) / sector_bytes; ++i) {
    auto& seen = sectors_[i];
    if (reads) {
      more.read += std::exchange(seen.launch_read, launch_) != launch_;
      more.read_by_block += std::exchange(seen.block_read, block_) != block_;
    } else {
      more.written += std::exchange(seen.launch_written, launch_) != launch_;
      more.written_by_block += std::exchange(seen.block_written, block_) != block_;
    }
  }
  add(traffic_, more);
  for (auto& each : apart_)
    if (each.first <= first && first < each.end)
      add(each.moved, more);
}

const std::byte* device_memory::read(address at, std::size_t bytes) {
  if (at % bytes != 0)
    throw violation(violation_kind::misaligned, fmt::format("{} bytes are read at {:#x}", bytes, at));
  const auto* found = check(at, bytes, true);
  if (is_device(at))
    count(at - base_, bytes, true);
  return found;
}

std::byte* device_memory::write(address at, std::size_t bytes) {
  if (at % bytes != 0)
    throw violation(violation_kind::misaligned, fmt::format("{} bytes are written at {:#x}", bytes, at));
  auto* found = check(at, bytes, false);
  if (is_device(at)) {
    std::memset(shadow_ + (at - base_), written, bytes);
    count(at - base_, bytes, false);
  }
  return found;
}

const std::byte* device_memory::read_range(address at, std::size_t bytes) {
  return check(at, bytes, true);
}

std::byte* device_memory::write_range(address at, std::size_t bytes) {
  auto* found = check(at, bytes, false);
  if (is_device(at))
    std::memset(shadow_ + (at - base_), written, bytes);
  return found;
}

void device_memory::copy_range(address to, address from, std::size_t bytes) {
  // Parts that nobody has written may be copied, and are as unknown where they come to.
  const auto state_of = [&](address at) { return is_device(at) ? shadow_ + (at - base_) : nullptr; };
  const auto* of_source = state_of(from);
  std::byte* source = const_cast<std::byte*>(reinterpret_cast<const std::byte*>(from));
  if (of_source) {
    if (const auto refused = first_refused(of_source, bytes, allocated, allocated); refused < bytes)
      fail_at(from + refused, bytes, true, of_source[refused]);
    source = storage_ + (from - base_);
  } else if (!is_pinned(from, bytes)) {
    fail_at(from, bytes, true, never);
  }
  auto* target = check(to, bytes, false);
  std::memcpy(target, source, bytes);
  if (auto* of_target = state_of(to)) {
    if (of_source)
      std::memcpy(of_target, of_source, bytes);
    else
      std::memset(of_target, written, bytes);
  }
}

void device_memory::begin_launch() {
  ++launch_;
  traffic_ = {};
  for (auto& each : apart_)
    each.moved = {};
}

void device_memory::count_apart(address at, std::size_t bytes) {
  apart_.push_back({at - base_, at - base_ + bytes, {}});
}

traffic device_memory::counted_at(address at) const {
  const auto found =
    std::find_if(apart_.begin(), apart_.end(), [&](const auto& each) { return each.first == at - base_; });
  return found == apart_.end() ? traffic{} : found->moved;
}

} // namespace troupe::gpu::shim
