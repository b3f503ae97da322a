#include "tools/troupe/bench/page_cache.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace troupe::cli {

namespace {

/// A file that is open while this lives.
struct open_file {
  explicit open_file(const std::filesystem::path& path) : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~open_file() {
    if (descriptor >= 0)
      close(descriptor);
  }
  int descriptor;
};

tl::unexpected<error> failed(const std::filesystem::path& path) {
  return fail(errc::io, "Cannot look at " + path.string() + " in the page cache: " + std::strerror(errno) + ".");
}

} // namespace

expected<double> cached_share(const std::filesystem::path& path) {
  const open_file file(path);
  struct stat about {};
  if (file.descriptor < 0 || fstat(file.descriptor, &about) != 0)
    return failed(path);
  const auto bytes = static_cast<std::size_t>(about.st_size), page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (bytes == 0)
    return 0;
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.descriptor, 0);
  if (mapped == MAP_FAILED)
    return failed(path);
  std::vector<unsigned char> pages((bytes + page - 1) / page);
  const int result = mincore(mapped, bytes, pages.data());
  munmap(mapped, bytes);
  if (result != 0)
    return failed(path);
  const auto there = std::ranges::count_if(pages, [](unsigned char each) { return (each & 1) != 0; });
  return static_cast<double>(there) / static_cast<double>(pages.size());
}

expected<void> forget_cached(const std::filesystem::path& path) {
  const open_file file(path);
  if (file.descriptor < 0)
    return failed(path);
  errno = posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED);
  return errno == 0 ? expected<void>{} : failed(path);
}

} // namespace troupe::cli
