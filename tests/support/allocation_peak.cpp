#include "tests/support/allocation_peak.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

// Each block is preceded by its size; 16 bytes keep the alignment that operator new promises.
constexpr std::size_t prefix = 16;
static_assert(prefix >= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

std::atomic<std::size_t> held{0};
std::atomic<std::size_t> peak{0};

void* take(std::size_t size) {
  auto* block = static_cast<std::size_t*>(size <= SIZE_MAX - prefix ? std::malloc(size + prefix) : nullptr);
  if (block == nullptr)
    throw std::bad_alloc();
  *block = size;
  const auto now = held.fetch_add(size) + size;
  auto before = peak.load();
  while (before < now && !peak.compare_exchange_weak(before, now)) {
  }
  return reinterpret_cast<std::byte*>(block) + prefix;
}

void give(void* at) {
  if (at == nullptr)
    return;
  auto* block = reinterpret_cast<std::size_t*>(static_cast<std::byte*>(at) - prefix);
  held.fetch_sub(*block);
  std::free(block);
}

} // namespace

void* operator new(std::size_t size) { return take(size); }
void* operator new[](std::size_t size) { return take(size); }
void operator delete(void* at) noexcept { give(at); }
void operator delete[](void* at) noexcept { give(at); }
void operator delete(void* at, std::size_t) noexcept { give(at); }
void operator delete[](void* at, std::size_t) noexcept { give(at); }

namespace troupe::test {

allocation_peak::allocation_peak() : held_before_(held.load()) {
  peak.store(held_before_);
}

std::size_t allocation_peak::bytes() const {
  return peak.load() - held_before_;
}

} // namespace troupe::test
