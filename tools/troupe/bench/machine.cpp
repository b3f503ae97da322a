#include "tools/troupe/bench/machine.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cpu/thread_pool.hpp"
#include "tools/troupe/options.hpp"
#include "troupe_version.hpp"

namespace troupe::cli {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      if (const auto colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return "unknown processor";
}

std::string machine_name() {
  const auto cpus = cpu::usable_cpus();
  return fmt::format("troupe {} on {}, {} CPU{}", version, processor_name(), cpus, cpus == 1 ? "" : "s");
}

expected<void> write_file(const std::string& path, const std::string& text) {
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file)
    return fail(errc::io, fmt::format("Cannot write {}: {}.", path, std::strerror(errno)));
  return {};
}

expected<void> report_files::write(const nlohmann::ordered_json& object, const std::string& page) const {
  if (!json.empty())
    if (auto put =
          write_file(json, object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
        !put)
      return put;
  return html.empty() ? expected<void>{} : write_file(html, page);
}

expected<void> report_files::check() const {
  for (const auto& path : {json, html}) {
    errno = 0;
    if (!path.empty() && !std::ofstream(path, std::ios::binary | std::ios::app))
      return fail(errc::io, fmt::format("Cannot write {}: {}.", path, std::strerror(errno)));
  }
  return {};
}

int end_with(const error& problem) {
  if (problem.code != errc::cancelled)
    return report(problem);
  std::cerr << "troupe: interrupted." << std::endl;
  return 130;
}

int print_result(const std::string& text) {
  return write_stdout(text) ? 0 : report({errc::io, "Cannot write to stdout: it is closed or full."});
}

} // namespace troupe::cli
