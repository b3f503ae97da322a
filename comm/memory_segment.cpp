#include "comm/memory_segment.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe {

expected<memory_segment> memory_segment::map(int descriptor, std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED) {
    const int reason = errno;
    close(descriptor);
    return fail(errc::out_of_memory, fmt::format("The system maps no {} bytes of memory for ranks to share: {}.",
                                                 bytes, std::strerror(reason)));
  }
  return memory_segment(descriptor, static_cast<std::byte*>(data), bytes);
}

expected<memory_segment> memory_segment::create(std::size_t bytes) {
  const int descriptor = memfd_create("troupe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0 || ftruncate(descriptor, static_cast<off_t>(bytes)) != 0 ||
      fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const int reason = errno;
    if (descriptor >= 0)
      close(descriptor);
    return fail(errc::io, fmt::format("The system gives no memory for ranks to share: {}.", std::strerror(reason)));
  }
  return map(descriptor, bytes);
}

expected<memory_segment> memory_segment::open(const std::string& address, std::size_t bytes) {
  const int descriptor = ::open(address.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0)
    return fail(errc::unavailable,
                fmt::format("The memory that ranks share is gone ({}: {}).", address, std::strerror(errno)));
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || static_cast<std::size_t>(status.st_size) != bytes) {
    close(descriptor);
    return fail(errc::malformed,
                fmt::format("The memory at {} has {} bytes, not {}.", address, status.st_size, bytes));
  }
  return map(descriptor, bytes);
}

memory_segment::memory_segment(memory_segment&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

memory_segment& memory_segment::operator=(memory_segment&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

memory_segment::~memory_segment() {
  if (data_)
    munmap(data_, bytes_);
  if (descriptor_ >= 0)
    close(descriptor_);
}

std::string memory_segment::address() const {
  return fmt::format("/proc/{}/fd/{}", getpid(), descriptor_);
}

} // namespace troupe
