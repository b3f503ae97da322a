// A server as `troupe serve` runs it, but for its worker, which computes nothing and answers at once with valid tokens:
// what the gateway, the streams, the scheduler and HTTP can do. bench/mock_client and bench/http_streams ask it.
//
//   build/bench/mock_server [--endpoint tcp://127.0.0.1:5599] [--max-sequences N] [--worker-us N] [--http [--unsent-kib N]]
//     [--clock FILE]
//
// It writes its endpoint to stdout (with --http "http://127.0.0.1:PORT", of a free port, instead of that of ZeroMQ) and ends
// when its stdin does; then stderr has the steps, their rows, and what each kind of actor got of messages and time.
#include <algorithm>
#include <iostream>
#include <thread>

#include <CLI/CLI.hpp>

#include "actors/gateway.hpp"
#include "actors/system.hpp"
#include "bench/actor_probe.hpp"
#include "bench/step_clock.hpp"
#include "bench/worker_without_memory.hpp"
#include "serve/api/api.hpp"
#include "serve/http/front.hpp"
#include "serve/http/server.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::bench {

std::uint64_t payload_bytes(caf::type_erased_tuple&) {
  return 0;
}

} // namespace troupe::bench

namespace {

using namespace troupe;

std::uint64_t steps = 0, rows = 0; // Written by the worker, read when it is gone.

/// One for each of the letters that tell a client which step a token is of.
std::vector<token_id> letter_tokens(const model& source) {
  std::vector<token_id> found;
  for (const char letter : bench::step_letters)
    found.push_back(source.tokens->encode(std::string(1, letter)).at(0));
  return found;
}

bench::step_function mock_steps(const results_actor& results, std::chrono::microseconds time,
                                std::vector<token_id> letters, std::shared_ptr<bench::step_clock> clock) {
  return [=](bench::worker_pointer self, const step_ptr& step) {
    ++steps;
    rows += step->rows.size();
    step_result result;
    result.epoch = step->epoch;
    result.step = step->step;
    const auto letter = static_cast<std::size_t>(steps % letters.size());
    for (const auto& rows : step->rows)
      if (rows.samples)
        result.sampled.push_back(letters[letter]);
    if (time.count() > 0)
      std::this_thread::sleep_for(time);
    if (clock)
      (*clock)[letter] = bench::steady_nanoseconds();
    self->send(results, result_atom::value, step->epoch, step_outcome(std::move(result)));
  };
}

std::shared_ptr<const model> make_model() {
  auto file = gguf::parse(test::tiny_model({.context = 1u << 14}));
  auto loaded =
    file ? load_model(*file, "mock") : expected<std::shared_ptr<const model>>(tl::unexpected(file.error()));
  if (!loaded) {
    std::cerr << "mock_server: " << loaded.error().message << "\n";
    std::exit(1);
  }
  return *loaded;
}

/// Listens on a free port of the loopback for as long as it lives.
std::unique_ptr<serve::http_server> open_http(caf::actor_system& system, const supervisor_actor& engine,
                                              const std::shared_ptr<const model>& source,
                                              std::uint32_t context_length, std::uint32_t unsent_kib) {
  serve::api_context context{source, "mock", {}, context_length, 0, {}};
  serve::http_options options;
  options.port = 0;
  if (unsent_kib > 0) {
    options.limits.max_unsent_bytes = unsent_kib << 10;
    options.limits.socket_send_bytes = 16 << 10;
  }
  const auto read = [=](std::string_view body) { return serve::completions(context, body); };
  auto http = serve::http_server::start(std::move(options), {{"/v1/completions", {read}}});
  if (!http) {
    std::cerr << "mock_server: " << http.error().message << "\n";
    std::exit(1);
  }
  if (auto front = serve::spawn_front(system, engine, (*http)->door()))
    (*http)->attach(std::move(*front), context);
  return std::move(*http);
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app("A server without a model");
  std::string endpoint = "tcp://127.0.0.1:5599";
  std::string clock_file;
  std::uint32_t max_sequences = 256, worker_us = 0, unsent_kib = 0;
  bool with_http = false;
  app.add_option("--endpoint", endpoint);
  app.add_option("--max-sequences", max_sequences);
  app.add_option("--worker-us", worker_us, "what a step takes");
  app.add_option("--clock", clock_file, "gets the times of steps");
  app.add_flag("--http", with_http, "instead of ZeroMQ");
  app.add_option("--unsent-kib", unsent_kib, "kept for a client of HTTP that does not read, instead of the usual");
  CLI11_PARSE(app, argc, argv);
  const auto clock = clock_file.empty() ? nullptr : bench::map_step_clock(clock_file);
  const auto source = make_model();
  engine_options options;
  options.source = source;
  options.kv_blocks = 64 * 1024;
  options.plan.max_sequences = max_sequences;
  options.plan.max_logit_rows = max_sequences;
  options.plan.max_batched_tokens = std::max(8192u, max_sequences);
  options.spawn_worker = [=](caf::local_actor* parent, worker_options given) {
    return parent->spawn<caf::detached>(
      bench::worker_without_memory,
      mock_steps(given.results, std::chrono::microseconds(worker_us), letter_tokens(*source), clock));
  };
  caf::actor_system_config config;
  configure(config);
  caf::actor_system system(config);
  auto engine = spawn_engine(system, std::move(options));
  std::unique_ptr<serve::http_server> http;
  if (with_http) {
    http = open_http(system, engine, source, 1u << 14, unsent_kib);
    std::cout << http->url() << std::endl;
  } else {
    gateway_options front;
    front.endpoint = endpoint;
    front.server_name = "mock";
    front.model_name = "mock";
    front.context_length = 512;
    auto gateway = spawn_gateway(system, engine, front);
    if (!gateway) {
      std::cerr << "mock_server: " << gateway.error().message << "\n";
      std::exit(1); // What has been spawned has no end of its own.
    }
    std::cout << gateway->endpoint << std::endl;
  }
  for (std::string line; std::getline(std::cin, line);) {
  }
  http = nullptr;
  caf::anon_send(engine, stop_atom::value);
  engine = nullptr;
  system.await_all_actors_done();
  std::cerr << steps << " steps of "
            << static_cast<double>(rows) / static_cast<double>(std::max<std::uint64_t>(steps, 1)) << " rows\n";
  for (const auto& [name, cost] : bench::costs())
    std::cerr << name << ": " << cost.messages << " messages in " << cost.turns << " turns, "
              << cost.nanoseconds / 1000000 << " ms\n";
}
