// The whole engine, actors and all, on the work that bench/peers/run gives to the peers: prefill of 512 tokens,
// decode at batch 1 after 512, and 64 tokens in, 64 out at batch 8 and 32. Prints a figure a line, each the median of
// the rounds.
//
//   build/bench/engine MODEL.gguf [--threads N] [--rounds N]
#include <algorithm>
#include <chrono>
#include <iostream>
#include <random>

#include <CLI/CLI.hpp>

#include "actors/system.hpp"
#include "cpu/backends.hpp"
#include "protocol/limits.hpp"

namespace {

using namespace troupe;

class bench_client {
public:
  bench_client(caf::actor_system& system, const supervisor_actor& engine) : self_(system) {
    const auto handle = caf::actor_cast<client_actor>(caf::strong_actor_ptr{self_->ctrl()});
    self_
      ->request(engine, std::chrono::seconds(60), open_atom::value, handle, connection_id{0}, max_requests_per_client)
      .receive([&](stream_actor& stream) { stream_ = std::move(stream); }, [](const caf::error&) { std::exit(1); });
  }

  void submit(prompt_tokens tokens, std::uint32_t max_tokens) {
    generate_request request;
    request.id = ++last_id_;
    request.prompt = std::move(tokens);
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    self_->send(stream_, submit_atom::value, std::move(request));
    ++open_;
  }

  /// Waits for all; the end of the last one.
  request_end wait() {
    request_end last;
    const auto take = [&](const request_end& end) {
      if (end.reason != finish_reason::length) {
        std::cerr << "A request did not run to its length: " << end.failure.message << "\n";
        std::exit(1);
      }
      last = end;
      --open_;
    };
    self_->receive_while([&] { return open_ > 0; })([&](deliver_atom, const delivery& what) {
      for (const auto& message : what.messages)
        if (const auto* step = std::get_if<step_deltas>(&message))
          std::for_each(step->ends.begin(), step->ends.end(), take);
        else if (const auto* end = std::get_if<request_end>(&message)) // Apart from a step: a refusal.
          take(*end);
    });
    return last;
  }

private:
  caf::scoped_actor self_;
  stream_actor stream_;
  request_id last_id_ = 0;
  std::uint32_t open_ = 0;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class measurements {
public:
  measurements(bench_client& client, std::uint32_t vocabulary, int rounds)
      : client_(client), vocabulary_(vocabulary), rounds_(rounds) {}

  void run() {
    client_.submit(new_prompt(64), 4); // warms the caches, as the peers' own benchmarks do
    client_.wait();
    std::vector<double> prefill, decode;
    for (int i = 0; i < rounds_; ++i) {
      client_.submit(new_prompt(512), 65);
      const auto t = client_.wait().timings;
      prefill.push_back(512 * 1e3 / t.first_token_ms);
      decode.push_back(64 * 1e3 / (t.total_ms - t.first_token_ms));
    }
    print("prefill512_tok_s", prefill);
    print("decode1_tok_s", decode);
    for (int batch : {8, 32}) {
      std::vector<double> rates;
      for (int i = 0; i < rounds_; ++i) {
        const auto start = std::chrono::steady_clock::now();
        for (int j = 0; j < batch; ++j)
          client_.submit(new_prompt(64), 64);
        client_.wait();
        rates.push_back(batch * 64 / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
      print(("batch" + std::to_string(batch) + "_out_tok_s").c_str(), rates);
    }
  }

private:
  prompt_tokens new_prompt(std::size_t length) {
    prompt_tokens tokens(length);
    for (auto& token : tokens)
      token = static_cast<token_id>(random_() % vocabulary_);
    return tokens;
  }

  void print(const char* name, const std::vector<double>& values) const {
    std::cout << "troupe " << name << " " << std::round(10 * median(values)) / 10 << std::endl;
  }

  bench_client& client_;
  std::uint32_t vocabulary_;
  int rounds_;
  std::mt19937 random_{7};
};

} // namespace

int main(int argc, char** argv) {
  CLI::App app("The engine on the peers' work");
  std::string path;
  backend_options device;
  int rounds = 3;
  app.add_option("MODEL", path)->required();
  app.add_option("--threads", device.threads);
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 100));
  CLI11_PARSE(app, argc, argv);
  auto source = load_model(path);
  if (!source) {
    std::cerr << source.error().message << "\n";
    return 1;
  }
  engine_options options;
  options.source = *source;
  options.kv_blocks = 8192 / tokens_per_block;
  device.kv_blocks = options.kv_blocks;
  device.max_rows = options.plan.max_batched_tokens;
  device.max_logit_rows = options.plan.max_logit_rows;
  options.make_backend = [device, source = *source] {
    return make_cpu_backend(source->file, source->program, device);
  };
  caf::actor_system_config config;
  configure(config);
  caf::actor_system system(config);
  auto engine = spawn_engine(system, std::move(options));
  {
    bench_client client(system, engine);
    measurements(client, (*source)->program.vocabulary, rounds).run();
  }
  caf::anon_send(engine, stop_atom::value);
  engine = nullptr;
  system.await_all_actors_done();
}
