// When each of the last 64 steps of bench/mock_server was computed, in a file that it and its client have mapped. A step's
// tokens all have one letter, so a client that gets a token knows how old it is.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace troupe::bench {

inline constexpr std::string_view step_letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";

/// Nanoseconds of the steady clock, which all processes of a machine share; by the letter's index.
using step_clock = std::array<std::atomic<std::int64_t>, step_letters.size()>;

inline std::int64_t steady_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
    .count();
}

/// Null where the file cannot be made or mapped.
inline std::shared_ptr<step_clock> map_step_clock(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return nullptr;
  void* at = ::ftruncate(fd, sizeof(step_clock)) == 0
               ? ::mmap(nullptr, sizeof(step_clock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
               : MAP_FAILED;
  ::close(fd);
  if (at == MAP_FAILED)
    return nullptr;
  return {static_cast<step_clock*>(at), [](step_clock* mapped) { ::munmap(mapped, sizeof(step_clock)); }};
}

} // namespace troupe::bench
