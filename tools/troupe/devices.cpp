#include "tools/troupe/devices.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/program_output.hpp"

namespace troupe {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(gpu_device, name, free_bytes, total_bytes)

} // namespace troupe

namespace troupe::cli {

namespace {

/// A context on each of eight devices takes some seconds, and longer where the driver has to be started first.
constexpr std::chrono::seconds patience_with_devices{120};

expected<std::vector<gpu_device>> devices_here([[maybe_unused]] unsigned most) {
#ifdef TROUPE_CUDA
  return cuda_devices(most);
#else
  return fail(errc::unsupported, "This build has no CUDA.");
#endif
}

} // namespace

expected<std::vector<gpu_device>> ask_for_devices(unsigned most) {
  const auto said =
    output_of({"/proc/self/exe", "devices", "--json", "--most", std::to_string(most)}, patience_with_devices);
  if (!said)
    return fail(said.error().code, "CUDA devices cannot be asked for their memory. " + said.error().message);
  const auto object = nlohmann::json::parse(*said, nullptr, false);
  try {
    if (object.is_object() && object.contains("error"))
      return fail(errc::unavailable, object["error"].get<std::string>());
    return object.at("devices").get<std::vector<gpu_device>>();
  } catch (const nlohmann::json::exception&) {
    return fail(errc::unavailable,
                "CUDA devices cannot be asked for their memory: what was answered is no list of them.");
  }
}

int devices(const devices_flags& flags) {
  const auto found = devices_here(flags.most);
  if (flags.json) {
    const auto object =
      found ? nlohmann::json{{"devices", *found}} : nlohmann::json{{"error", found.error().message}};
    if (!write_stdout(object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"))
      return report({errc::io, "Cannot write to stdout: it is closed or full."});
    return found ? 0 : exit_failed;
  }
  if (!found)
    return report(found.error());
  std::string text;
  for (std::size_t number = 0; number < found->size(); ++number) {
    const auto& each = (*found)[number];
    text += fmt::format("{}  {}: {} MiB, of which {} are free\n", number, each.name, each.total_bytes >> 20,
                        each.free_bytes >> 20);
  }
  return write_stdout(text) ? 0 : report({errc::io, "Cannot write to stdout: it is closed or full."});
}

} // namespace troupe::cli
