#include "cpu/page_memory.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

namespace troupe::cpu {

namespace {

constexpr std::size_t large_page = 2u << 20;

} // namespace

page_memory::~page_memory() {
  if (mapping_)
    munmap(mapping_, mapped_);
}

expected<page_memory> page_memory::allocate(std::size_t count, std::size_t bytes_each, const char* what,
                                            bool large_pages) {
  page_memory out;
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, bytes_each, &bytes) || bytes > SIZE_MAX / 2)
    return fail(errc::out_of_memory,
                fmt::format("There is no memory for {}: it would be over all that can be addressed.", what));
  if (bytes == 0)
    return out;
  // A mapping begins anywhere; large pages begin at multiples of their size.
  const bool large = large_pages && bytes >= large_page;
  const std::size_t mapped = bytes + (large ? large_page : 0);
  void* data = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return fail(errc::out_of_memory, fmt::format("There is no memory for {} ({} MiB).", what, bytes >> 20));
  out.mapping_ = static_cast<std::uint8_t*>(data);
  out.data_ = out.mapping_;
  out.size_ = bytes;
  out.mapped_ = mapped;
  if (large) {
    out.data_ += (large_page - reinterpret_cast<std::uintptr_t>(data) % large_page) % large_page;
    madvise(out.data_, bytes, MADV_HUGEPAGE); // A wish: without it there is only less speed.
  }
  return out;
}

} // namespace troupe::cpu
