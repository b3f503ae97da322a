#include "tools/troupe/device_check.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace troupe::cli {

expected<void> check_device(const engine_flags& flags) {
#ifdef TROUPE_CUDA
  const std::vector<std::string> known{"cpu", "cuda", "cuda-shim"};
#else
  const std::vector<std::string> known{"cpu", "cuda-shim"};
#endif
  if (std::ranges::find(known, flags.device) == known.end())
    return fail(errc::unsupported, fmt::format("--device {} is not part of this build; there is: {}.", flags.device,
                                               fmt::join(known, ", ")));
  if (flags.device == "cpu" && flags.enforce_eager)
    return fail(errc::invalid_argument, "--enforce-eager is of CUDA devices: leave it out with --device cpu.");
  if (flags.device == "cpu" && flags.memory_share)
    return fail(errc::invalid_argument,
                "--gpu-memory-utilization is of CUDA devices: leave it out with --device cpu, where --kv-tokens says "
                "how large the KV cache is.");
  if (flags.device == "cpu")
    return {};
  if (flags.memory_share && std::isnan(*flags.memory_share)) // Which passes for a number in a range.
    return fail(errc::invalid_argument, "--gpu-memory-utilization must be a number from 0.01 to 1.");
  if (flags.kv_tokens != 0 && flags.memory_share)
    return fail(
      errc::invalid_argument,
      "--kv-tokens says how large the KV cache is, and --gpu-memory-utilization that it takes what is left: "
      "give one of them.");
  if (flags.backend != "cpu")
    return fail(errc::invalid_argument,
                "--backend is of --device cpu: leave it out with --device " + flags.device + ".");
  if (flags.arithmetic != cpu_arithmetic::int8)
    return fail(errc::invalid_argument,
                "--cpu-arithmetic is of --device cpu: leave it out with --device " + flags.device + ".");
  if (flags.threads != 0)
    return fail(errc::invalid_argument,
                "--threads is of --device cpu: leave it out with --device " + flags.device + ".");
  if (flags.device == "cuda" && !flags.settings.kv_disk.empty())
    return fail(
      errc::unsupported,
      "--kv-disk is not for --device cuda yet: what one kind of GPU has computed would be taken for another's.");
  if (flags.device == "cuda" && !flags.worker_processes.value_or(true))
    return fail(errc::invalid_argument,
                "Workers on CUDA devices are processes, since only the end of one frees a device that is lost: "
                "leave --workers thread out.");
  return {};
}

} // namespace troupe::cli
