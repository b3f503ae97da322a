// A server as `troupe serve` runs it, but for its worker, which computes nothing and answers at once with valid tokens:
// what the gateway, the streams and the scheduler can do. bench/mock_client asks it.
//
//   build/bench/mock_server [--endpoint tcp://127.0.0.1:5599] [--max-sequences N] [--worker-us N]
//
// It writes its endpoint to stdout and ends when its stdin does; then stderr has the steps, their rows, and what each
// kind of actor got of messages and time.
#include <algorithm>
#include <iostream>
#include <thread>

#include <CLI/CLI.hpp>

#include "actors/gateway.hpp"
#include "actors/system.hpp"
#include "bench/actor_probe.hpp"
#include "bench/worker_without_memory.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::bench {

std::uint64_t payload_bytes(caf::type_erased_tuple&) {
  return 0;
}

} // namespace troupe::bench

namespace {

using namespace troupe;

std::uint64_t steps = 0, rows = 0; // Written by the worker, read when it is gone.

bench::step_function mock_steps(const results_actor& results, std::chrono::microseconds time) {
  return [=](bench::worker_pointer self, const step_ptr& step) {
    ++steps;
    rows += step->rows.size();
    step_result result;
    result.epoch = step->epoch;
    result.step = step->step;
    for (const auto& rows : step->rows)
      if (rows.samples)
        result.sampled.push_back(static_cast<token_id>(100 + (rows.slot + step->step) % 100));
    if (time.count() > 0)
      std::this_thread::sleep_for(time);
    self->send(results, result_atom::value, step->epoch, step_outcome(std::move(result)));
  };
}

std::shared_ptr<const model> make_model() {
  auto file = gguf::parse(test::tiny_model());
  auto loaded =
    file ? load_model(*file, "mock") : expected<std::shared_ptr<const model>>(tl::unexpected(file.error()));
  if (!loaded) {
    std::cerr << "mock_server: " << loaded.error().message << "\n";
    std::exit(1);
  }
  return *loaded;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app("A server without a model");
  std::string endpoint = "tcp://127.0.0.1:5599";
  std::uint32_t max_sequences = 256, worker_us = 0;
  app.add_option("--endpoint", endpoint);
  app.add_option("--max-sequences", max_sequences);
  app.add_option("--worker-us", worker_us, "what a step takes");
  CLI11_PARSE(app, argc, argv);
  engine_options options;
  options.source = make_model();
  options.kv_blocks = 64 * 1024;
  options.plan.max_sequences = max_sequences;
  options.plan.max_logit_rows = max_sequences;
  options.plan.max_batched_tokens = std::max(8192u, max_sequences);
  options.spawn_worker = [=](caf::local_actor* parent, worker_options given) {
    return parent->spawn<caf::detached>(bench::worker_without_memory,
                                        mock_steps(given.results, std::chrono::microseconds(worker_us)));
  };
  caf::actor_system_config config;
  configure(config);
  caf::actor_system system(config);
  auto engine = spawn_engine(system, std::move(options));
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
  gateway->actor = nullptr;
  for (std::string line; std::getline(std::cin, line);) {
  }
  caf::anon_send(engine, stop_atom::value);
  engine = nullptr;
  system.await_all_actors_done();
  std::cerr << steps << " steps of "
            << static_cast<double>(rows) / static_cast<double>(std::max<std::uint64_t>(steps, 1)) << " rows\n";
  for (const auto& [name, cost] : bench::costs())
    std::cerr << name << ": " << cost.messages << " messages in " << cost.turns << " turns, "
              << cost.nanoseconds / 1000000 << " ms\n";
}
