// The engine's control side alone: the production tree of actors over a worker that computes nothing and answers with
// valid tokens. For batches of decoding sequences over 16 connections:
//   step_us    from a step's result until all streams have its tokens and the worker has the next step. The worker
//              answers a step as soon as the one before has been delivered, so nothing queues.
//   launch_us  from a step's result to the launch of the next, without overlap: one step in flight.
//   idle_us    how long a device whose steps take 2 ms waits between two of them, with overlap.
//   cpu_us     of all threads, a step, when the worker answers at once; with messages and bytes a step.
//   actor_us   the same by actor; parts_us: planner and KV store alone, without actors.
//   waiting, context: step_us_p50 against the length of the queue and of the sequences.
// Streams are stand-ins which only take their tokens in; --real-streams adds journals, detokenization and deliveries.
//
//   build/bench/scheduler [--json] [--batches 64,256] [--steps N] [--worker-us N] [--in-flight N] [--real-streams] ...
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "actors/system.hpp"
#include "bench/actor_probe.hpp"
#include "bench/control_parts.hpp"
#include "bench/fake_surroundings.hpp"
#include "protocol/limits.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::bench {

namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t connections = 16;

struct figures {
  double step_p50 = 0, step_p99 = 0, launch_p50 = 0, launch_p99 = 0, period_p50 = 0;
  double cpu_us = 0; ///< Of the whole process, a step.
  double messages = 0, bytes = 0;
  std::map<std::string, double> actor_us;
};

class run {
public:
  run(workload work, std::shared_ptr<const model> source) : work_(work), source_(std::move(source)) {
    configure(config_);
    system_ = std::make_unique<caf::actor_system>(config_);
    board_ = std::make_shared<step_board>(std::min(connections, work_.batch), work_.steps);
    self_ = std::make_unique<caf::scoped_actor>(*system_);
    engine_ = spawn_engine(*system_, options());
    tree_ = ask<actor_tree>(engine_, tree_atom::value);
    work_.real_streams ? open_real_streams() : spawn_fake_streams();
  }

  ~run() {
    tree_ = {};
    streams_.clear();
    clients_.clear();
    caf::anon_send(engine_, stop_atom::value);
    engine_ = nullptr;
    self_.reset();
    system_->await_all_actors_done();
  }

  figures measure() {
    for (std::uint32_t i = 0; i < work_.batch; ++i)
      submit();
    until([&](const planner_counts& c) { return c.running == work_.batch; });
    for (std::uint32_t i = 0; i < work_.waiting; ++i)
      submit();
    until([&](const planner_counts& c) { return c.waiting == work_.waiting; });
    std::this_thread::sleep_for(50ms);
    reset_costs();
    const auto cpu = cpu_seconds();
    board_->record();
    if (!board_->wait(300s))
      give_up("no progress");
    figures result = summary();
    const auto steps = static_cast<double>(work_.steps);
    result.cpu_us = (cpu_seconds() - cpu) * 1e6 / steps;
    for (const auto& [name, cost] : costs()) {
      result.messages += static_cast<double>(cost.messages) / steps;
      result.bytes += static_cast<double>(cost.bytes) / steps;
      result.actor_us[name] = static_cast<double>(cost.nanoseconds) / 1e3 / steps;
    }
    return result;
  }

private:
  engine_options options() const {
    engine_options options;
    options.source = source_;
    options.plan.max_sequences = work_.batch;
    options.plan.max_logit_rows = work_.batch;
    options.plan.max_batched_tokens = 8192;
    options.plan.long_prefill_tokens = 8192;
    options.max_steps_in_flight = work_.in_flight;
    // Longer than all that are measured, with what runs before and after.
    options.kv_blocks = (work_.batch + 1) * ((work_.context + most_tokens()) / tokens_per_block + 2) + 1024;
    options.limits.max_open_requests = 1u << 20;
    options.limits.max_open_tokens = 1u << 30;
    options.spawn_worker = [board = board_, work = work_](caf::local_actor* parent, worker_options given) {
      return parent->spawn<caf::detached>(fake_worker, given.results, board, work);
    };
    return options;
  }

  std::uint32_t most_tokens() const { return work_.steps + 8000; }

  void spawn_fake_streams() {
    for (std::uint32_t i = 0; i < connections; ++i)
      streams_.push_back(system_->spawn(fake_stream, board_));
  }

  void open_real_streams() {
    for (std::uint32_t i = 0; i < connections; ++i) {
      clients_.push_back(system_->spawn(fake_client, board_));
      streams_.push_back(
        ask<stream_actor>(engine_, open_atom::value, clients_.back(), connection_id{i}, max_requests_per_client));
    }
  }

  void submit() {
    const auto id = ++last_id_;
    const auto& stream = streams_[id % streams_.size()];
    const auto prompt = random_prompt(id, work_.context);
    if (work_.real_streams) {
      generate_request request;
      request.id = id;
      request.prompt = prompt;
      request.sampling.max_tokens = most_tokens();
      request.sampling.ignore_eos = true;
      return (*self_)->send(stream, submit_atom::value, std::move(request));
    }
    new_sequence sequence;
    sequence.id = id;
    sequence.prompt = std::make_shared<const prompt_tokens>(prompt);
    sequence.sampling = std::make_shared<const sequence_sampling>();
    sequence.max_tokens = most_tokens();
    (*self_)->send(tree_.engines.front().scheduler, add_atom::value, std::move(sequence), stream);
  }

  template <class Answer, class Actor, class... Args>
  Answer ask(const Actor& whom, Args... args) {
    Answer result;
    (*self_)
      ->request(whom, 60s, args...)
      .receive([&](Answer& answer) { result = std::move(answer); },
               [&](const caf::error& reason) { give_up("no answer: " + caf::to_string(reason)); });
    return result;
  }

  template <class Condition>
  void until(Condition holds) {
    for (int i = 0; i < 60000; ++i) {
      if (holds(ask<planner_counts>(tree_.engines.front().scheduler, status_atom::value)))
        return;
      std::this_thread::sleep_for(1ms);
    }
    give_up("the sequences do not get in");
  }

  static double cpu_seconds() {
    rusage usage;
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](timeval t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }

  figures summary() const {
    std::vector<double> step, launch, period;
    for (const auto& slot : board_->slots()) {
      const auto delivered = slot.delivered.load();
      if (delivered == 0)
        continue; // The last one or two, when all ended.
      const auto since = [&](std::uint64_t t) {
        return (static_cast<double>(t) - static_cast<double>(slot.answered)) / 1e3;
      };
      step.push_back(since(std::max(delivered, slot.next_launched)));
      launch.push_back(since(slot.next_launched));
      period.push_back(static_cast<double>(slot.next_launched - slot.launched) / 1e3);
    }
    const auto at = [](std::vector<double>& values, double share) {
      std::sort(values.begin(), values.end());
      return values.empty() ? 0.0 : values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
    };
    figures result;
    result.step_p50 = at(step, 0.5);
    result.step_p99 = at(step, 0.99);
    result.launch_p50 = at(launch, 0.5);
    result.launch_p99 = at(launch, 0.99);
    result.period_p50 = at(period, 0.5);
    return result;
  }

  workload work_;
  std::shared_ptr<const model> source_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::shared_ptr<step_board> board_;
  std::unique_ptr<caf::scoped_actor> self_;
  supervisor_actor engine_;
  actor_tree tree_;
  std::vector<stream_actor> streams_;
  std::vector<client_actor> clients_;
  sequence_id last_id_ = 0;
};

std::shared_ptr<const model> load(const std::string& path) {
  if (!path.empty()) {
    auto loaded = load_model(path);
    if (!loaded)
      give_up(loaded.error().message);
    return *loaded;
  }
  test::tiny_model_options options;
  options.context = 65536;
  auto file = gguf::parse(test::tiny_model(options));
  auto loaded = load_model(*file, "tiny");
  return *loaded;
}

void print(std::FILE* to, const workload& work, const figures& f) {
  std::fprintf(
    to,
    "batch %5u context %5u waiting %5u worker %5d us %s: step %7.1f p99 %7.1f  launch %6.1f p99 %7.1f  period %7.1f  "
    "cpu %7.1f us  %5.1f messages %8.0f bytes |",
    work.batch, work.context, work.waiting, work.worker_us, work.real_streams ? "real" : "fake", f.step_p50,
    f.step_p99, f.launch_p50, f.launch_p99, f.period_p50, f.cpu_us, f.messages, f.bytes);
  for (const auto& [name, us] : f.actor_us)
    if (us >= 0.05)
      std::fprintf(to, " %s %.1f", name.c_str(), us);
  std::fprintf(to, "\n");
  std::fflush(to);
}

nlohmann::json all_figures(const workload& given, const std::vector<std::uint32_t>& batches,
                           const std::shared_ptr<const model>& source) {
  nlohmann::json out;
  const auto measure = [&](workload work) {
    const auto f = run(work, source).measure();
    print(stderr, work, f);
    return f;
  };
  for (auto batch : batches) {
    const auto key = std::to_string(batch);
    auto work = given;
    work.batch = batch;
    const auto step = measure(work);
    out["step_us_p50"][key] = step.step_p50;
    out["step_us_p99"][key] = step.step_p99;
    work.worker_us = 0;
    const auto loaded = measure(work);
    out["cpu_us"][key] = loaded.cpu_us;
    out["messages"][key] = loaded.messages;
    out["bytes"][key] = loaded.bytes;
    out["actor_us"][key] = loaded.actor_us;
    work.in_flight = 1;
    const auto launch = measure(work);
    out["launch_us_p50"][key] = launch.launch_p50;
    out["launch_us_p99"][key] = launch.launch_p99;
    work.in_flight = 2;
    work.worker_us = 2000;
    work.steps = std::min(work.steps, 500u);
    out["idle_us_p50"][key] = measure(work).launch_p50;
    const auto parts = measure_parts(batch, given.context, given.steps);
    out["parts_us"][key] = {{"plan", parts.plan_us}, {"take", parts.take_us}, {"cache", parts.cache_us}};
  }
  for (auto waiting : {0u, 100u, 1000u, 10000u}) {
    auto work = given;
    work.waiting = waiting;
    out["waiting"][std::to_string(waiting)] = measure(work).step_p50;
  }
  for (auto context : {100u, 1000u, 8000u, 32000u}) {
    auto work = given;
    work.batch = 64;
    work.context = context;
    out["context"][std::to_string(context)] = measure(work).step_p50;
  }
  return out;
}

} // namespace

} // namespace troupe::bench

int main(int argc, char** argv) {
  using namespace troupe::bench;
  CLI::App app("The control side of a decode step");
  std::string model;
  workload work;
  std::vector<std::uint32_t> batches{64, 256, 1024, 2048};
  bool json = false;
  app.add_option("--model", model, "a GGUF file whose vocabulary real streams use");
  app.add_option("--batches", batches)->delimiter(',');
  app.add_option("--context", work.context);
  app.add_option("--waiting", work.waiting);
  app.add_option("--steps", work.steps);
  app.add_option("--worker-us", work.worker_us, "-1: answers when the step before has been delivered; 0: at once");
  app.add_option("--in-flight", work.in_flight);
  app.add_flag("--real-streams", work.real_streams);
  app.add_flag("--json", json, "all figures; progress goes to stderr");
  CLI11_PARSE(app, argc, argv);
  const auto source = load(model);
  if (json) {
    std::cout << all_figures(work, batches, source).dump(2) << "\n";
    return 0;
  }
  for (auto batch : batches) {
    work.batch = batch;
    print(stdout, work, run(work, source).measure());
    const auto parts = measure_parts(batch, work.context, work.steps);
    std::printf("batch %5u without actors: plan %.1f us, take %.1f us, cache %.1f us\n", batch, parts.plan_us,
                parts.take_us, parts.cache_us);
  }
}
