#include "actors/stream.hpp"

#include "actors/ask.hpp"
#include "actors/timeouts.hpp"
#include "protocol/limits.hpp"
#include "protocol/validate.hpp"

namespace troupe {

namespace {

using self_pointer = stream_actor::stateful_pointer<stream_state>;
using journal = stream_state::journal;

double milliseconds_since(self_pointer self, std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(self->clock().now() - start).count();
}

void deliver(self_pointer self, std::vector<server_message> messages) {
  const auto& context = self->state.context;
  if (!messages.empty())
    self->send(context.client, deliver_atom::value, delivery{context.connection, std::move(messages)});
}

/// The one place where a request ends. Takes it out of every account and writes its last message.
request_end end_of(self_pointer self, request_id id, finish_reason reason, error failure = {errc::none, {}}) {
  auto& state = self->state;
  auto found = state.journals.find(id);
  auto& j = found->second;
  request_end end;
  end.id = id;
  end.reason = reason;
  end.usage = {j.prompt_tokens, static_cast<std::uint32_t>(j.tokens.size())};
  end.timings = {j.first_token_ms, milliseconds_since(self, j.begun)};
  end.failure = std::move(failure);
  if (j.scheduler)
    state.schedulers.remove(self, j.scheduler.address());
  if (j.admitted) {
    state.sequences.erase(j.admitted->id);
    if (!j.encoding)
      self->send(state.context.router, leave_atom::value, *j.admitted);
  }
  state.journals.erase(found);
  return end;
}

void end_with(self_pointer self, request_id id, finish_reason reason, error failure = {errc::none, {}}) {
  deliver(self, {end_of(self, id, reason, std::move(failure))});
}

/// What a request waits for may come after it has ended and another has taken its id: the ticket tells them apart.
journal* find(self_pointer self, request_id id, sequence_id admitted) {
  auto& state = self->state;
  auto found = state.sequences.find(admitted);
  return found != state.sequences.end() && found->second == id ? &state.journals.at(id) : nullptr;
}

auto lost(self_pointer self, request_id id, sequence_id admitted) {
  return [=](const caf::error& reason) {
    if (auto* j = find(self, id, admitted)) {
      j->encoding = false;
      end_with(
        self, id, finish_reason::error,
        {errc::unavailable, "A part of the server did not answer (" + caf::to_string(reason) + "): try again."});
    }
  };
}

void start(self_pointer self, journal& j, prompt_tokens tokens) {
  new_sequence sequence;
  sequence.id = j.admitted->id;
  sequence.prompt = std::move(tokens);
  sequence.sampling = {j.request.sampling.temperature, j.request.sampling.seed, 0};
  sequence.max_tokens = j.request.sampling.max_tokens;
  sequence.ignore_eos = j.request.sampling.ignore_eos;
  sequence.credit = j.request.credit;
  self->state.schedulers.add(self, j.scheduler.address());
  self->send(j.scheduler, add_atom::value, std::move(sequence), stream_actor(self));
}

void place(self_pointer self, request_id id, journal& j, prompt_tokens tokens) {
  const auto admitted = *j.admitted;
  j.prompt_tokens = static_cast<std::uint32_t>(tokens.size());
  const auto count = j.prompt_tokens;
  ask<expected<scheduler_actor>>(
    self, self->state.context.router, timeouts::bookkeeping,
    [=, tokens = std::move(tokens)](expected<scheduler_actor>& scheduler) mutable {
      auto* j = find(self, id, admitted.id);
      if (!j)
        return;
      if (!scheduler)
        return end_with(self, id, finish_reason::error, std::move(scheduler.error()));
      j->scheduler = std::move(*scheduler);
      start(self, *j, std::move(tokens));
    },
    lost(self, id, admitted.id), place_atom::value, admitted, count);
}

void encode(self_pointer self, request_id id, journal& j) {
  const auto admitted = j.admitted->id;
  j.encoding = true;
  ask<expected<prompt_tokens>>(
    self, self->state.context.tokenizer, timeouts::encoding,
    [=](expected<prompt_tokens>& tokens) {
      auto* j = find(self, id, admitted);
      if (!j) // It was cancelled; its ticket was kept until the work for it had ended.
        return self->send(self->state.context.router, leave_atom::value, ticket{admitted});
      j->encoding = false;
      if (!tokens)
        return end_with(self, id, finish_reason::error, std::move(tokens.error()));
      place(self, id, *j, std::move(*tokens));
    },
    lost(self, id, admitted), encode_atom::value, std::move(j.request.prompt));
}

/// Bytes divided by four are near enough to admit by; the router learns the number once it is known.
std::uint32_t estimated_tokens(const prompt& request) {
  if (auto* tokens = std::get_if<prompt_tokens>(&request))
    return static_cast<std::uint32_t>(tokens->size());
  std::size_t bytes = 0;
  if (auto* text = std::get_if<prompt_text>(&request))
    bytes = text->size();
  if (auto* messages = std::get_if<prompt_messages>(&request))
    for (const auto& message : *messages)
      bytes += message.content.size();
  return static_cast<std::uint32_t>(bytes / 4 + 1);
}

void admit(self_pointer self, request_id id, journal& j) {
  const auto begun = j.begun;
  auto& state = self->state;
  auto same = [=]() -> journal* { // Without a ticket yet, a request is known by the moment it began.
    auto found = self->state.journals.find(id);
    return found != self->state.journals.end() && found->second.begun == begun && !found->second.admitted
             ? &found->second
             : nullptr;
  };
  ask<expected<ticket>>(
    self, state.context.router, timeouts::bookkeeping,
    [=](expected<ticket>& granted) {
      auto* j = same();
      if (!j) {
        if (granted) // It ended while it was being admitted.
          self->send(self->state.context.router, leave_atom::value, *granted);
        return;
      }
      if (!granted)
        return end_with(self, id, finish_reason::error, std::move(granted.error()));
      j->admitted = *granted;
      self->state.sequences.emplace(granted->id, id);
      encode(self, id, *j);
    },
    [=](const caf::error& reason) {
      if (same())
        end_with(self, id, finish_reason::error,
                 {errc::unavailable, "The router did not answer (" + caf::to_string(reason) + "): try again."});
    },
    admit_atom::value, estimated_tokens(j.request.prompt));
}

void refuse_open_id(self_pointer self, request_id id) {
  deliver(self, {protocol_error{{errc::invalid_argument,
                                 "Request id " + std::to_string(id) +
                                   " is open already on this connection: use another until it has ended."}}});
}

void refuse_undecoded(self_pointer self, request_id id, error& why) {
  if (self->state.journals.count(id))
    return refuse_open_id(self, id);
  request_end end;
  end.id = id;
  end.reason = finish_reason::error;
  end.failure = std::move(why);
  deliver(self, {std::move(end)});
}

void submit(self_pointer self, generate_request& request) {
  auto& state = self->state;
  const auto id = request.id;
  if (state.journals.count(id))
    return refuse_open_id(self, id);
  journal j;
  j.begun = self->clock().now();
  j.text = std::make_unique<answer_text>(state.context.source->tokens, request.sampling.stop);
  j.request = std::move(request);
  auto& entry = state.journals.emplace(id, std::move(j)).first->second;
  if (auto valid = validate(entry.request); !valid)
    return end_with(self, id, finish_reason::error, valid.error());
  if (state.journals.size() > max_requests_per_client)
    return end_with(self, id, finish_reason::error,
                    {errc::limit_exceeded, "This connection has " + std::to_string(max_requests_per_client) +
                                             " open requests already: wait until one has ended."});
  admit(self, id, entry);
}

void cancel(self_pointer self, request_id id) {
  auto found = self->state.journals.find(id);
  if (found == self->state.journals.end())
    return;
  if (found->second.scheduler)
    self->send(found->second.scheduler, remove_atom::value, found->second.admitted->id);
  end_with(self, id, finish_reason::cancelled);
}

void add_credit(self_pointer self, const credit_grant& grant) {
  auto found = self->state.journals.find(grant.id);
  if (found == self->state.journals.end())
    return;
  auto& j = found->second;
  if (j.scheduler)
    return self->send(j.scheduler, credit_atom::value, j.admitted->id, grant.tokens);
  auto& credit = j.request.credit; // It takes what it has along to the scheduler.
  credit = grant.tokens > unlimited_credit - credit ? unlimited_credit : credit + grant.tokens;
}

/// What one step brought to all requests of this stream, as one delivery.
class step_output {
public:
  explicit step_output(self_pointer self) : self_(self) {}

  void take(sequence_event& event) {
    auto& state = self_->state;
    auto found = state.sequences.find(event.sequence);
    if (found == state.sequences.end())
      return; // It has ended by a stop string or a cancel.
    const auto id = found->second;
    auto& j = state.journals.at(id);
    if (event.failure)
      return messages_.push_back(end_of(self_, id, finish_reason::error, std::move(*event.failure)));
    if (event.index != j.tokens.size())
      return; // Had it already: the lowest position wins.
    if (j.tokens.empty())
      j.first_token_ms = milliseconds_since(self_, j.begun);
    token_delta delta{id, event.index, {event.token}, j.text->feed(event.token)};
    j.tokens.push_back(event.token);
    const bool stopped = j.text->stopped();
    if (event.finished && !stopped)
      delta.text += j.text->finish();
    messages_.push_back(std::move(delta));
    if (stopped && !event.finished)
      self_->send(j.scheduler, remove_atom::value, event.sequence);
    if (stopped || j.text->stopped())
      messages_.push_back(end_of(self_, id, finish_reason::stop));
    else if (event.finished)
      messages_.push_back(end_of(self_, id, *event.finished));
  }

  void send() { deliver(self_, std::move(messages_)); }

private:
  self_pointer self_;
  std::vector<server_message> messages_;
};

void end_all(self_pointer self, const error& why) {
  std::vector<server_message> messages;
  while (!self->state.journals.empty())
    messages.push_back(end_of(self, self->state.journals.begin()->first, finish_reason::error, why));
  deliver(self, std::move(messages));
}

void scheduler_died(self_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  state.schedulers.forget(down.source);
  std::vector<request_id> ended;
  for (auto& [id, j] : state.journals)
    if (j.scheduler && j.scheduler.address() == down.source) {
      j.scheduler = nullptr;
      ended.push_back(id);
    }
  for (auto id : ended)
    end_with(self, id, finish_reason::error,
             {errc::unavailable, "The engine has ended: " + caf::to_string(down.reason)});
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
    [=](tokens_atom, sequence_events& events) {
      step_output output(self);
      for (auto& event : events)
        output.take(event);
      output.send();
    },
    [=](stop_atom) { self->quit(); }, // Router and schedulers notice, whatever phase the requests were in.
  };
}

} // namespace troupe
