// `troupe bench roofline`: what this machine makes of a model.
#include <new>
#include <system_error>

#include <fmt/format.h>

#include "cpu/backends.hpp"
#include "cpu/instruction_set.hpp"
#include "cpu/thread_pool.hpp"
#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/roofline.hpp"
#include "tools/troupe/progress.hpp"

namespace troupe::cli {

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
  constexpr std::size_t peak_rounds = 8; // They take about as long.
  progress bar("rounds", peak_rounds + phase_rounds(flags.repeat));
  cpu::machine_peaks peaks;
  try {
    peaks = cpu::measure_peaks(*instructions, threads, (*made)->memory().weight_bytes);
  } catch (const std::bad_alloc&) {
    return report({errc::out_of_memory, "There is no memory to measure how fast it is read."});
  } catch (const std::system_error& failure) {
    return report(
      {errc::unavailable, fmt::format("The system gives no threads to measure with: {}.", failure.what())});
  }
  bar.show(peak_rounds);
  const auto phases =
    measure_phases(**made, *program, **file, flags.repeat, [&](std::size_t done) { bar.show(peak_rounds + done); });
  if (!flags.svg.empty())
    if (auto put = write_file(flags.svg, roofline_svg(machine, peaks, phases)); !put)
      return report(put.error());
  const auto text = flags.json ? roofline_json(machine, peaks, phases) : roofline_text(machine, peaks, phases);
  return print_result(text);
}

} // namespace troupe::cli
