#include "serve/http/front.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "actors/admin.hpp"
#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/timeouts.hpp"
#include "serve/observe/actor_rows.hpp"

namespace troupe::serve {

namespace {

using namespace std::chrono_literals;

constexpr connection_id report_connection = front_streams; ///< That of the answers to `answer_admin`.
constexpr auto reopening = 100ms;                          ///< After a stream's death.
constexpr auto opening = 10s;
constexpr std::uint32_t as_admitted = 0; ///< Of a stream that carries many clients: the router alone says how many.

class front_link;

struct front_state {
  front_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  /// What is known of the answer to one question.
  struct question {
    std::optional<admin_reply> reply;
    engine_report report;
    std::size_t awaited = 2; ///< The reply, and what comes of executors.
    std::size_t loaded = 0;  ///< Engines whose workers have their weights.
    bool with_actors = false;
  };

  supervisor_actor supervisor;
  client_actor self;
  engine_door door;
  std::weak_ptr<front_link> link;
  std::array<stream_actor, front_streams> streams;
  std::map<std::uint64_t, question> questions;
  static inline const char* name = "http";
};

using self_pointer = caf::stateful_actor<front_state>*;

class front_link : public engine_link {
public:
  ~front_link() override {
    if (front_)
      caf::anon_send_exit(front_, caf::exit_reason::user_shutdown); // The streams see it.
  }
  void belong_to(caf::actor front) { front_ = std::move(front); } // Before anybody else knows of it.

  std::optional<std::uint32_t> choose_stream() override {
    for (std::uint32_t i = 0; i < front_streams; ++i)
      if (const auto which = next_++ % front_streams; streams_[which])
        return which;
    return std::nullopt;
  }

  void submit(std::uint32_t stream, generate_request request) override {
    send(stream, submit_atom::value, std::move(request));
  }
  void cancel(std::uint32_t stream, request_id id) override { send(stream, cancel_atom::value, id); }
  void pause(std::uint32_t stream, request_id id) override { send(stream, pause_atom::value, id); }
  void resume(std::uint32_t stream, request_id id) override { send(stream, resume_atom::value, id); }

  void ask_report(bool with_actors, report_taker take) override {
    takers_.emplace(++last_question_, std::move(take));
    caf::anon_send(front_, status_atom::value, last_question_, with_actors);
  }

  // What the actor says, in the thread of the sockets.

  void take_report(std::uint64_t question, expected<engine_report> report) {
    if (auto found = takers_.extract(question))
      found.mapped()(std::move(report));
  }
  void replace_stream(std::uint32_t stream, stream_actor fresh) { streams_[stream] = std::move(fresh); }
  void end() {
    for (auto& stream : streams_)
      stream = nullptr;
  }

private:
  template <class... Args>
  void send(std::uint32_t stream, Args&&... args) {
    if (streams_[stream])
      caf::anon_send(streams_[stream], std::forward<Args>(args)...);
  }

  caf::actor front_;
  std::array<stream_actor, front_streams> streams_;
  std::uint32_t next_ = 0;
  std::map<std::uint64_t, report_taker> takers_;
  std::uint64_t last_question_ = 0;
};

/// Has the link called in the thread of the sockets.
template <class What>
void tell_link(self_pointer self, What what) {
  self->state.door([weak = self->state.link, what = std::move(what)](engine_listener& listener) mutable {
    if (auto link = weak.lock())
      what(*link, listener);
  });
}

// --- streams ---------------------------------------------------------------------------------------------------------

void use_stream(self_pointer self, std::uint32_t which, const stream_actor& stream) {
  self->monitor(stream);
  self->state.streams[which] = stream;
  tell_link(self, [=](front_link& link, engine_listener&) { link.replace_stream(which, stream); });
}

void open_stream(self_pointer self, std::uint32_t which) {
  const auto& state = self->state;
  ask<stream_actor>(
    self, state.supervisor, opening, [=](const stream_actor& stream) { use_stream(self, which, stream); },
    [=](const caf::error&) { self->delayed_send(self, reopening, open_atom::value, which); }, open_atom::value,
    state.self, connection_id{which}, as_admitted);
}

void stream_died(self_pointer self, const caf::actor_addr& who) {
  auto& streams = self->state.streams;
  for (std::uint32_t which = 0; which < front_streams; ++which) {
    if (!streams[which] || streams[which].address() != who)
      continue;
    streams[which] = nullptr;
    tell_link(self, [=](front_link& link, engine_listener& listener) {
      link.replace_stream(which, stream_actor());
      listener.stream_lost(which, {errc::unavailable, "The server has lost this request: send it again."});
    });
    self->delayed_send(self, reopening, open_atom::value, which);
  }
}

void engine_ended(self_pointer self, const caf::error& reason) {
  tell_link(self, [](front_link& link, engine_listener& listener) {
    link.end();
    for (std::uint32_t which = 0; which < front_streams; ++which)
      listener.stream_lost(which, {errc::unavailable, "The engine has ended."});
  });
  self->quit(reason);
}

// --- reports ---------------------------------------------------------------------------------------------------------

/// One more answer to this question is there: the last one is told.
void settle(self_pointer self, std::uint64_t number) {
  auto& questions = self->state.questions;
  const auto found = questions.find(number);
  if (--found->second.awaited > 0)
    return;
  auto& [reply, report, awaited, loaded, with_actors] = found->second;
  expected<engine_report> told = std::move(report);
  if (!reply->ok())
    told = tl::unexpected(reply->failure);
  else
    told->status = *reply->status;
  if (told && told->status.engines > 0 && loaded == 0 && !told->sick)
    told->sick = error{errc::unavailable, "The engine's workers are loading the model."};
  questions.erase(found);
  tell_link(self, [=](front_link& link, engine_listener&) { link.take_report(number, told); });
}

void ask_executor(self_pointer self, std::uint64_t number, const executor_actor& executor) {
  ++self->state.questions[number].awaited;
  ask<executor_status>(
    self, executor, timeouts::bookkeeping,
    [=](const executor_status& status) {
      auto& question = self->state.questions[number];
      if (status.failed)
        question.report.sick = status.failed;
      question.loaded += status.loaded && !status.failed;
      question.report.step_ms = std::max(question.report.step_ms, status.step_ms);
      settle(self, number);
    },
    [=](const caf::error& reason) {
      self->state.questions[number].report.sick =
        error{errc::unavailable, "An engine does not answer: " + caf::to_string(reason) + "."};
      settle(self, number);
    },
    status_atom::value);
}

void ask_report(self_pointer self, std::uint64_t number, bool with_actors) {
  auto& state = self->state;
  state.questions[number].with_actors = with_actors;
  answer_admin(self->system(), state.supervisor, state.self, report_connection, {number, admin_command::status});
  ask<actor_tree>(
    self, state.supervisor, timeouts::bookkeeping,
    [=](const actor_tree& tree) {
      if (auto& question = self->state.questions[number]; question.with_actors)
        question.report.actors = actor_rows(self->system(), self->state.supervisor, tree);
      for (const auto& engine : tree.engines)
        if (engine.executor)
          ask_executor(self, number, engine.executor);
      settle(self, number);
    },
    [=](const caf::error&) { settle(self, number); }, tree_atom::value);
}

void take(self_pointer self, delivery& what) {
  if (what.connection != report_connection)
    return self->state.door([messages = std::move(what.messages)](engine_listener& listener) mutable {
      listener.deliver(std::move(messages));
    });
  for (auto& message : what.messages)
    if (auto* reply = std::get_if<admin_reply>(&message)) {
      const auto number = reply->nonce;
      self->state.questions[number].reply = std::move(*reply);
      settle(self, number);
    }
}

caf::behavior front(self_pointer self, const supervisor_actor& supervisor, engine_door door,
                    std::weak_ptr<front_link> link) {
  explain_exceptions(self);
  self->state.link = std::move(link);
  self->state.supervisor = supervisor;
  self->state.self = caf::actor_cast<client_actor>(caf::strong_actor_ptr{self->ctrl()});
  self->state.door = std::move(door);
  self->monitor(supervisor);
  self->set_down_handler([=](const caf::down_msg& down) {
    if (down.source == self->state.supervisor.address())
      return engine_ended(self, down.reason);
    stream_died(self, down.source);
  });
  return {
    [=](deliver_atom, delivery& what) { take(self, what); },
    [=](up_atom, std::uint32_t which, const stream_actor& stream) { use_stream(self, which, stream); },
    [=](status_atom, std::uint64_t question, bool with_actors) { ask_report(self, question, with_actors); },
    [=](open_atom, std::uint32_t which) { open_stream(self, which); },
  };
}

} // namespace

expected<std::shared_ptr<engine_link>> spawn_front(caf::actor_system& system, supervisor_actor supervisor,
                                                   engine_door door) {
  auto link = std::make_shared<front_link>();
  auto actor = system.spawn(front, supervisor, std::move(door), std::weak_ptr(link));
  link->belong_to(actor);
  const auto client = caf::actor_cast<client_actor>(caf::actor_cast<caf::strong_actor_ptr>(actor));
  caf::scoped_actor self(system);
  std::optional<error> failed;
  const auto ended = [&](const caf::error& reason) {
    failed = error{errc::unavailable, "The engine has ended: " + caf::to_string(reason) + "."};
  };
  for (std::uint32_t which = 0; which < front_streams && !failed; ++which) {
    stream_actor stream;
    self->request(supervisor, opening, open_atom::value, client, connection_id{which}, as_admitted)
      .receive([&](stream_actor& opened) { stream = std::move(opened); }, ended);
    if (!failed) // The link is of the thread of the sockets: the actor has told it when it answers.
      self->request(actor, opening, up_atom::value, which, stream).receive([] {}, ended);
  }
  if (failed)
    return tl::unexpected(*failed);
  return link;
}

} // namespace troupe::serve
