// What a worker's process is given when it starts: where to present itself, and what to be.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "actors/worker.hpp"

namespace troupe {

struct worker_job {
  int parent = 0;         ///< Process id; it ends with this one.
  std::string door;       ///< Name of the socket where to present itself,
  std::uint16_t port = 0; ///< the number of the door behind it,
  std::string token;      ///< and what to say there.
  worker_seat seat;
  std::uint32_t vocabulary = 0, width = 0;
  std::uint64_t kv_groups = 1;
  bool reports = true; ///< Results of steps are wanted from it,
  bool times = false;  ///< and when it has computed each.
  std::string device;  ///< What makes its backend; the meaning is between those who give and take it.
};

/// The wire's version: processes that differ in it do not work together.
inline constexpr const char* worker_version = "troupe-worker-3";

std::vector<std::byte> encode(const worker_job& job);

/// Errors: malformed.
expected<worker_job> decode_job(std::span<const std::byte> bytes);

} // namespace troupe
