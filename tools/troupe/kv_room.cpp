#include "tools/troupe/kv_room.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "tools/troupe/devices.hpp"

namespace troupe::cli {

namespace {

constexpr std::chrono::seconds patience{20}; ///< As a worker has it (gpu/backend/memory_needs.hpp).

struct seat_needs {
  worker_seat seat;
  gpu_memory_needs needs;
};

/// By the numbers of their devices.
expected<std::vector<seat_needs>> needs_of_seats(const engine_flags& flags, const worker_device& device,
                                                 const model& source) {
  std::vector<seat_needs> out;
  for (std::uint32_t engine = 0; engine < flags.data_parallel_size; ++engine)
    for (std::uint32_t stage = 0; stage < flags.pipeline_parallel_size; ++stage)
      for (std::uint32_t rank = 0; rank < flags.tensor_parallel_size; ++rank) {
        worker_seat seat;
        seat.engine = engine;
        seat.stage = stage;
        seat.stages = flags.pipeline_parallel_size;
        seat.rank = rank;
        const auto part = program_of_seat(device, *source.file, source.program, seat);
        if (!part)
          return tl::unexpected(part.error());
        const auto needs = gpu_needs_of(source.file, *part, options_of(device, nullptr));
        if (!needs)
          return tl::unexpected(needs.error());
        out.push_back({seat, *needs});
      }
  return out;
}

expected<std::vector<gpu_device>> devices_for(const worker_device& device, std::size_t wanted) {
  if (device.device == "cuda-shim") {
    const auto bytes = std::uint64_t{device.shim_memory_mib} << 20;
    return std::vector<gpu_device>(wanted, gpu_device{"the shim", bytes, bytes});
  }
  auto found = ask_for_devices(static_cast<unsigned>(wanted));
  if (found && found->size() < wanted)
    return fail(errc::unavailable,
                fmt::format("There are {} workers, each of which wants a CUDA device, and this process sees {}.",
                            wanted, found->size()));
  return found;
}

} // namespace

bool is_kv_measured(const engine_flags& flags) {
  return flags.kv_tokens == 0 && (flags.device == "cuda" || flags.memory_share);
}

expected<std::uint32_t> measured_kv_blocks(const engine_flags& flags, const worker_device& device,
                                           const model& source, const logger& log) {
  const auto share = flags.memory_share.value_or(usual_memory_share);
  const auto seats = needs_of_seats(flags, device, source);
  if (!seats)
    return tl::unexpected(seats.error());
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto devices = devices_for(device, seats->size());
    if (!devices)
      return tl::unexpected(devices.error());
    expected<std::uint32_t> least = ~std::uint32_t{0};
    for (std::size_t i = 0; i < seats->size() && least; ++i)
      if (auto blocks = kv_blocks_in((*devices)[i], share, (*seats)[i].needs))
        least = std::min(*least, *blocks);
      else
        least = tl::unexpected(blocks.error());
    if (least)
      for (std::size_t i = 0; i < seats->size(); ++i)
        say(log, log_level::info, "device_memory",
            fmt::format("device {}: {}.", i, account_of((*devices)[i], share, (*seats)[i].needs, *least)));
    const auto again = std::chrono::milliseconds(least ? 0 : least.error().retry_after_ms);
    if (again.count() == 0 || std::chrono::steady_clock::now() + again > end)
      return least;
    std::this_thread::sleep_for(again);
  }
}

} // namespace troupe::cli
