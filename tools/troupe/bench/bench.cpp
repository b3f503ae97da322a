// `troupe bench`: what this machine makes of a model.
#include <fstream>
#include <new>
#include <system_error>

#include <fmt/format.h>

#include "cpu/backends.hpp"
#include "cpu/instruction_set.hpp"
#include "cpu/thread_pool.hpp"
#include "tools/troupe/bench/roofline.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

namespace {

/// "model name", as Linux knows it.
std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      if (const auto colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return "unknown processor";
}

std::optional<error> write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file)
    return error{errc::io, fmt::format("Cannot write '{}'.", path)};
  return {};
}

} // namespace

int bench_roofline(const roofline_flags& flags) {
  auto file = open_model(flags.model);
  if (!file)
    return report(file.error());
  auto program = make_program(**file);
  if (!program)
    return report(program.error());
  const unsigned threads = flags.threads ? flags.threads : cpu::usable_cpus();
  auto made = make_cpu_backend(
    *file, *program, {.kv_blocks = roofline_blocks, .max_rows = 512, .max_logit_rows = 32, .threads = threads});
  if (!made)
    return report(made.error());
  const auto instructions = cpu::chosen_instruction_set();
  const auto machine = fmt::format("{} on {}, {} thread{}, kernels for {}", program->name, processor_name(), threads,
                                   threads == 1 ? "" : "s", cpu::to_string(*instructions));
  cpu::machine_peaks peaks;
  try {
    peaks = cpu::measure_peaks(*instructions, threads, (*made)->memory().weight_bytes);
  } catch (const std::bad_alloc&) {
    return report({errc::out_of_memory, "There is no memory to measure how fast it is read."});
  } catch (const std::system_error& failure) {
    return report(
      {errc::unavailable, fmt::format("The system gives no threads to measure with: {}.", failure.what())});
  }
  const auto phases = measure_phases(**made, *program, **file, flags.repeat);
  if (!flags.svg.empty())
    if (auto failure = write_file(flags.svg, roofline_svg(machine, peaks, phases)))
      return report(*failure);
  const auto text = flags.json ? roofline_json(machine, peaks, phases) : roofline_text(machine, peaks, phases);
  return write_stdout(text) ? 0 : report({errc::io, "Cannot write to stdout: it is closed or full."});
}

} // namespace troupe::cli
