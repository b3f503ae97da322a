// A real stream, router and tokenizer, between a client and schedulers that are all played by the test's thread.
#pragma once

#include <boost/test/unit_test.hpp>

#include <map>
#include <set>

#include "actors/router.hpp"
#include "actors/stream.hpp"
#include "actors/tokenizing.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::test {

using namespace std::chrono_literals;

class stream_fixture {
public:
  struct choice {
    std::vector<token_id> tokens;
    std::string text;
    std::vector<token_logprob> logprobs;
  };
  struct answer {
    std::map<std::uint32_t, choice> choices;
    std::vector<token_logprob> prompt_logprobs;
    std::vector<request_end> ends;
  };

  explicit stream_fixture(admission_limits limits = {}, std::size_t engines = 1)
      : system_(config_), client_(system_) {
    std::vector<scheduler_actor> schedulers;
    for (std::size_t i = 0; i < engines; ++i) {
      schedulers_.push_back(std::make_unique<caf::scoped_actor>(system_));
      schedulers.push_back(handle<scheduler_actor>(*schedulers_.back()));
    }
    auto file = gguf::parse(tiny_model());
    BOOST_REQUIRE(file);
    auto loaded = load_model(*file, "tiny");
    BOOST_REQUIRE(loaded);
    source = *loaded;
    router = system_.spawn(troupe::router, limits, std::move(schedulers));
    tokenizer = system_.spawn(tokenizing, source, 1u << 20);
    stream = new_stream(tokenizer);
  }

  ~stream_fixture() {
    for (const auto& actor : {caf::actor_cast<caf::actor>(stream), caf::actor_cast<caf::actor>(router),
                              caf::actor_cast<caf::actor>(tokenizer)})
      caf::anon_send_exit(actor, caf::exit_reason::kill);
  }

  stream_actor new_stream(const tokenizer_actor& which) {
    return system_.spawn(troupe::stream,
                         stream_context{source, router, which, handle<client_actor>(client_), 7,
                                        max_requests_per_client, scheduling_policy::kind_type::priority,
                                        std::make_shared<const prompt_tokens>(source->end_tokens())});
  }

  // --- the client ---

  template <class... Ts>
  void say(Ts... what) {
    client_->send(stream, std::move(what)...);
  }

  void submit(request_id id, prompt text, const std::function<void(generate_request&)>& change = {}) {
    generate_request request;
    request.id = id;
    request.prompt = std::move(text);
    if (change)
      change(request);
    say(submit_atom::value, std::move(request));
  }

  void cancel(request_id id) { say(cancel_atom::value, id); }

  /// Takes messages until `done`, or fails.
  void take_until(const std::function<bool()>& done) {
    while (!done()) {
      bool late = false;
      client_->receive([&](deliver_atom, delivery& what) { take(what); }, caf::after(20s) >> [&] { late = true; });
      BOOST_REQUIRE_MESSAGE(!late, "nothing came for 20 seconds");
    }
  }

  const request_end& wait_end(request_id id) {
    take_until([&] { return !answers[id].ends.empty(); });
    return answers[id].ends.front();
  }

  /// Until the stream has seen all that was sent to it before, and all that it sent has come.
  void flush() {
    const auto id = ++last_flush_;
    say(fail_atom::value, id, error{errc::malformed, "flush"});
    wait_end(id);
  }

  // --- the scheduler ---

  /// Until so many sequences more have been added.
  void wait_added(std::size_t count) {
    count += added_seen_;
    added_seen_ = count;
    while (added.size() < count)
      BOOST_REQUIRE_MESSAGE(take_order(20s), "no sequence was added for 20 seconds");
  }

  /// What the stream has told the scheduler so far.
  void take_orders() {
    for (bool more = true; more;) { // To some the stream says more once they are answered.
      flush();
      more = false;
      while (take_order(0s))
        more = true;
    }
  }

  void play(stream_events events) { (*schedulers_[playing])->send(stream, tokens_atom::value, std::move(events)); }

  void play(sequence_id sequence, std::uint32_t index, token_id token, std::optional<finish_reason> finished = {}) {
    stream_events events;
    events.tokens.push_back({sequence, index, token, sequence_event::finished_by(finished)});
    play(std::move(events));
  }

  /// A token for each byte, one step each.
  void play_text(sequence_id sequence, const std::string& text, std::optional<finish_reason> finished = {}) {
    for (std::size_t i = 0; i < text.size(); ++i)
      play(sequence, next_index[sequence]++, token_of(text[i]), i + 1 == text.size() ? finished : std::nullopt);
  }

  void kill_scheduler() { schedulers_[playing] = std::make_unique<caf::scoped_actor>(system_); }

  // --- the tokenizer ---

  /// From now on the test is the tokenizer too, and answers nothing until `fail_encodes`.
  void replace_tokenizer() {
    silent_tokenizer_.emplace(system_);
    caf::anon_send_exit(stream, caf::exit_reason::kill);
    stream = new_stream(handle<tokenizer_actor>(*silent_tokenizer_));
  }

  void wait_encodes(int count) {
    for (; count > 0; --count)
      (*silent_tokenizer_)
        ->receive(
          [this](encode_atom, const encode_request&) {
            promises_.push_back((*silent_tokenizer_)->make_response_promise<expected<encoded_prompt>>());
          },
          caf::after(20s) >> [] { BOOST_FAIL("nothing was to be encoded for 20 seconds"); });
  }

  void fail_encodes() {
    for (auto& promise : std::exchange(promises_, {}))
      promise.deliver(caf::make_error(caf::sec::runtime_error));
  }

  token_id token_of(char byte) const {
    const auto tokens = source->tokens->encode(std::string(1, byte));
    BOOST_REQUIRE(tokens.size() == 1u);
    return tokens[0];
  }

  // --- the router ---

  router_status status() {
    router_status result;
    caf::scoped_actor self(system_);
    self->request(router, 20s, status_atom::value)
      .receive([&](router_status& s) { result = s; }, [](const caf::error& e) { BOOST_ERROR(caf::to_string(e)); });
    return result;
  }

  void eventually_closed() {
    for (int i = 0; i < 20000 && status().open_requests > 0; ++i)
      std::this_thread::sleep_for(1ms);
    BOOST_TEST(status().open_requests == 0u);
  }

  caf::actor_system& system() { return system_; }

  std::shared_ptr<const model> source;
  router_actor router;
  tokenizer_actor tokenizer;
  stream_actor stream;

  std::map<request_id, answer> answers;
  std::vector<protocol_error> errors;
  std::size_t deliveries = 0;

  engine_index playing = 0; ///< Whose scheduler the test is now.
  std::vector<new_sequence> added;
  std::size_t flow_changes = 0;
  std::set<sequence_id> removed, paused;
  std::map<sequence_id, std::uint64_t> granted; ///< What it came with, and what was added.
  std::map<sequence_id, std::uint32_t> next_index;

private:
  template <class Handle>
  static Handle handle(caf::scoped_actor& self) {
    return caf::actor_cast<Handle>(caf::strong_actor_ptr{self->ctrl()});
  }

  void take(delivery& what) {
    ++deliveries;
    BOOST_TEST(what.connection == 7u);
    for (auto& message : what.messages) {
      if (auto* step = std::get_if<step_deltas>(&message)) {
        for (auto& delta : step->deltas)
          take(delta);
        for (auto& end : step->ends)
          take(end);
      } else if (auto* end = std::get_if<request_end>(&message)) {
        take(*end);
      } else {
        BOOST_REQUIRE(std::holds_alternative<protocol_error>(message));
        errors.push_back(std::get<protocol_error>(message));
      }
    }
  }

  void take(token_delta& delta) {
    auto& a = answers[delta.id];
    BOOST_TEST(a.ends.empty(), "a delta came after the end");
    auto& c = a.choices[delta.choice];
    BOOST_TEST(delta.position == c.tokens.size());
    c.tokens.insert(c.tokens.end(), delta.token_ids.begin(), delta.token_ids.end());
    c.text += delta.text;
    c.logprobs.insert(c.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
    a.prompt_logprobs.insert(a.prompt_logprobs.end(), delta.prompt_logprobs.begin(), delta.prompt_logprobs.end());
  }

  void take(request_end& end) {
    auto& a = answers[end.id];
    BOOST_TEST(a.ends.empty(), "a request ended twice");
    a.ends.push_back(end);
  }

  bool take_order(std::chrono::seconds wait) {
    bool got = true;
    (*schedulers_[playing])
      ->receive([&](watch_atom, const engine_watcher_actor&, engine_index) {},
                [&](add_atom, new_sequence& s, const stream_actor&) {
                  BOOST_TEST(!granted.count(s.id), "a sequence was added twice");
                  granted[s.id] = s.credit;
                  added.push_back(std::move(s));
                },
                [&](remove_atom, sequence_id id) { removed.insert(id); },
                [&](credit_atom, sequence_id id, std::uint32_t tokens) { granted[id] += tokens; },
                [&](flow_atom, const flow_change& change) {
                  for (std::uint32_t i = 0; i < change.sequences; ++i)
                    change.paused ? void(paused.insert(change.first + i)) : void(paused.erase(change.first + i));
                  for (const auto& share : change.credit)
                    granted[change.first + share.choice] += share.tokens;
                  ++flow_changes;
                  return change.sequences;
                },
                caf::after(wait) >> [&] { got = false; });
    return got;
  }

  caf::actor_system_config config_;
  caf::actor_system system_;
  caf::scoped_actor client_;
  std::vector<std::unique_ptr<caf::scoped_actor>> schedulers_;
  std::optional<caf::scoped_actor> silent_tokenizer_;
  std::vector<caf::typed_response_promise<expected<encoded_prompt>>> promises_;
  std::size_t added_seen_ = 0;
  request_id last_flush_ = 1u << 30;
};

inline const prompt_tokens some_prompt{10, 11, 12, 13, 14};

inline auto answers_wanted(std::uint32_t n, std::uint32_t best_of = 0) {
  return [=](generate_request& r) {
    r.n = n;
    r.best_of = best_of;
  };
}

} // namespace troupe::test
