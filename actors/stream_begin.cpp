// From a request to its sequences: admit, encode, place, start.
#include "actors/ask.hpp"
#include "actors/stream_parts.hpp"
#include "actors/timeouts.hpp"
#include "model/request_sampling.hpp"
#include "protocol/limits.hpp"
#include "protocol/validate.hpp"

namespace troupe::stream_parts {

namespace {

auto lost(self_pointer self, request_id id, std::uint64_t serial) {
  return [=](const caf::error& reason) {
    if (auto* j = find(self, id, serial)) {
      j->encoding = false;
      end_with(
        self, *j,
        {errc::unavailable, "A part of the server did not answer (" + caf::to_string(reason) + "): try again."});
    }
  };
}

std::uint32_t sequences_of(const generate_request& request) {
  return std::max(request.n, request.best_of);
}

void start_unless_paused(self_pointer self, journal& j, scheduler_actor scheduler) {
  j.scheduler = std::move(scheduler);
  if (!j.paused)
    start(self, j);
}

placement placement_of(const journal& j) {
  // As the scheduler will look it up: where all of its rows are wanted, it is computed.
  const bool may_hit = j.request.sampling.prompt_logprobs < 0 && j.request.embed != pooling::mean;
  return {j.prompt, {j.request.scheduling.cache_salt, 0}, may_hit};
}

void place(self_pointer self, journal& j) {
  const auto id = j.request.id;
  const auto serial = j.serial;
  ask_neighbour<expected<scheduler_actor>>(
    self, self->state.context.router,
    [=](expected<scheduler_actor>& scheduler) {
      auto* j = find(self, id, serial);
      if (!j)
        return;
      if (!scheduler)
        return end_with(self, *j, std::move(scheduler.error()));
      start_unless_paused(self, *j, std::move(*scheduler));
    },
    lost(self, id, serial), place_atom::value, *j.admitted, placement_of(j));
}

/// The request has become tokens. Error: limit_exceeded (an echo that is too long).
expected<void> take_encoded(self_pointer self, journal& j, encoded_prompt encoded) {
  const auto& end_tokens = *self->state.context.end_tokens;
  j.prompt = std::move(encoded.tokens);
  j.prompt_tokens = static_cast<std::uint32_t>(j.prompt->size());
  for (std::uint32_t choice = 0; choice < j.admitted->sequences; ++choice) {
    auto sampling = sequence_sampling_of(j.request.sampling, encoded.bad_words, end_tokens, choice, j.text.ranked());
    sampling.pooling = j.request.embed;
    j.sampling.push_back(std::make_shared<const sequence_sampling>(std::move(sampling)));
  }
  if (!j.request.echo)
    return {};
  const auto copies = sequences_of(j.request);
  if (encoded.text.size() > max_echo_bytes / copies)
    return fail(errc::limit_exceeded, "Field 'echo': " + std::to_string(copies) + " answers with a prompt of " +
                                        std::to_string(encoded.text.size()) + " bytes are over the limit of " +
                                        std::to_string(max_echo_bytes) + " bytes: leave the echo out.");
  j.text.echo(encoded.text);
  return {};
}

void encode(self_pointer self, journal& j) {
  const auto id = j.request.id;
  const auto serial = j.serial;
  const auto admitted = *j.admitted;
  j.encoding = true;
  // If it is cancelled meanwhile, its ticket is kept until the work for it has ended.
  const auto leave_if_gone = [=] {
    if (!find(self, id, serial))
      self->send(self->state.context.router, leave_atom::value, admitted);
  };
  ask<expected<encoded_prompt>>(
    self, self->state.context.tokenizer, timeouts::encoding,
    [=](expected<encoded_prompt>& encoded) {
      leave_if_gone();
      auto* j = find(self, id, serial);
      if (!j)
        return;
      j->encoding = false;
      if (!encoded)
        return end_with(self, *j, std::move(encoded.error()));
      if (auto taken = take_encoded(self, *j, std::move(*encoded)); !taken)
        return end_with(self, *j, std::move(taken.error()));
      place(self, *j);
    },
    [=](const caf::error& reason) {
      leave_if_gone();
      lost(self, id, serial)(reason);
    },
    encode_atom::value,
    encode_request{std::move(j.request.prompt), std::move(j.request.sampling.bad_words), j.request.echo});
}

/// Token ids go to the scheduler as they are, unless something else is to be encoded for them.
bool needs_tokenizer(const generate_request& request) {
  return !std::holds_alternative<prompt_tokens>(request.prompt) || request.echo ||
         !request.sampling.bad_words.empty();
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
  if (auto* chat = std::get_if<chat_prompt>(&request))
    bytes = chat->variables.size();
  return static_cast<std::uint32_t>(bytes / 4 + 1);
}

void take_ticket(self_pointer self, journal& j, admitted_request& admitted) {
  j.admitted = admitted.granted;
  if (!j.prompt)
    return encode(self, j);
  encoded_prompt tokens;
  tokens.tokens = j.prompt;
  if (auto taken = take_encoded(self, j, std::move(tokens)); !taken)
    return end_with(self, j, std::move(taken.error()));
  start_unless_paused(self, j, std::move(admitted.scheduler));
}

void admit(self_pointer self, journal& j) {
  const auto id = j.request.id;
  const auto serial = j.serial;
  admission_request wanted{estimated_tokens(j.request.prompt), sequences_of(j.request), {}};
  if (!needs_tokenizer(j.request)) {
    j.prompt = std::make_shared<const prompt_tokens>(std::get<prompt_tokens>(std::move(j.request.prompt)));
    wanted.exact = placement_of(j);
  }
  ask_neighbour<expected<admitted_request>>(
    self, self->state.context.router,
    [=](expected<admitted_request>& admitted) {
      auto* j = find(self, id, serial);
      if (j && admitted)
        return take_ticket(self, *j, *admitted);
      if (j)
        return end_with(self, *j, std::move(admitted.error()));
      if (admitted) // It ended while it was being admitted.
        self->send(self->state.context.router, leave_atom::value, admitted->granted);
    },
    lost(self, id, serial), admit_atom::value, std::move(wanted));
}

} // namespace

expected<void> check(self_pointer self, const generate_request& request) {
  if (auto valid = validate(request); !valid)
    return valid;
  if (auto known = check_wishes(self->state.context.policy, request.scheduling); !known)
    return known;
  const auto& source = *self->state.context.source;
  if (auto known = check_vocabulary(request.sampling, source.tokens->size()); !known)
    return known;
  if (auto* tokens = std::get_if<prompt_tokens>(&request.prompt))
    if (auto known = check_tokens(source, *tokens); !known)
      return known;
  if (const auto most = self->state.context.max_requests; most > 0 && self->state.journals.size() > most)
    return fail(errc::limit_exceeded,
                "This connection has " + std::to_string(most) + " open requests already: wait until one has ended.");
  return {};
}

/// Hands the sequences to the scheduler, but for those that have ended at another one. The later ones are forks of the
/// first: they share the prompt's blocks.
void start(self_pointer self, journal& j) {
  auto& state = self->state;
  const auto& request = j.request;
  if (j.starts++ == 0)
    j.credit = shared_credit(j.admitted->sequences, request.credit);
  std::vector<credit_share> told_with_it;
  if (j.new_credit > 0)
    j.credit.add(std::exchange(j.new_credit, 0), told_with_it);
  j.started = true;
  j.told_paused = j.telling = false;
  state.schedulers.add(self, j.scheduler.address());
  sequence_id first = 0;
  for (std::uint32_t choice = 0; choice < j.admitted->sequences; ++choice) {
    if (j.text.ended(choice))
      continue;
    new_sequence sequence;
    sequence.id = j.admitted->id + choice;
    state.sequences.insert(sequence.id, {&j, choice});
    sequence.prompt = j.prompt;
    sequence.sampling = j.sampling[choice];
    sequence.max_tokens = tokens_wanted(request);
    sequence.credit = j.credit.unused_by(choice);
    sequence.scheduling = request.scheduling;
    sequence.key.salt = request.scheduling.cache_salt;
    sequence.fork_of = first;
    if (const auto& tokens = j.text.tokens(choice); !tokens.empty())
      sequence.answer = std::make_shared<const std::vector<token_id>>(tokens);
    if (first == 0)
      first = sequence.id;
    self->send(j.scheduler, add_atom::value, std::move(sequence), stream_actor(self));
  }
}

void move(self_pointer self, journal& j, error why) {
  leave_scheduler(self, j);
  const auto id = j.request.id;
  const auto serial = j.serial;
  const auto place = placement_of(j);
  ask_neighbour<expected<admitted_request>>(
    self, self->state.context.router,
    [=](expected<admitted_request>& moved) {
      auto* j = find(self, id, serial);
      if (!j) { // It has ended meanwhile.
        if (moved)
          self->send(self->state.context.router, leave_atom::value, moved->granted);
        return;
      }
      if (!moved)
        return end_with(self, *j, why);
      j->admitted = moved->granted;
      start_unless_paused(self, *j, std::move(moved->scheduler));
    },
    lost(self, id, serial), replace_atom::value, *j.admitted, place, why);
}

void begin(self_pointer self, journal& j) {
  const auto& sampling = j.request.sampling;
  j.text = answers(self->state.context.source->tokens, {j.request.id, j.request.n, sequences_of(j.request),
                                                        sampling.stop, sampling.min_tokens, sampling.logprobs >= 0});
  admit(self, j);
}

} // namespace troupe::stream_parts
