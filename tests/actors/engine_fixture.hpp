// A whole engine over a fake device, and clients that are played by the test's thread.
//
// Every teardown checks the contracts: no open request, no block owned, the accounts of scheduler and manager in
// order.
#pragma once

#include <boost/test/unit_test.hpp>

#include <functional>
#include <map>

#include "actors/system.hpp"
#include "protocol/limits.hpp"
#include "tests/support/fake_backend.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::test {

using namespace std::chrono_literals;

/// What one request has brought so far.
struct answer {
  std::vector<token_id> tokens; ///< Of the first of its answers.
  std::string text;
  std::map<std::uint32_t, std::vector<token_id>> others; ///< By choice.
  std::vector<token_logprob> logprobs, prompt_logprobs;  ///< Of the first one.
  std::vector<request_end> ends;
  bool ended() const { return !ends.empty(); }
};

inline std::shared_ptr<const model> load_tiny(const tiny_model_options& options) {
  auto file = gguf::parse(tiny_model(options));
  BOOST_REQUIRE_MESSAGE(file, file.error().message);
  auto result = load_model(*file, "tiny");
  BOOST_REQUIRE_MESSAGE(result, result.error().message);
  return *result;
}

inline std::shared_ptr<const model> tiny() {
  static const auto loaded = load_tiny({});
  return loaded;
}

class client;

class engine_fixture {
public:
  explicit engine_fixture(std::function<void(engine_options&)> change = {}) {
    configure(config_);
    system_ = std::make_unique<caf::actor_system>(config_);
    device = std::make_shared<fake_device>();
    device->vocabulary = tiny()->program.vocabulary;
    engine_options options;
    options.source = tiny();
    options.kv_blocks = 64;
    options.plan.max_batched_tokens = 64;
    options.plan.max_sequences = 8;
    if (change)
      change(options);
    if (!options.make_backend)
      options.make_backend = [device = device, blocks = options.kv_blocks]() -> expected<std::unique_ptr<backend>> {
        ++device->made;
        device->loading_gate.pass();
        if (device->refuse_to_load)
          return tl::unexpected(*device->refuse_to_load);
        return std::make_unique<fake_backend>(device, blocks);
      };
    supervisor = spawn_engine(*system_, std::move(options));
    caf::scoped_actor self(*system_);
    self->request(supervisor, 10s, tree_atom::value)
      .receive([&](actor_tree& handles) { tree = std::move(handles); },
               [&](const caf::error& e) { BOOST_FAIL("no tree: " << caf::to_string(e)); });
  }

  ~engine_fixture() {
    if (!expect_failure && supervisor) {
      eventually("every block is free and no request open", [&] {
        return blocks().owned == 0 && open_requests() == 0 && counts().running == 0 && counts().waiting == 0;
      });
      check();
    }
    stop();
    system_->await_all_actors_done();
  }

  /// Begins to stop, whatever is open; the end of the fixture waits for the end of it.
  void stop() {
    tree = {};
    if (supervisor)
      caf::anon_send(supervisor, stop_atom::value);
    supervisor = nullptr;
  }

  caf::actor_system& system() { return *system_; }

  planner_counts counts() { return ask<planner_counts>(tree.engines.front().scheduler, status_atom::value); }
  /// Of all KV groups together.
  kv_block_counts blocks() {
    kv_block_counts sum;
    for (const auto& group : ask<kv_status>(tree.engines.front().kv_cache, status_atom::value).blocks) {
      sum.total += group.total;
      sum.free += group.free;
      sum.cached += group.cached;
      sum.leased += group.leased;
      sum.owned += group.owned;
    }
    return sum;
  }
  std::uint32_t open_requests() { return ask<router_status>(tree.router, status_atom::value).open_requests; }

  void check() {
    auto scheduler_ok = ask<expected<nothing>>(tree.engines.front().scheduler, check_atom::value);
    BOOST_CHECK_MESSAGE(scheduler_ok, (scheduler_ok ? "" : scheduler_ok.error().message));
    auto blocks_ok = ask<expected<nothing>>(tree.engines.front().kv_cache, check_atom::value);
    BOOST_CHECK_MESSAGE(blocks_ok, (blocks_ok ? "" : blocks_ok.error().message));
  }

  template <class T, class Actor, class... Args>
  T ask(const Actor& actor, Args... args) {
    T result{};
    caf::scoped_actor self(*system_);
    self->request(actor, patience, args...)
      .receive([&](T& answer) { result = std::move(answer); },
               [&](const caf::error& e) { BOOST_ERROR("no answer: " << caf::to_string(e)); });
    return result;
  }

  /// For what comes through several mailboxes: the moment cannot be known, but it must come.
  void eventually(const char* what, const std::function<bool()>& holds) {
    for (const auto deadline = std::chrono::steady_clock::now() + patience;
         std::chrono::steady_clock::now() < deadline;) {
      if (holds())
        return;
      std::this_thread::sleep_for(1ms);
    }
    BOOST_ERROR("never came true: " << what);
  }

  /// The tokens that the fake device gives to a prompt of these.
  std::vector<token_id> right_answer(const std::vector<token_id>& prompt, std::size_t count) const {
    return fake_answer(prompt, count, device->vocabulary);
  }

  std::shared_ptr<fake_device> device;
  supervisor_actor supervisor;
  actor_tree tree;
  std::chrono::seconds patience{30}; ///< So long a test waits for anything before it fails.
  /// Whether the engine has moved since this was last asked: then whoever waits has more patience.
  std::function<bool()> has_moved = [] { return false; };
  bool expect_failure = false; ///< The engine gives up in this test: its accounts are not checked.

private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
};

/// One connection, with all that it was sent.
class client {
public:
  explicit client(engine_fixture& engine) : engine_(engine), self_(engine.system()) {
    const auto handle = caf::actor_cast<client_actor>(caf::strong_actor_ptr{self_->ctrl()});
    self_->request(engine.supervisor, 10s, open_atom::value, handle, connection_id{7}, max_requests_per_client)
      .receive([&](stream_actor& s) { stream_ = std::move(s); },
               [&](const caf::error& e) { BOOST_FAIL("no stream: " << caf::to_string(e)); });
  }

  ~client() { close(); }

  void close() {
    if (stream_)
      self_->send(stream_, stop_atom::value);
    stream_ = nullptr;
  }

  /// The stream dies without a word, as by a bug.
  void kill_stream() {
    caf::anon_send_exit(stream_, caf::exit_reason::kill);
    stream_ = nullptr;
  }

  void submit(request_id id, prompt text, std::uint32_t max_tokens,
              const std::function<void(generate_request&)>& change = {}) {
    generate_request request;
    request.id = id;
    request.prompt = std::move(text);
    request.sampling.max_tokens = max_tokens;
    if (change)
      change(request);
    submit(std::move(request));
  }
  void submit(generate_request request) { self_->send(stream_, submit_atom::value, std::move(request)); }

  void cancel(request_id id) { self_->send(stream_, cancel_atom::value, id); }
  void pause(request_id id) { self_->send(stream_, pause_atom::value, id); }
  void resume(request_id id) { self_->send(stream_, resume_atom::value, id); }
  void grant(request_id id, std::uint32_t tokens) {
    self_->send(stream_, credit_atom::value, credit_grant{id, tokens});
  }

  /// Takes messages until `done`, or fails.
  void take_until(const std::function<bool()>& done) {
    while (!done()) {
      bool timed_out = false;
      self_->receive([&](deliver_atom, delivery& what) { take(what); },
                     caf::after(engine_.patience) >> [&] { timed_out = true; });
      BOOST_REQUIRE_MESSAGE(!timed_out || engine_.has_moved(),
                            "nothing came for " << engine_.patience.count() << " seconds");
    }
  }

  /// Takes what is there and waits for nothing.
  void take_present() {
    bool more = true;
    while (more)
      self_->receive([&](deliver_atom, delivery& what) { take(what); }, caf::after(0ms) >> [&] { more = false; });
  }

  const answer& wait(request_id id) {
    take_until([&] { return answers[id].ended(); });
    return answers[id];
  }

  std::map<request_id, answer> answers;
  std::vector<protocol_error> errors;

private:
  void take(delivery& what) {
    BOOST_TEST(what.connection == 7u);
    for (auto& message : what.messages) {
      if (auto* step = std::get_if<step_deltas>(&message)) {
        for (auto& delta : step->deltas)
          take(delta);
        for (auto& end : step->ends)
          take(end);
      } else if (auto* end = std::get_if<request_end>(&message)) {
        take(*end);
      } else if (auto* problem = std::get_if<protocol_error>(&message)) {
        errors.push_back(*problem);
      }
    }
  }

  void take(token_delta& delta) {
    auto& a = answers[delta.id];
    auto& tokens = delta.choice == 0 ? a.tokens : a.others[delta.choice];
    BOOST_TEST(!a.ended(), "a token came after the end");
    BOOST_TEST(delta.position == tokens.size());
    tokens.insert(tokens.end(), delta.token_ids.begin(), delta.token_ids.end());
    if (delta.choice > 0)
      return;
    a.text += delta.text;
    a.logprobs.insert(a.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
    a.prompt_logprobs.insert(a.prompt_logprobs.end(), delta.prompt_logprobs.begin(), delta.prompt_logprobs.end());
  }

  void take(request_end& end) {
    auto& a = answers[end.id];
    BOOST_TEST(!a.ended(), "a request ended twice");
    auto given = a.tokens.size();
    for (const auto& [choice, tokens] : a.others)
      given += tokens.size();
    BOOST_TEST(end.usage.completion_tokens >= given); // More where only the best answers are given.
    if (end.choices.empty())
      BOOST_TEST(end.usage.completion_tokens == given);
    a.ends.push_back(end);
  }

  engine_fixture& engine_;
  caf::scoped_actor self_;
  stream_actor stream_;
};

/// A prompt of token ids that depends on its number.
inline prompt_tokens numbered_prompt(std::uint32_t number, std::size_t length) {
  prompt_tokens tokens;
  for (std::size_t i = 0; i < length; ++i)
    tokens.push_back(static_cast<token_id>(3 + (number * 31 + i * 7) % 250));
  return tokens;
}

} // namespace troupe::test
