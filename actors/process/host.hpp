// A worker's process: what its main function runs.
#pragma once

#include <functional>
#include <string>

#include "actors/worker.hpp"

namespace troupe {

/// Makes the backend of this process. device: `worker_processes::device`.
using device_factory = std::function<expected<std::unique_ptr<backend>>(
  const std::string& device, const worker_seat& seat, std::shared_ptr<communicator> group)>;

/// Reads its job from descriptor 3, connects to the engine that has started it, and computes until that one is gone or
/// its worker has died. Returns the exit status; why it failed is on stderr, and in the engine's restart.
int run_worker_process(const device_factory& make);

} // namespace troupe
