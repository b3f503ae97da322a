// What the shim finds wrong: a bug of a kernel, or of the host code around it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace troupe::gpu::shim {

enum class violation_kind {
  race,          ///< Two threads use a byte of memory, one writes, and nothing orders them.
  out_of_bounds, ///< Outside of what was allocated.
  use_after_free,
  uninitialised_read, ///< Nobody has written there.
  misaligned,         ///< An access of so many bytes at an address that is no multiple of them.
  divergence,         ///< A barrier, or what a warp does together, that not all threads come to.
  host_memory,        ///< An address of the host's that the device cannot reach.
  host_change,        ///< Pinned memory that the host has changed under a copy that was queued.
  overlap,            ///< A copy to where it comes from.
  hangs,              ///< A thread that waits, in a loop, for what only others can do.
  unfinished_copy,    ///< An asynchronous copy that nobody has waited for.
  bad_launch,         ///< What no device would take.
  mismatch,           ///< Ranks that call different things where they meet.
};

constexpr std::string_view to_string(violation_kind kind) {
  switch (kind) {
  case violation_kind::race:
    return "race";
  case violation_kind::out_of_bounds:
    return "out of bounds";
  case violation_kind::use_after_free:
    return "use after free";
  case violation_kind::uninitialised_read:
    return "uninitialised read";
  case violation_kind::misaligned:
    return "misaligned";
  case violation_kind::divergence:
    return "divergence";
  case violation_kind::host_memory:
    return "host memory";
  case violation_kind::host_change:
    return "host change";
  case violation_kind::overlap:
    return "overlap";
  case violation_kind::hangs:
    return "hangs";
  case violation_kind::unfinished_copy:
    return "unfinished copy";
  case violation_kind::bad_launch:
    return "bad launch";
  case violation_kind::mismatch:
    return "mismatch";
  }
  return "unknown";
}

/// Thrown where it happens; the shim's runtime makes a sticky error of it, as a device does.
class violation : public std::runtime_error {
public:
  violation(violation_kind kind, const std::string& what)
      : std::runtime_error(std::string(to_string(kind)) + ": " + what), kind_(kind) {}
  /// The same, with the place in front.
  violation(const violation& what, const std::string& place)
      : std::runtime_error(place + ": " + what.what()), kind_(what.kind_) {}
  violation_kind kind() const { return kind_; }

private:
  violation_kind kind_;
};

} // namespace troupe::gpu::shim
