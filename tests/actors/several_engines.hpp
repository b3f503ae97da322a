// Several whole engines over fake devices behind one router, put together without a supervisor, so that any part can be
// killed: nothing is replaced but by the test.
#pragma once

#include "actors/executor.hpp"
#include "actors/kv_cache.hpp"
#include "actors/router.hpp"
#include "actors/scheduler.hpp"
#include "actors/stage.hpp"
#include "actors/stream.hpp"
#include "actors/tokenizing.hpp"
#include "tests/actors/engine_fixture.hpp"

namespace troupe::test {

class several_engines {
public:
  struct engine {
    std::shared_ptr<fake_device> device = std::make_shared<fake_device>();
    executor_actor executor;
    kv_cache_actor kv_cache;
    scheduler_actor scheduler;
    worker_actor worker;
    stage_actor stage;
  };

  explicit several_engines(std::size_t count, std::uint32_t kv_blocks = 64) : kv_blocks_(kv_blocks) {
    configure(config_);
    system_ = std::make_unique<caf::actor_system>(config_);
    self_ = std::make_unique<caf::scoped_actor>(*system_);
    std::vector<scheduler_actor> schedulers;
    for (std::size_t i = 0; i < count; ++i) {
      engines.push_back(make());
      schedulers.push_back(engines.back().scheduler);
    }
    router = system_->spawn(troupe::router, admission_limits{}, schedulers);
    tokenizer_ = system_->spawn(tokenizing, tiny(), 1u << 20);
    stream_ = system_->spawn(troupe::stream,
                             stream_context{tiny(), router, tokenizer_,
                                            caf::actor_cast<client_actor>(caf::strong_actor_ptr{(*self_)->ctrl()}), 7,
                                            max_requests_per_client, scheduling_policy::kind_type::first_come,
                                            std::make_shared<const prompt_tokens>(tiny()->end_tokens())});
  }

  ~several_engines() {
    (*self_)->send(stream_, stop_atom::value);
    stream_ = nullptr;
    kill(router);
    kill(tokenizer_);
    for (auto& e : engines)
      end(e);
    self_.reset();
    system_->await_all_actors_done();
  }

  /// Takes the place of one that is down.
  void bring_back(engine_index index) {
    end(engines[index]);
    engines[index] = make();
    (*self_)->send(router, up_atom::value, index, engines[index].scheduler);
  }

  void kill_scheduler(engine_index index) { kill(engines[index].scheduler); }

  /// As an executor says when its workers have died too often.
  void give_up(engine_index index) {
    (*self_)->send(engines[index].scheduler, fail_atom::value, error{errc::unavailable, "It has given up."});
  }

  void submit(request_id id, prompt_tokens prompt, std::uint32_t max_tokens,
              const std::function<void(generate_request&)>& change = {}) {
    generate_request request;
    request.id = id;
    request.prompt = std::move(prompt);
    request.sampling.max_tokens = max_tokens;
    if (change)
      change(request);
    say(submit_atom::value, std::move(request));
  }

  template <class... Ts>
  void say(Ts... what) {
    (*self_)->send(stream_, std::move(what)...);
  }

  void take_until(const std::function<bool()>& done) {
    while (!done()) {
      bool late = false;
      (*self_)->receive([&](deliver_atom, delivery& what) { take(what); }, caf::after(30s) >> [&] { late = true; });
      BOOST_REQUIRE_MESSAGE(!late, "nothing came for 30 seconds");
    }
  }

  const answer& wait(request_id id) {
    take_until([&] { return answers[id].ended(); });
    return answers[id];
  }

  router_status status() { return ask<router_status>(router, status_atom::value); }

  template <class T, class Actor, class... Args>
  T ask(const Actor& actor, Args... args) {
    T result{};
    caf::scoped_actor self(*system_);
    self->request(actor, 30s, args...)
      .receive([&](T& answer) { result = std::move(answer); },
               [&](const caf::error& e) { BOOST_ERROR("no answer: " << caf::to_string(e)); });
    return result;
  }

  void eventually(const char* what, const std::function<bool()>& holds) {
    for (const auto deadline = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < deadline;) {
      if (holds())
        return;
      std::this_thread::sleep_for(1ms);
    }
    BOOST_ERROR("never came true: " << what);
  }

  /// Nothing of any request is left: at the router, and at engines that live.
  void check(const std::vector<engine_index>& living) {
    eventually("no request is open", [&] { return status().open_requests == 0; });
    for (const auto& e : status().engines)
      BOOST_TEST(e.open_sequences == 0u);
    for (auto index : living) {
      const auto& e = engines[index];
      eventually("every block is free", [&] {
        const auto blocks = ask<kv_status>(e.kv_cache, status_atom::value).blocks.at(0);
        const auto counts = ask<planner_counts>(e.scheduler, status_atom::value);
        return blocks.owned == 0 && counts.running == 0 && counts.waiting == 0;
      });
      BOOST_TEST(ask<expected<nothing>>(e.scheduler, check_atom::value).has_value());
      BOOST_TEST(ask<expected<nothing>>(e.kv_cache, check_atom::value).has_value());
    }
  }

  std::vector<engine> engines;
  router_actor router;
  std::map<request_id, answer> answers;

private:
  template <class Handle>
  static void kill(const Handle& who) {
    caf::anon_send_exit(who, caf::exit_reason::kill);
  }

  engine make() {
    engine e;
    e.device->vocabulary = tiny()->program.vocabulary;
    // Its supervisor is nobody: a worker that dies is not replaced.
    e.executor = system_->spawn(
      troupe::executor, caf::actor_cast<supervisor_actor>(caf::strong_actor_ptr{(*self_)->ctrl()}), 0u, observers{});
    kv_store_options cache;
    cache.groups = {{kv_blocks_, 0}};
    cache.events = true;
    auto store = kv_store::make(cache);
    BOOST_REQUIRE(store);
    kv_cache_partners partners;
    partners.executor = e.executor;
    e.kv_cache = system_->spawn(troupe::kv_cache, std::move(*store), std::move(partners));
    planner_options plan;
    plan.max_batched_tokens = 64;
    plan.max_sequences = 8;
    plan.context_length = tiny()->program.context_length;
    plan.groups = cache.groups;
    e.scheduler = system_->spawn(troupe::scheduler, plan, e.kv_cache, e.executor, 2u);
    worker_options options;
    options.make_backend = [device = e.device, blocks = kv_blocks_]() -> expected<std::unique_ptr<backend>> {
      return std::make_unique<fake_backend>(device, blocks);
    };
    options.vocabulary = e.device->vocabulary;
    options.results = e.executor;
    e.worker = system_->spawn<caf::detached>(worker, std::move(options));
    e.stage = system_->spawn(troupe::stage, std::vector{e.worker}, std::shared_ptr<shared_group>());
    (*self_)->send(e.executor, replace_atom::value, std::vector{e.stage});
    return e;
  }

  void end(engine& e) {
    e.device->steps_gate.open();
    kill(e.scheduler);
    kill(e.executor);
    kill(e.kv_cache);
    kill(e.stage);
    kill(e.worker);
    e = {};
  }

  void take(delivery& what) {
    for (auto& message : what.messages) {
      if (auto* step = std::get_if<step_deltas>(&message)) {
        for (auto& delta : step->deltas) {
          auto& a = answers[delta.id];
          auto& tokens = delta.choice == 0 ? a.tokens : a.others[delta.choice];
          BOOST_TEST(!a.ended(), "a token came after the end");
          BOOST_TEST(delta.position == tokens.size());
          tokens.insert(tokens.end(), delta.token_ids.begin(), delta.token_ids.end());
          if (delta.choice == 0) {
            a.text += delta.text;
            a.logprobs.insert(a.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
            a.prompt_logprobs.insert(a.prompt_logprobs.end(), delta.prompt_logprobs.begin(),
                                     delta.prompt_logprobs.end());
          }
        }
        for (auto& end : step->ends)
          take(end);
      } else if (auto* end = std::get_if<request_end>(&message)) {
        take(*end);
      }
    }
  }

  void take(request_end& end) {
    auto& a = answers[end.id];
    BOOST_TEST(!a.ended(), "a request ended twice");
    a.ends.push_back(std::move(end));
  }

  std::uint32_t kv_blocks_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<caf::scoped_actor> self_;
  tokenizer_actor tokenizer_;
  stream_actor stream_;
};

} // namespace troupe::test
