// Troupe inside an actor system of your own.
//
// This program has a CAF system for its own purposes. It spawns an engine's actors into it, and an actor of its own,
// the `journalist`, that asks two questions at once and prints each answer when it has ended.
//
//   build/examples/embedding [MODEL.gguf]
#include <cstdlib>
#include <iostream>
#include <map>

#include "actors/system.hpp"
#include "cpu/backends.hpp"
#include "protocol/limits.hpp"

namespace {

using namespace troupe;

struct journalist_state {
  std::map<request_id, std::string> answers;
};

/// A client is any actor that takes deliveries. Each request ends with exactly one `request_end`, whatever happens.
client_actor::behavior_type journalist(client_actor::stateful_pointer<journalist_state> self, supervisor_actor engine,
                                       std::vector<std::string> questions) {
  self
    ->request(engine, std::chrono::seconds(10), open_atom::value, client_actor(self), connection_id{1},
              max_requests_per_client)
    .then([=](const stream_actor& stream) {
      request_id id = 0;
      for (const auto& question : questions) {
        generate_request request;
        request.id = ++id;
        request.prompt = prompt_messages{{"user", question}};
        request.sampling.max_tokens = 64;
        self->send(stream, submit_atom::value, std::move(request));
        self->state.answers[id] = question + "\n  ";
      }
    });
  return {
    [=](deliver_atom, const delivery& what) {
      auto& answers = self->state.answers;
      auto end_answer = [&](const request_end& end) {
        std::cout << answers[end.id] << "\n  [" << to_string(end.reason) << end.failure.message << "]\n";
        answers.erase(end.id);
      };
      for (const auto& message : what.messages) {
        if (const auto* step = std::get_if<step_deltas>(&message)) {
          for (const auto& delta : step->deltas)
            answers[delta.id] += delta.text;
          for (const auto& end : step->ends)
            end_answer(end);
        } else if (const auto* end = std::get_if<request_end>(&message)) {
          end_answer(*end);
        }
      }
      if (answers.empty())
        self->quit();
    },
  };
}

/// How many tokens of all requests together fit in the KV cache of this engine.
constexpr std::uint32_t kv_tokens = 4096;

expected<engine_options> options_for(const std::string& path) {
  auto source = load_model(path);
  if (!source)
    return tl::unexpected(source.error());
  engine_options options;
  options.source = *source;
  options.kv_blocks = kv_tokens / tokens_per_block;
  backend_options device;
  device.kv_blocks = options.kv_blocks;
  device.max_rows = options.plan.max_batched_tokens;
  device.max_logit_rows = options.plan.max_logit_rows;
  options.make_backend = [device, source = *source] {
    return make_cpu_backend(source->file, source->program, device);
  };
  return options;
}

std::string default_model() {
  const char* home = std::getenv("HOME");
  return std::string(home ? home : ".") + "/.cache/troupe/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

} // namespace

int main(int argc, char** argv) {
  auto options = options_for(argc > 1 ? argv[1] : default_model());
  if (!options) {
    std::cerr << options.error().message << "\n";
    return 1;
  }
  caf::actor_system_config config;
  troupe::configure(config); // Your own settings may follow.
  caf::actor_system system(config);
  auto engine = troupe::spawn_engine(system, std::move(*options));
  auto asker = system.spawn(
    journalist, engine, std::vector<std::string>{"What is the capital of France?", "Who wrote Romeo and Juliet?"});
  {
    caf::scoped_actor self(system);
    self->wait_for(asker);
  }
  asker = nullptr;
  caf::anon_send(engine, stop_atom::value);
  engine = nullptr;
  system.await_all_actors_done();
}
