// What it costs those who compute that somebody looks on: a trace, the log. Time is that of the thread that reports; making
// text of a trace is its own thread's, and has a figure of its own.
//
//   build/bench/observers
#include <benchmark/benchmark.h>

#include "serve/observe/log_text.hpp"
#include "serve/observe/request_log.hpp"
#include "serve/observe/trace_writer.hpp"

namespace {

using namespace troupe;
using namespace troupe::serve;

request_record some_request() {
  request_record request;
  request.origin = {"http-1234567", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
  request.usage = {100, 200, 16};
  request.begun = std::chrono::steady_clock::now();
  request.queue_s = request.prefill_s = request.decode_s = 0.1;
  request.total_s = 0.3;
  return request;
}

step_record some_step() {
  step_record step;
  step.begun = step.ended = std::chrono::steady_clock::now();
  return step;
}

std::shared_ptr<trace_writer> writer_that_keeps_all() {
  trace_options options;
  options.max_queued = 1u << 24;
  options.max_bytes = std::uint64_t{1} << 40;
  return *trace_writer::open("/dev/null", options);
}

template <class Record>
void trace(benchmark::State& state, const Record& record) {
  const auto writer = writer_that_keeps_all();
  for (auto _ : state)
    writer->ended(record);
  if (writer->dropped() > 0)
    state.SkipWithError("some were dropped");
}
BENCHMARK_CAPTURE(trace, step, some_step());
BENCHMARK_CAPTURE(trace, request, some_request());

/// As text, which the writer's thread makes.
template <class Record>
void trace_as_text(benchmark::State& state, const Record& record) {
  trace_text text(std::chrono::steady_clock::now());
  for (auto _ : state) {
    std::string out;
    text.append(out, record);
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK_CAPTURE(trace_as_text, step, some_step());
BENCHMARK_CAPTURE(trace_as_text, request, some_request());

/// The line of a request that has ended, but for its way to standard error.
void log_line(benchmark::State& state) {
  std::size_t bytes = 0;
  request_log log({[&](const log_entry& entry) { bytes += text_of(entry).size(); }, log_level::info}, false);
  const auto request = some_request();
  for (auto _ : state)
    log.ended(request);
  benchmark::DoNotOptimize(bytes);
}
BENCHMARK(log_line);

} // namespace

BENCHMARK_MAIN();
