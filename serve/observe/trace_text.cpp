#include "serve/observe/trace_text.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "protocol/trace_context.hpp"

namespace troupe::serve {

namespace {

using time_point = std::chrono::steady_clock::time_point;

// The format's "processes" and "threads".
constexpr std::uint32_t requests_process = 1;
constexpr std::uint32_t first_engine_process = 2;
constexpr std::uint32_t steps_thread = 1;
constexpr std::uint32_t first_worker_thread = 2;
constexpr std::uint32_t most_ranks = 64; ///< Of a stage: --tensor-parallel-size.

/// With its quotes.
std::string as_json(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string args_of(const request_record& request) {
  auto args = fmt::format(R"("request":{},"connection":{},"id":{},"n":{},"max_tokens":{},"prompt_tokens":{},)"
                          R"("cached_prompt_tokens":{},"completion_tokens":{},"reason":"{}")",
                          as_json(request.origin.name), request.connection, request.id, request.n, request.max_tokens,
                          request.usage.prompt_tokens, request.usage.cached_prompt_tokens,
                          request.usage.completion_tokens, to_string(request.reason));
  if (request.failure != errc::none)
    args += fmt::format(R"(,"error":"{}")", to_string(request.failure));
  if (const auto trace = parse_traceparent(request.origin.traceparent))
    args += fmt::format(R"(,"trace_id":"{}","parent_span_id":"{}")", trace->trace_id, trace->parent_id);
  return args;
}

void append_name(std::string& out, const char* what, std::uint32_t process, std::uint32_t thread,
                 const std::string& name) {
  out += fmt::format("{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"name\":\"{}\",\"args\":{{\"name\":{}}}}},\n", process,
                     thread, what, as_json(name));
}

} // namespace

double trace_text::microseconds(time_point time) const {
  return std::chrono::duration<double, std::micro>(time - origin_).count();
}

void trace_text::begin(std::string& out) const {
  out += "[\n";
  append_name(out, "process_name", requests_process, 0, "requests");
}

void trace_text::name_track(std::string& out, std::uint32_t engine, std::uint32_t thread, const std::string& name) {
  const auto process = first_engine_process + engine;
  if (named_.insert({process, 0}).second)
    append_name(out, "process_name", process, 0, fmt::format("engine {}", engine));
  if (named_.insert({process, thread}).second)
    append_name(out, "thread_name", process, thread, name);
}

void trace_text::append(std::string& out, const step_record& step) {
  name_track(out, step.engine, steps_thread, "steps");
  const auto begun = microseconds(step.begun);
  out += fmt::format("{{\"ph\":\"X\",\"pid\":{},\"tid\":{},\"cat\":\"step\",\"name\":\"step\",\"ts\":{:.3f},"
                     "\"dur\":{:.3f},\"args\":{{\"step\":{},\"epoch\":{},\"prefill_tokens\":{},\"decode_tokens\":{},"
                     "\"sequences\":{}}}}},\n",
                     first_engine_process + step.engine, steps_thread, begun, microseconds(step.ended) - begun,
                     step.step, step.epoch, step.prefill_tokens, step.decode_tokens, step.sequences);
}

void trace_text::append(std::string& out, const part_record& part) {
  const auto thread = first_worker_thread + part.stage * most_ranks + part.rank;
  name_track(out, part.engine, thread, fmt::format("stage {} rank {}", part.stage, part.rank));
  const auto begun = microseconds(part.begun);
  out += fmt::format("{{\"ph\":\"X\",\"pid\":{},\"tid\":{},\"cat\":\"worker\",\"name\":\"part\",\"ts\":{:.3f},"
                     "\"dur\":{:.3f},\"args\":{{\"step\":{},\"epoch\":{}}}}},\n",
                     first_engine_process + part.engine, thread, begun, microseconds(part.ended) - begun, part.step,
                     part.epoch);
}

void trace_text::append(std::string& out, const request_record& request) {
  const auto id = ++last_request_;
  const auto begun = microseconds(request.begun), ended = begun + request.total_s * 1e6;
  const auto event = [&](char phase, std::string_view name, double at, std::string_view args = {}) {
    out += fmt::format("{{\"ph\":\"{}\",\"pid\":{},\"tid\":0,\"cat\":\"request\",\"id\":\"{:#x}\",\"name\":\"{}\","
                       "\"ts\":{:.3f},\"args\":{{{}}}}},\n",
                       phase, requests_process, id, name, at, args);
  };
  event('b', "request", begun, args_of(request));
  auto at = begun;
  const auto phase = [&](std::string_view name, const std::optional<double>& seconds) {
    event('b', name, at);
    at = seconds ? std::min(at + *seconds * 1e6, ended) : ended; // It lasted until the end.
    event('e', name, at);
  };
  phase("queue", request.queue_s);
  if (request.queue_s)
    phase("prefill", request.prefill_s);
  if (request.decode_s)
    phase("decode", std::nullopt);
  event('e', "request", ended);
}

void trace_text::end(std::string& out, time_point now, std::uint64_t dropped) const {
  out += fmt::format("{{\"ph\":\"i\",\"pid\":{},\"tid\":0,\"s\":\"g\",\"cat\":\"trace\",\"name\":\"end of trace\","
                     "\"ts\":{:.3f},\"args\":{{\"dropped\":{}}}}}\n]\n",
                     requests_process, microseconds(now), dropped);
}

} // namespace troupe::serve
