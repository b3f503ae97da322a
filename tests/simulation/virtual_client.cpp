#include "tests/simulation/virtual_client.hpp"

#include <algorithm>

#include "actors/ask.hpp"
#include "protocol/limits.hpp"

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
    [=](const caf::error&) { owner->stream_gone_ = true; }, open_atom::value, owner->shown_, owner->connection_,
    max_requests_per_client);
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
  shown_ = make_link(world_, shell_, {"to client", plan_.link_us, to_client_, {}, {}, {}}, &link_);
  for (const auto& planned : plan_.requests)
    expect(records_[planned.request.id], planned);
  if (plan_.all_pause)
    for (const bool pause : {true, false})
      world_.after(pause ? *plan_.all_pause : *plan_.all_resume, [this, pause] { tell_all_open(pause); });
  if (plan_.leaves != way_to_leave::never)
    world_.after(plan_.leaves_at, [this] { leave(); });
  caf::anon_send(shell_, deliver_atom::value, delivery{connection_, {}}); // Lazy: it starts with its first message.
}

void virtual_client::opened(const stream_actor& stream) {
  real_stream_ = stream;
  stream_ = make_link(world_, stream, {"to stream", plan_.link_us, {}, {}, {}, {}});
  for (auto* r : std::exchange(waiting_, {}))
    submit(*r);
}

void virtual_client::expect(record& r, const planned_request& planned) {
  r.plan = &planned;
  r.granted = planned.request.credit;
  r.received.assign(planned.request.n, {});
  r.text.assign(planned.request.n, {});
  r.prompt_logprobs = 0;
  r.endings = 0;
  r.submitted = r.cancelled = false;
  world_.after(planned.at, [this, &r] { submit(r); });
}

/// Something that is meant for this request and not for a later one with its id.
void virtual_client::whenever(record& r, microseconds after, std::function<void()> what) {
  world_.after(after, [this, &r, use = r.uses, what = std::move(what)] {
    if (!left_ && r.uses == use)
      what();
  });
}

void virtual_client::submit(record& r) {
  if (left_ || stream_gone_)
    return;
  if (!stream_) {
    waiting_.push_back(&r);
    return;
  }
  const auto& planned = *r.plan;
  const auto id = planned.request.id;
  r.submitted = true;
  ids_used_again_ += r.uses > 0;
  caf::send_as(shell_, stream_, submit_atom::value, planned.request);
  if (planned.cancel)
    whenever(r, *planned.cancel, [this, &r, id] {
      r.cancelled = true;
      caf::send_as(shell_, stream_, cancel_atom::value, id);
    });
  for (std::size_t turn = 0; turn < planned.turns.size(); ++turn)
    whenever(r, planned.turns[turn], [this, id, pauses = turn % 2 == 0] {
      if (pauses)
        caf::send_as(shell_, stream_, pause_atom::value, id);
      else
        caf::send_as(shell_, stream_, resume_atom::value, id);
    });
  for (const auto& grant : planned.grants)
    whenever(r, grant.after, [this, &r, id, tokens = grant.tokens] {
      r.granted += tokens;
      caf::send_as(shell_, stream_, credit_atom::value, credit_grant{id, tokens});
    });
}

void virtual_client::tell_all_open(bool pause) {
  for (const auto& [id, r] : records_)
    if (!left_ && r.submitted && r.endings == 0) {
      if (pause)
        caf::send_as(shell_, stream_, pause_atom::value, id);
      else
        caf::send_as(shell_, stream_, resume_atom::value, id);
    }
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
  check_text(r, delta);
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
  if (!delta.prompt_logprobs.empty() && (delta.choice != 0 || sampling.prompt_logprobs < 0))
    return broken(delta.id, "logprobs of the prompt came where none are due.");
  for (const auto& each : delta.prompt_logprobs) {
    const auto& right = r.plan->prompt_logprobs;
    if (r.prompt_logprobs >= right.size())
      return broken(delta.id, "there are more logprobs of its prompt than tokens.");
    if (each != right[r.prompt_logprobs++])
      return broken(delta.id, "logprob " + std::to_string(r.prompt_logprobs) + " of its prompt is wrong.");
  }
  const auto& right = r.plan->answers[delta.choice].logprobs;
  const auto known = r.received[delta.choice].size();
  for (std::size_t i = 0; i < delta.logprobs.size(); ++i)
    if (known + i < right.size() && delta.logprobs[i] != right[known + i])
      return broken(delta.id, "a logprob is wrong.");
}

/// What has come so far is the beginning of what must come, the echo first.
void virtual_client::check_text(record& r, const token_delta& delta) {
  auto& text = r.text[delta.choice];
  const auto &echo = r.plan->echo, &right = r.plan->answers[delta.choice].text;
  text += delta.text;
  const auto of_echo = std::min(text.size(), echo.size());
  if (text.size() < echo.size() || text.compare(0, of_echo, echo) != 0)
    return broken(delta.id, "its text does not begin with its echo.");
  if (text.size() > echo.size() + right.size() || right.compare(0, text.size() - of_echo, text, of_echo) != 0)
    broken(delta.id, "its text is wrong.");
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
  if (r.plan->again.empty() || left_)
    return;
  ++r.uses;
  expect(r, r.plan->again.front());
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
  if (r.plan->refusal != errc::none || r.plan->fails)
    return broken(end.id, "it ended well, but should have been refused, or have failed.");
  auto reason = finish_reason::stop;
  for (std::size_t choice = 0; choice < r.received.size(); ++choice) {
    const auto& right = r.plan->answers[choice];
    reason = std::max(reason, right.reason);
    if (r.received[choice].size() != right.tokens.size())
      broken(end.id, "it ended after " + std::to_string(r.received[choice].size()) + " tokens, but its answer has " +
                       std::to_string(right.tokens.size()) + ".");
    if (r.text[choice] != r.plan->echo + right.text)
      broken(end.id, "its text is not whole.");
    if (!end.choices.empty() && end.choices.at(choice).reason != right.reason)
      broken(end.id, "one answer's ending names the wrong reason.");
    if ((end.choices.empty() ? end.stopped_by : end.choices.at(choice).stopped_by) != right.stopped_by)
      broken(end.id, "its ending does not name what has stopped it.");
  }
  if (end.usage.completion_tokens != r.plan->generated)
    broken(end.id, "its usage does not count all tokens that were generated.");
  if (r.plan->request.sampling.prompt_logprobs >= 0 && r.prompt_logprobs + 1 != r.plan->prompt_ids.size())
    broken(end.id, "logprobs of its prompt are missing.");
  if (end.embedding != r.plan->embedding)
    broken(end.id, "its embedding is wrong.");
  embedded_ += !end.embedding.empty();
  if (reason != end.reason)
    broken(end.id, "its ending names the wrong reason.");
  if (end.usage.prompt_tokens != r.plan->prompt_ids.size())
    broken(end.id, "its usage has the wrong number of prompt tokens.");
}

void virtual_client::check_failure(const record& r, const request_end& end) {
  const auto code = end.failure.code;
  ran_out_ += code == errc::invalid_argument && r.plan->fails;
  const bool begun = std::any_of(r.received.begin(), r.received.end(), [](const auto& each) { return !each.empty(); });
  const bool excused = (code == r.plan->refusal) || (code == errc::invalid_argument && r.plan->fails) ||
                       (code == errc::unavailable && facts_.draining && !begun) ||
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
