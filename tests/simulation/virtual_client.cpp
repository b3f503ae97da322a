#include "tests/simulation/virtual_client.hpp"

#include "actors/ask.hpp"

namespace troupe::simulated {

using namespace std::chrono_literals;

client_actor::behavior_type client_shell(client_actor::pointer self, virtual_client* owner,
                                         supervisor_actor supervisor) {
  self->set_down_handler([=](const caf::down_msg&) { owner->stream_gone_ = true; });
  ask<stream_actor>(
    self, supervisor, 30s,
    [=](stream_actor& stream) {
      owner->opened(stream);
      self->monitor(owner->stream_);
    },
    [=](const caf::error&) { owner->stream_gone_ = true; }, open_atom::value, owner->shown_, owner->connection_);
  return {[=](deliver_atom, const delivery& what) { owner->take(what); }};
}

virtual_client::virtual_client(simulation& world, const planned_client& plan, connection_id connection,
                               const world_facts& facts, const world_plan& about,
                               std::function<passage(caf::message&)> to_client)
    : world_(world), plan_(plan), facts_(facts), about_(about), connection_(connection),
      to_client_(std::move(to_client)) {}

void virtual_client::begin(const supervisor_actor& supervisor) {
  // The shell's first words are of the link to itself, so it starts when both are there.
  shell_ = world_.system().spawn<caf::lazy_init>(client_shell, this, supervisor);
  shown_ = make_link(world_, shell_, {"to client", plan_.link_us, to_client_, {}, {}}, &link_);
  for (const auto& planned : plan_.requests) {
    auto& r = records_[planned.request.id];
    r.plan = &planned;
    r.granted = planned.request.credit;
    r.received.resize(planned.request.n);
    world_.after(planned.at, [this, &r] { submit(r); });
  }
  if (plan_.leaves != way_to_leave::never)
    world_.after(plan_.leaves_at, [this] { leave(); });
  caf::anon_send(shell_, deliver_atom::value, delivery{connection_, {}}); // Lazy: it starts with its first message.
}

void virtual_client::opened(const stream_actor& stream) {
  real_stream_ = stream;
  stream_ = make_link(world_, stream, {"to stream", plan_.link_us, {}, {}, {}});
  for (auto* r : std::exchange(waiting_, {}))
    submit(*r);
}

void virtual_client::submit(record& r) {
  if (left_ || stream_gone_)
    return;
  if (!stream_) {
    waiting_.push_back(&r);
    return;
  }
  const auto& planned = *r.plan;
  r.submitted = true;
  caf::send_as(shell_, stream_, submit_atom::value, planned.request);
  if (planned.cancel)
    world_.after(*planned.cancel, [this, &r] {
      r.cancelled = true;
      if (!left_)
        caf::send_as(shell_, stream_, cancel_atom::value, r.plan->request.id);
    });
  for (std::size_t turn = 0; turn < planned.turns.size(); ++turn)
    world_.after(planned.turns[turn], [this, &r, pauses = turn % 2 == 0] {
      if (left_)
        return;
      if (pauses)
        caf::send_as(shell_, stream_, pause_atom::value, r.plan->request.id);
      else
        caf::send_as(shell_, stream_, resume_atom::value, r.plan->request.id);
    });
  for (const auto& grant : planned.grants)
    world_.after(grant.after, [this, &r, tokens = grant.tokens] {
      r.granted += tokens;
      if (!left_)
        caf::send_as(shell_, stream_, credit_atom::value, credit_grant{r.plan->request.id, tokens});
    });
}

void virtual_client::leave() {
  if (std::exchange(left_, true))
    return;
  switch (plan_.leaves) {
    case way_to_leave::never: break;
    case way_to_leave::stop:
      if (stream_)
        caf::send_as(shell_, stream_, stop_atom::value);
      else
        kill();
      break;
    case way_to_leave::death: kill(); break;
    case way_to_leave::cut: link_->cut(false); break;
    case way_to_leave::stream_dies:
      if (real_stream_)
        caf::anon_send_exit(real_stream_, caf::exit_reason::kill);
      break;
  }
}

void virtual_client::kill() {
  left_ = true;
  caf::anon_send_exit(shell_, caf::exit_reason::kill);
}

void virtual_client::release() {
  shell_ = nullptr;
  shown_ = nullptr;
  stream_ = nullptr;
  real_stream_ = nullptr;
}

void virtual_client::broken(request_id id, const std::string& what) {
  world_.violate("Client " + std::to_string(connection_) + ", request " + std::to_string(id) + ": " + what);
}

void virtual_client::take(const delivery& what) {
  if (left_)
    return;
  for (const auto& message : what.messages) {
    if (auto* step = std::get_if<step_deltas>(&message)) {
      for (const auto& delta : step->deltas)
        take(delta);
      for (const auto& end : step->ends)
        take(end);
    } else if (auto* end = std::get_if<request_end>(&message))
      take(*end);
    else
      world_.violate("A client was told something that it has not asked for.");
  }
}

void virtual_client::take(const token_delta& delta) {
  world_.note(delta.id ^ std::uint64_t{delta.position} << 32);
  auto found = records_.find(delta.id);
  if (found == records_.end() || !found->second.submitted)
    return broken(delta.id, "tokens came that were never asked for.");
  auto& r = found->second;
  if (r.endings > 0)
    return broken(delta.id, "tokens came after the ending.");
  if (r.plan->refusal != errc::none || delta.choice >= r.received.size())
    return broken(delta.id, "it has tokens, but should have been refused, or has no such choice.");
  auto& received = r.received[delta.choice];
  const auto& right = r.plan->answers[delta.choice].tokens;
  if (delta.position != received.size() && !delta.token_ids.empty())
    return broken(delta.id, "token " + std::to_string(received.size()) + " was due, but " +
                              std::to_string(delta.position) + " came.");
  check_logprobs(r, delta);
  for (auto token : delta.token_ids) {
    world_.note(static_cast<std::uint64_t>(token));
    if (received.size() >= right.size())
      return broken(delta.id, "more tokens came than its answer has.");
    if (token != right[received.size()])
      return broken(delta.id, "token " + std::to_string(received.size()) + " is wrong.");
    received.push_back(token);
    ++tokens_;
  }
  std::uint64_t all = 0;
  for (const auto& choice : r.received)
    all += choice.size();
  if (r.granted < unlimited_credit && all > r.granted)
    broken(delta.id, "tokens came without credit.");
}

/// Before the delta's tokens are taken over.
void virtual_client::check_logprobs(record& r, const token_delta& delta) {
  const auto& sampling = r.plan->request.sampling;
  if (delta.logprobs.size() != (sampling.logprobs >= 0 ? delta.token_ids.size() : 0))
    return broken(delta.id, "it has not one logprob for each token.");
  if (delta.prompt_logprobs.empty() && delta.logprobs.empty())
    return;
  if (!delta.prompt_logprobs.empty() && (delta.choice != 0 || sampling.prompt_logprobs < 0))
    return broken(delta.id, "logprobs of the prompt came where none are due.");
  fake_model text(0, 0);
  const auto& prompt = r.plan->prompt_ids;
  std::size_t next = 0;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (i == r.prompt_logprobs + 1 && next < delta.prompt_logprobs.size()) {
      if (delta.prompt_logprobs[next++] != text.logprob(prompt[i], sampling.prompt_logprobs))
        return broken(delta.id, "logprob " + std::to_string(i) + " of its prompt is wrong.");
      ++r.prompt_logprobs;
    }
    text.feed(prompt[i]);
  }
  if (next != delta.prompt_logprobs.size())
    return broken(delta.id, "there are more logprobs of its prompt than tokens.");
  for (auto token : r.received[delta.choice])
    text.feed(token);
  for (const auto& each : delta.logprobs) {
    if (each != text.logprob(each.token, sampling.logprobs))
      return broken(delta.id, "a logprob is wrong.");
    text.feed(each.token);
  }
}

void virtual_client::take(const request_end& end) {
  world_.note(end.id ^ static_cast<std::uint64_t>(end.reason) << 40);
  auto found = records_.find(end.id);
  if (found == records_.end() || !found->second.submitted)
    return broken(end.id, "an ending came for what was never asked for.");
  auto& r = found->second;
  ++endings_;
  if (++r.endings > 1)
    return broken(end.id, "it ended twice.");
  std::size_t tokens = 0;
  for (const auto& choice : r.received)
    tokens += choice.size();
  const auto& usage = end.usage;
  if (usage.cached_prompt_tokens % tokens_per_block != 0 ||
      (usage.cached_prompt_tokens > 0 && usage.cached_prompt_tokens >= usage.prompt_tokens))
    broken(end.id, "its usage counts " + std::to_string(usage.cached_prompt_tokens) + " cached tokens.");
  const bool ranked = r.plan->request.best_of > r.plan->request.n;
  if (!ranked && usage.completion_tokens != tokens)
    broken(end.id, "its usage counts " + std::to_string(end.usage.completion_tokens) + " tokens, but " +
                     std::to_string(tokens) + " came.");
  if ((end.failure.code == errc::none) != (end.reason != finish_reason::error))
    broken(end.id, "its reason and its failure contradict each other.");
  if (end.timings.total_ms < 0 || end.timings.first_token_ms > end.timings.total_ms)
    broken(end.id, "its times are impossible.");
  check_ending(r, end);
}

void virtual_client::check_ending(const record& r, const request_end& end) {
  switch (end.reason) {
    case finish_reason::stop:
    case finish_reason::length: return check_natural_end(r, end);
    case finish_reason::cancelled:
      if (!r.cancelled)
        broken(end.id, "it ended as cancelled, but nobody has cancelled it.");
      return;
    case finish_reason::error: return check_failure(r, end);
  }
}

void virtual_client::check_natural_end(const record& r, const request_end& end) {
  if (r.plan->refusal != errc::none)
    return broken(end.id, "it ended well, but should have been refused.");
  auto reason = finish_reason::stop;
  for (std::size_t choice = 0; choice < r.received.size(); ++choice) {
    const auto& right = r.plan->answers[choice];
    reason = std::max(reason, right.reason);
    if (r.received[choice].size() != right.tokens.size())
      broken(end.id, "it ended after " + std::to_string(r.received[choice].size()) + " tokens, but its answer has " +
                       std::to_string(right.tokens.size()) + ".");
    if (!end.choices.empty() && end.choices.at(choice).reason != right.reason)
      broken(end.id, "one answer's ending names the wrong reason.");
  }
  if (end.usage.completion_tokens != r.plan->generated)
    broken(end.id, "its usage does not count all tokens that were generated.");
  if (r.plan->request.sampling.prompt_logprobs >= 0 && r.prompt_logprobs + 1 != r.plan->prompt_ids.size())
    broken(end.id, "logprobs of its prompt are missing.");
  if (reason != end.reason)
    broken(end.id, "its ending names the wrong reason.");
  if (end.usage.prompt_tokens != r.plan->prompt_ids.size())
    broken(end.id, "its usage has the wrong number of prompt tokens.");
}

void virtual_client::check_failure(const record& r, const request_end& end) {
  const auto code = end.failure.code;
  const bool excused = (code == r.plan->refusal) ||
                       (code == errc::unavailable && (facts_.stopping || facts_.engine_failed)) ||
                       (code == errc::queue_full && about_.max_open_requests < 100);
  if (!excused)
    broken(end.id, "it failed without a reason: " + end.failure.message);
}

void virtual_client::check_at_the_end() {
  if (left_)
    return;
  for (const auto& [id, r] : records_) {
    if (!r.submitted || r.endings > 0)
      continue;
    bool begun = false;
    for (const auto& choice : r.received)
      begun = begun || !choice.empty();
    // What was asked of a stream that had ended already cannot be answered by it.
    if (!stream_gone_ || !facts_.stopping || begun)
      broken(id, "it never ended.");
  }
}

} // namespace troupe::simulated
