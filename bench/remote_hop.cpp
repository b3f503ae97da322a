// What it costs that a worker is a process: the way of a step there and of its result back, with nothing to compute.
//
//   build/bench/remote_hop [--rounds N] [--sequences N]
//
// Prints microseconds: `beat`, a question to the process's host and its answer, which is two hops between processes;
// `step`, from the step's message to its result, through the process's host, its worker and its outlet; and the same of a
// worker that is a thread. Bytes are those of the step and of its result.
#include <algorithm>
#include <cstring>
#include <iostream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "actors/process/door.hpp"
#include "actors/process/host.hpp"
#include "actors/process/local_middleman.hpp"
#include "actors/process/process_worker.hpp"
#include "actors/system.hpp"

using namespace troupe;

namespace {

constexpr std::uint32_t vocabulary = 64;

class idle_backend final : public backend {
public:
  std::string_view name() const override { return "idle"; }
  std::string_view kv_type() const override { return "none"; }
  expected<void> forward(const forward_batch&, std::span<float> logits) override {
    std::ranges::fill(logits, 0.0f);
    return {};
  }
  memory_account memory() const override { return {}; }
  std::size_t block_bytes(kv_group) const override { return 0; }
  expected<void> read_block(kv_group, block_id, std::span<std::byte>) const override { return {}; }
  expected<void> write_block(kv_group, block_id, std::span<const std::byte>) override { return {}; }
  expected<void> copy_block(kv_group, block_id, block_id) override { return {}; }
};

/// So many sequences decode; the first step brings them in.
step_ptr make_step(std::uint64_t number, std::uint32_t sequences) {
  auto step = std::make_shared<step_changes>();
  step->step = number;
  step->snapshot = number == 0;
  const auto sampling = std::make_shared<const sequence_sampling>();
  for (slot_id slot = 0; slot < sequences; ++slot) {
    if (number == 0) {
      step->joined.push_back({slot, slot + 1, sampling, 1, nullptr, 0, 0});
      step->appended.push_back({slot, 0, static_cast<std::uint32_t>(step->blocks.size()), 1});
      step->blocks.push_back(slot);
      step->tokens.push_back(1);
    }
    step->rows.push_back({.slot = slot,
                          .first_position = static_cast<std::uint32_t>(number % tokens_per_block),
                          .count = 1,
                          .offset = number == 0 ? slot : 0,
                          .holds_last = number > 0,
                          .samples = true});
  }
  return step;
}

double median(std::vector<double> values, double at = 0.5) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(at * static_cast<double>(values.size() - 1))];
}

using clock_type = std::chrono::steady_clock;

double since(clock_type::time_point start) {
  return std::chrono::duration<double, std::micro>(clock_type::now() - start).count();
}

void measure_steps(caf::scoped_actor& self, const worker_actor& worker, const char* what, std::size_t rounds,
                   std::uint32_t sequences) {
  std::vector<double> times;
  for (std::size_t i = 0; i < rounds; ++i) {
    const auto step = make_step(i, sequences);
    const auto start = clock_type::now();
    self->send(worker, step_atom::value, step);
    self->receive([&](result_atom, std::uint64_t, const step_outcome& outcome) {
      if (!outcome)
        throw std::runtime_error(outcome.error().message);
    });
    if (i >= rounds / 10)
      times.push_back(since(start));
  }
  std::cout << fmt::format("step {:8} {:4} sequences {:7.1f} us  p99 {:7.1f}\n", what, sequences, median(times),
                           median(times, 0.99));
}

} // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "worker") == 0)
    return run_worker_process([](const std::string&, const worker_seat&,
                                 std::shared_ptr<communicator>) -> expected<std::unique_ptr<backend>> {
      return std::make_unique<idle_backend>();
    });
  std::size_t rounds = 5000;
  std::uint32_t sequences = 1;
  CLI::App app("What it costs that a worker is a process");
  app.add_option("--rounds", rounds, "steps")->capture_default_str()->check(CLI::Range(20, 1000000));
  app.add_option("--sequences", sequences, "decoding in each step")
    ->capture_default_str()
    ->check(CLI::Range(1, 4096));
  CLI11_PARSE(app, argc, argv);
  caf::actor_system_config config;
  configure(config);
  configure_processes(config);
  caf::actor_system system(config);
  {
    caf::scoped_actor self(system);
    auto door = open_worker_door(system);
    if (!door) {
      std::cerr << door.error().message << std::endl;
      return 1;
    }
    const auto results = caf::actor_cast<results_actor>(caf::strong_actor_ptr{self->ctrl()});
    worker_job job;
    job.door = door->socket;
    job.port = door->port;
    job.vocabulary = vocabulary;
    worker_options here;
    here.vocabulary = vocabulary;
    here.results = results;
    here.make_backend = []() -> expected<std::unique_ptr<backend>> { return std::make_unique<idle_backend>(); };
    const auto threaded = system.spawn<caf::detached>(worker, here);
    const auto process = system.spawn(
      process_worker, process_worker_options{{{"/proc/self/exe", "worker"}, ""}, job, door->actor, results, 0, {}});
    self->request(process, std::chrono::seconds(30), info_atom::value)
      .receive([](const expected<worker_info>&) {},
               [](const caf::error& e) { throw std::runtime_error(to_string(e)); });
    std::vector<double> beats;
    for (std::size_t i = 0; i < rounds; ++i) {
      const auto start = clock_type::now();
      self->request(process, std::chrono::seconds(30), info_atom::value)
        .receive([](const expected<worker_info>&) {}, [](const caf::error&) {});
      beats.push_back(since(start));
    }
    std::cout << fmt::format("question and answer, two hops   {:7.1f} us  p99 {:7.1f}\n", median(beats),
                             median(beats, 0.99));
    measure_steps(self, threaded, "thread", rounds, sequences);
    measure_steps(self, caf::actor_cast<worker_actor>(process), "process", rounds, sequences);
    std::cout << fmt::format(
      "bytes of a step {}, of its result {}\n", encode(*make_step(1, sequences)).size(),
      encode(step_outcome(step_result{0, 1, std::vector<token_id>(sequences, 7), {}, {}, {}, {}, {}, 0})).size());
    for (const auto& actor : {caf::actor_cast<caf::actor>(threaded), caf::actor_cast<caf::actor>(process),
                              caf::actor_cast<caf::actor>(door->actor), door->middleman})
      self->send_exit(actor, caf::exit_reason::user_shutdown);
  }
  system.await_all_actors_done();
}
