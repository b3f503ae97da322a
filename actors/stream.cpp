#include "actors/stream.hpp"

#include "actors/ask.hpp"
#include "actors/stream_parts.hpp"

namespace troupe {

namespace {

using time_point = std::chrono::steady_clock::time_point;

double milliseconds_since(stream_parts::self_pointer self, time_point start) {
  return std::chrono::duration<double, std::milli>(self->clock().now() - start).count();
}

void observe_end(const stream_context& context, const stream_parts::journal& j, const request_end& end,
                 time_point now) {
  const auto& all = context.observed_by;
  if (all.empty())
    return;
  const auto seconds = [](auto time) { return std::chrono::duration<double>(time).count(); };
  request_record record;
  record.connection = context.connection;
  record.id = end.id;
  record.origin = j.request.origin;
  record.reason = end.reason;
  record.failure = end.failure.code;
  record.usage = end.usage;
  record.n = j.request.n;
  record.max_tokens = stream_parts::tokens_wanted(j.request);
  record.longest_answer = end.choices.empty() ? end.usage.completion_tokens : 0;
  for (const auto& each : end.choices)
    record.longest_answer = std::max(record.longest_answer, each.completion_tokens);
  record.begun = j.begun;
  record.total_s = seconds(now - j.begun);
  if (j.admitted_at)
    record.queue_s = seconds(*j.admitted_at - j.begun);
  if (j.admitted_at && j.first_token_ms > 0) {
    record.prefill_s = seconds(j.first_token_at() - *j.admitted_at);
    record.decode_s = seconds(now - j.first_token_at());
  }
  for (const auto& each : all)
    if (j.admitted)
      each->ended(record);
    else
      each->refused(record);
}

} // namespace

namespace stream_parts {

void deliver(self_pointer self, server_message message) {
  const auto& context = self->state.context;
  delivery what{context.connection, {}};
  what.messages.push_back(std::move(message));
  self->send(context.client, deliver_atom::value, std::move(what));
}

void deliver(self_pointer self, step_deltas what) {
  if (!what.deltas.empty() || !what.ends.empty())
    deliver(self, server_message(std::move(what)));
}

void leave_scheduler(self_pointer self, journal& j) {
  auto& state = self->state;
  const auto scheduler = std::exchange(j.scheduler, nullptr);
  if (!std::exchange(j.started, false))
    return;
  for (std::uint32_t choice = 0; choice < j.admitted->sequences; ++choice) {
    state.sequences.erase(j.admitted->id + choice);
    if (scheduler && !j.text.ended(choice))
      self->send(scheduler, remove_atom::value, j.admitted->id + choice);
  }
  if (scheduler)
    state.schedulers.remove(self, scheduler.address());
}

request_end end_of(self_pointer self, journal& j, finish_reason reason, error failure) {
  auto& state = self->state;
  request_end end;
  end.id = j.request.id;
  end.reason = reason;
  end.usage = {j.prompt_tokens, j.text.generated(), j.cached_prompt_tokens};
  end.timings = {j.first_token_ms, milliseconds_since(self, j.begun)};
  end.failure = std::move(failure);
  if (j.request.n > 1 || j.request.best_of > 1)
    end.choices = j.text.ends(reason);
  else
    end.stopped_by = j.text.stopped_by();
  observe_end(state.context, j, end, self->clock().now());
  end.embedding = std::move(j.embedding);
  leave_scheduler(self, j);
  if (j.admitted && !j.encoding)
    self->send(state.context.router, leave_atom::value, *j.admitted);
  state.journals.erase(end.id);
  return end;
}

void end_with(self_pointer self, journal& j, finish_reason reason, error failure) {
  deliver(self, server_message(end_of(self, j, reason, std::move(failure))));
}

void end_with(self_pointer self, journal& j, error failure) {
  end_with(self, j, finish_reason::error, std::move(failure));
}

journal* find(self_pointer self, request_id id) {
  auto* found = self->state.journals.find(id);
  return found ? found->get() : nullptr;
}

journal* find(self_pointer self, request_id id, std::uint64_t serial) {
  auto* found = find(self, id);
  return found && found->serial == serial ? found : nullptr;
}

} // namespace stream_parts

namespace {

using namespace stream_parts;

// --- what the client asks --------------------------------------------------------------------------------------------

void refuse_open_id(self_pointer self, request_id id) {
  deliver(self, protocol_error{{errc::invalid_argument,
                                "Request id " + std::to_string(id) +
                                  " is open already on this connection: use another until it has ended."}});
}

void refuse_undecoded(self_pointer self, request_id id, error& why) {
  if (find(self, id))
    return refuse_open_id(self, id);
  request_end end;
  end.id = id;
  end.reason = finish_reason::error;
  end.failure = std::move(why);
  deliver(self, server_message(std::move(end)));
}

void submit(self_pointer self, generate_request& request) {
  auto& state = self->state;
  const auto id = request.id;
  if (find(self, id))
    return refuse_open_id(self, id);
  auto fresh = std::make_unique<journal>();
  auto& j = *fresh;
  j.begun = self->clock().now();
  j.serial = ++state.last_serial;
  j.request = std::move(request);
  state.journals.insert(id, std::move(fresh));
  if (auto valid = check(self, j.request); !valid)
    return end_with(self, j, std::move(valid.error()));
  for (const auto& each : state.context.observed_by)
    each->taken(j.request, state.context.connection);
  begin(self, j);
}

void cancel(self_pointer self, request_id id) {
  if (auto* j = find(self, id))
    end_with(self, *j, finish_reason::cancelled);
}

void give_credit(self_pointer self, const journal& j, const std::vector<credit_share>& shares) {
  for (const auto& share : shares)
    self->send(j.scheduler, credit_atom::value, j.admitted->id + share.choice, share.tokens);
}

std::uint32_t added(std::uint32_t credit, std::uint32_t more) {
  return more > unlimited_credit - credit ? unlimited_credit : credit + more;
}

/// Tells the scheduler what has changed since it was told last. One message is on its way at most: a client that
/// changes its mind faster than the scheduler works fills nobody's mailbox.
void tell_flow(self_pointer self, journal& j) {
  if (!j.started || j.telling || (j.paused == j.told_paused && j.new_credit == 0))
    return;
  flow_change change{j.admitted->id, j.admitted->sequences, j.paused, {}};
  if (j.new_credit > 0)
    j.credit.add(std::exchange(j.new_credit, 0), change.credit);
  j.told_paused = j.paused;
  j.telling = true;
  ask_neighbour<std::uint32_t>(
    self, j.scheduler,
    [=, id = j.request.id, serial = j.serial, starts = j.starts](std::uint32_t) {
      if (auto* j = find(self, id, serial); j && j->starts == starts) {
        j->telling = false;
        tell_flow(self, *j);
      }
    },
    [](const caf::error&) {}, // After a scheduler's death its requests go on elsewhere, or end.
    flow_atom::value, std::move(change));
}

void add_credit(self_pointer self, const credit_grant& grant) {
  auto* j = find(self, grant.id);
  if (!j)
    return;
  auto& credit = j->starts > 0 ? j->new_credit : j->request.credit;
  credit = added(credit, grant.tokens);
  tell_flow(self, *j);
}

void pause(self_pointer self, request_id id) {
  auto* j = find(self, id);
  if (!j)
    return;
  j->paused = true;
  tell_flow(self, *j);
}

void resume(self_pointer self, request_id id) {
  auto* j = find(self, id);
  if (!j || !j->paused)
    return;
  j->paused = false;
  if (!j->started && j->scheduler)
    return start(self, *j);
  tell_flow(self, *j);
}

// --- what a step brings ------------------------------------------------------------------------------------------------

/// What one step brought to all requests of this stream, as one delivery.
class step_output {
public:
  explicit step_output(self_pointer self) : self_(self), now_(self->clock().now()) {}

  void take(stream_events& events) {
    out_.deltas.reserve(events.tokens.size());
    for (const auto& a : events.admissions)
      if (const auto* place = find(a.sequence); place && place->choice == 0)
        if (auto& j = *place->request; !std::exchange(j.cached_told, true)) { // Of a second engine, nobody asked.
          j.cached_prompt_tokens = a.cached_tokens;
          j.admitted_at = a.at;
        }
    for (auto& part : events.prompt_logprobs)
      if (const auto* place = find(part.sequence); place && place->choice == 0)
        place->request->text.take_prompt_logprobs(part.position, part.logprobs, out_.deltas);
    for (auto& pooled : events.embeddings)
      if (const auto* place = find(pooled.sequence))
        place->request->embedding = std::move(pooled.values);
    auto logprob = events.logprobs.begin();
    for (std::uint32_t i = 0; i < events.tokens.size(); ++i) {
      const bool has_logprob = logprob != events.logprobs.end() && logprob->event == i;
      take(events.tokens[i], has_logprob ? &(logprob++)->logprob : nullptr);
    }
    for (auto& failed : events.failures)
      // One answer's failure is the request's, unless that answer had ended before, as only we know.
      if (const auto* place = find(failed.sequence); place && !place->request->text.ended(place->choice)) {
        if (failed.engine_gave_up)
          move(self_, *place->request, failed.why);
        else
          end(*place->request, finish_reason::error, std::move(failed.why));
      }
    deliver(self_, std::move(out_));
  }

private:
  const stream_state::sequence_place* find(sequence_id sequence) const {
    return self_->state.sequences.find(sequence);
  }

  void take(const sequence_event& event, token_logprob* logprob) {
    const auto* place = find(event.sequence);
    if (!place)
      return; // Its request has ended.
    const auto choice = place->choice;
    auto& j = *place->request;
    const bool has_token = event.token != no_token;
    if (has_token && j.text.generated() == 0)
      j.first_token_ms = std::chrono::duration<double, std::milli>(now_ - j.begun).count();
    switch (j.text.take(choice, event.index, event.token, event.reason(), logprob, out_.deltas)) {
    case answers::outcome::stale:
      return;
    case answers::outcome::goes_on:
      observe_token(j, choice);
      return j.credit.use(choice);
    case answers::outcome::stopped:
      self_->send(j.scheduler, remove_atom::value, event.sequence);
      [[fallthrough]];
    case answers::outcome::ended:
      if (has_token)
        observe_token(j, choice);
      return end_choice(j, choice, has_token);
    }
  }

  /// Tokens that one step brings to a sequence follow each other, each as soon as it is there.
  void observe_token(journal& j, std::uint32_t choice) {
    const auto& all = self_->state.context.observed_by;
    if (all.empty())
      return;
    const bool first = j.last_tokens.empty();
    const auto since = first ? j.begun : j.first_token_at();
    j.last_tokens.resize(std::max<std::size_t>(j.last_tokens.size(), choice + 1u), since);
    const auto seconds = std::chrono::duration<double>(now_ - std::exchange(j.last_tokens[choice], now_)).count();
    for (const auto& each : all)
      if (first)
        each->first_token(seconds);
      else
        each->next_token(seconds);
  }

  /// `paid`: its last token takes credit; what it has not used is for the others.
  void end_choice(journal& j, std::uint32_t choice, bool paid) {
    if (j.text.all_ended()) {
      j.text.finish(out_.deltas);
      return end(j, whole_reason(j.text.ends(finish_reason::stop)));
    }
    if (paid)
      j.credit.use(choice);
    std::vector<credit_share> shares;
    j.credit.end(choice, shares);
    give_credit(self_, j, shares);
  }

  void end(journal& j, finish_reason reason, error failure = {errc::none, {}}) {
    out_.ends.push_back(end_of(self_, j, reason, std::move(failure)));
  }

  self_pointer self_;
  time_point now_;
  step_deltas out_;
};

void end_all(self_pointer self, const error& why) {
  std::vector<journal*> open;
  self->state.journals.for_each([&](request_id, auto& j) { open.push_back(j.get()); });
  step_deltas out;
  for (auto* j : open)
    out.ends.push_back(end_of(self, *j, finish_reason::error, why));
  deliver(self, std::move(out));
}

void scheduler_died(self_pointer self, const caf::down_msg& down) {
  self->state.schedulers.forget(down.source);
  std::vector<journal*> left;
  self->state.journals.for_each([&](request_id, auto& j) {
    if (j->scheduler && j->scheduler.address() == down.source)
      left.push_back(j.get());
  });
  for (auto* j : left)
    move(self, *j, {errc::unavailable, "The engine has ended: " + caf::to_string(down.reason)});
}

} // namespace

stream_actor::behavior_type stream(self_pointer self, stream_context context) {
  self->state.context = std::move(context);
  self->monitor(self->state.context.client);
  self->set_exception_handler(
    [=](std::exception_ptr&) -> caf::error { // No memory, or a bug: but nobody waits for ever.
      end_all(self, {errc::internal, "The server had to give this connection up: connect again."});
      return caf::make_error(caf::sec::runtime_error, std::string("a stream has failed"));
    });
  self->set_down_handler([=](const caf::down_msg& down) {
    if (down.source == self->state.context.client.address())
      return self->quit(); // Nobody is left to tell; router and schedulers notice.
    scheduler_died(self, down);
  });
  self->set_exit_handler([=](const caf::exit_msg& exit) {
    end_all(self, {errc::unavailable, "The server is stopping."});
    self->quit(exit.reason);
  });
  return {
    [=](submit_atom, generate_request& request) { submit(self, request); },
    [=](fail_atom, request_id id, error& why) { refuse_undecoded(self, id, why); },
    [=](cancel_atom, request_id id) { cancel(self, id); },
    [=](credit_atom, const credit_grant& grant) { add_credit(self, grant); },
    [=](pause_atom, request_id id) { pause(self, id); },
    [=](resume_atom, request_id id) { resume(self, id); },
    [=](tokens_atom, stream_events& events) { step_output(self).take(events); },
    [=](stop_atom) { self->quit(); }, // Router and schedulers notice, whatever phase the requests were in.
    [=](stop_atom, const error& why) {
      end_all(self, why);
      self->quit();
    },
  };
}

} // namespace troupe
