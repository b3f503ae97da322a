#include "tools/troupe/bench/roofline.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cpu/plan.hpp"
#include "tools/troupe/bench/sequence_batch.hpp"

namespace troupe::cli {

namespace {

constexpr double kv_bytes_per_value = 2; // bfloat16, as the CPU backend keeps it.

struct shape {
  const char* name;
  std::uint32_t sequences, rows, context;
};
constexpr shape shapes[] = {
  {"prefill 512", 1, 512, 0}, {"decode 1", 1, 1, 512}, {"decode 8", 8, 1, 64}, {"decode 32", 32, 1, 64}};

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

phase measure(backend& on, const model_program& program, const shape& what, unsigned repeat,
              const std::function<void()>& after_round) {
  const std::uint32_t passes = what.rows == 1 ? 16 : 1;
  std::vector<double> seconds;
  for (unsigned round = 0; round < repeat; ++round) {
    sequence_batch sequences(on, program, what.sequences, what.context + what.rows * passes, round);
    if (what.context > 0)
      sequences.step(what.context);
    for (std::uint32_t pass = 0; pass < passes; ++pass) {
      const auto start = std::chrono::steady_clock::now();
      sequences.step(what.rows);
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    after_round();
  }
  std::ranges::nth_element(seconds, seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2));
  return {.name = what.name,
          .sequences = what.sequences,
          .rows = what.rows,
          .context = what.context,
          .work = {},
          .seconds = seconds[seconds.size() / 2]};
}

} // namespace

double phase::computing_seconds(const cpu::machine_peaks& peaks) const {
  return share(work.byte_products, peaks.byte_products) + share(work.float_products, peaks.float_products);
}

double phase::reading_seconds(const cpu::machine_peaks& peaks) const {
  return share(work.bytes, peaks.read_bytes);
}

double phase::least_seconds(const cpu::machine_peaks& peaks) const {
  return std::max(computing_seconds(peaks), reading_seconds(peaks));
}

phase_work work_of(const model_program& program, const gguf::file& file, std::uint64_t weight_bytes,
                   std::uint32_t sequences, std::uint32_t rows, std::uint32_t context) {
  phase_work out;
  const double all_rows = double{1} * sequences * rows;
  out.tokens = all_rows;
  const auto quantised = [&](const std::string& weight) {
    return gguf::format_of(file.find_tensor(weight)->type).elements > 1;
  };
  double rows_now = all_rows; // After the last attention only the rows that are sampled.
  for (const auto& step : cpu::plan_steps(program, quantised)) {
    if (step.kind == cpu::step_kind::take_rows)
      rows_now = sequences;
    for (const auto& product : step.products) {
      const double products = rows_now * program.width_of(product.op.input) * program.width_of(product.op.output);
      const unsigned bytes = cpu::byte_products(product.form);
      (bytes ? out.byte_products : out.float_products) += products * std::max(1u, bytes);
    }
  }
  // Row i sees `context` + i + 1 positions; scores and values, of every head and layer.
  const double seen = sequences * (double{1} * rows * context + rows * (rows + 1.0) / 2);
  out.float_products += 2 * seen * program.heads * program.head_size * program.layers;
  const double kv_bytes = 2.0 * program.kv_heads * program.head_size * program.layers * kv_bytes_per_value;
  out.bytes = static_cast<double>(weight_bytes) + sequences * (0.0 + context + rows) * kv_bytes;
  return out;
}

std::size_t phase_rounds(unsigned repeat) {
  return std::size(shapes) * repeat;
}

std::vector<phase> measure_phases(backend& on, const model_program& program, const gguf::file& file, unsigned repeat,
                                  const std::function<void(std::size_t)>& tell) {
  std::vector<phase> out;
  std::size_t rounds = 0;
  for (const auto& what : shapes) {
    out.push_back(measure(on, program, what, repeat, [&] { tell(++rounds); }));
    auto& made = out.back();
    made.work = work_of(program, file, on.memory().weight_bytes, made.sequences, made.rows, made.context);
  }
  return out;
}

std::string roofline_text(const std::string& machine, const cpu::machine_peaks& peaks,
                          const std::vector<phase>& phases) {
  auto out = fmt::format("{}\nmeasured limits: {:.0f} billion products of bytes/s, {:.0f} billion of floats, reading "
                         "{:.1f} GB/s\n\n{:<14}{:>12}{:>14}{:>10}{:>12}{:>11}{:>12}\n",
                         machine, peaks.byte_products / 1e9, peaks.float_products / 1e9, peaks.read_bytes / 1e9,
                         "phase", "tokens/s", "products/s", "of peak", "bytes/s", "of peak", "of limit");
  for (const auto& p : phases) {
    out += fmt::format("{:<14}{:>12.1f}{:>12.1f} G{:>8.0f} %{:>10.1f} G{:>9.0f} %{:>10.0f} %\n", p.name,
                       p.work.tokens / p.seconds, p.work.products() / p.seconds / 1e9,
                       100 * p.computing_seconds(peaks) / p.seconds, p.work.bytes / p.seconds / 1e9,
                       100 * p.reading_seconds(peaks) / p.seconds, 100 * p.least_seconds(peaks) / p.seconds);
  }
  return out;
}

std::string roofline_json(const std::string& machine, const cpu::machine_peaks& peaks,
                          const std::vector<phase>& phases) {
  nlohmann::ordered_json out;
  out["machine"] = machine;
  out["peaks"] = {{"byte_products_per_s", peaks.byte_products},
                  {"float_products_per_s", peaks.float_products},
                  {"read_bytes_per_s", peaks.read_bytes}};
  out["phases"] = nlohmann::ordered_json::array();
  for (const auto& p : phases)
    out["phases"].push_back({{"name", p.name},
                             {"tokens_per_s", p.work.tokens / p.seconds},
                             {"seconds", p.seconds},
                             {"byte_products", p.work.byte_products},
                             {"float_products", p.work.float_products},
                             {"bytes", p.work.bytes},
                             {"share_of_limit", p.least_seconds(peaks) / p.seconds}});
  return out.dump(2) + "\n";
}

} // namespace troupe::cli
