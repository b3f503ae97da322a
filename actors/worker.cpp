#include "actors/worker.hpp"

#include <algorithm>
#include <chrono>

#include "actors/block_contents.hpp"
#include "actors/exceptions.hpp"
#include "model/sampling/logprobs.hpp"

namespace troupe {

namespace {

expected<void> compute(worker_state& state, std::uint64_t step, const batch_state::rows& rows,
                       std::uint32_t vocabulary) {
  std::vector<batch_span> spans;
  for (const auto& s : rows.spans)
    spans.push_back({s.first_row, s.count, s.first_position, s.tables[0], s.tables});
  state.logits.resize(std::size_t{vocabulary} * rows.logit_rows.size());
  forward_batch batch{rows.tokens, spans, rows.logit_rows};
  if (state.rows_in)
    batch.input = state.rows_in->rows_of(step, rows.tokens.size());
  if (state.rows_out)
    batch.output = state.rows_out->rows_of(step, rows.tokens.size());
  return state.device->forward(batch, state.logits);
}

std::span<const float> logits_of(const worker_state& state, std::uint32_t index, std::uint32_t vocabulary) {
  return std::span<const float>(state.logits).subspan(std::size_t{index} * vocabulary, vocabulary);
}

/// Empty where the device has not looked.
std::span<const float> largest_of(const worker_state& state, std::uint32_t index, std::uint32_t vocabulary) {
  const auto blocks = sampling::blocks_of(vocabulary);
  const auto all = state.device->largest_logits();
  return all.empty() ? all : all.subspan(index * blocks, blocks);
}

/// Samples after a row, and after each draft that was right. What makes it impossible is the sequence's own: parameters
/// that leave no token, or logits that are no numbers. Rows are of different sequences, so threads share nothing here.
void sample_row(worker_state& state, const batch_state::rows::sample& s, std::uint32_t vocabulary,
                sampling_workspace& room, sampled_row& out) {
  auto& sampler = state.samplers[s.slot];
  const auto top = sampler.parameters().logprobs;
  out.tokens.clear();
  out.logprobs.clear();
  out.failed.reset();
  for (std::uint32_t accepted = 0;; ++accepted) {
    const auto logits = logits_of(state, s.first_logit + accepted, vocabulary);
    auto token = sampler.sample(logits, s.position + accepted, room, {},
                                largest_of(state, s.first_logit + accepted, vocabulary));
    if (!token) {
      out.failed = std::move(token.error());
    } else if (top >= 0) {
      if (auto logprob = logprob_of(logits, *token, static_cast<std::uint32_t>(top), room))
        out.logprobs.push_back(std::move(*logprob));
      else
        out.failed = std::move(logprob.error());
    }
    out.tokens.push_back(out.failed ? no_token : *token);
    const auto goes_on_from =
      out.failed ? token_id{0} : *token; // In a step in flight, whose rows for it nobody sees.
    sampler.accept(goes_on_from);
    state.batch.sampled(s.slot, goes_on_from);
    if (out.failed || accepted == s.drafts.size() || s.drafts[accepted] != *token)
      return;
  }
}

void sample_all(worker_state& state, const std::vector<batch_state::rows::sample>& samples, std::uint32_t vocabulary,
                step_result& result) {
  const auto count = static_cast<std::uint32_t>(samples.size());
  while (state.rooms.size() < std::min(count, state.device->threads()))
    state.rooms.emplace_back(vocabulary);
  if (state.sampled.size() < count)
    state.sampled.resize(count);
  state.device->for_each(count, [&](std::uint32_t index, unsigned thread) {
    sample_row(state, samples[index], vocabulary, state.rooms[thread], state.sampled[index]);
  });
  for (std::uint32_t i = 0; i < count; ++i) {
    auto& row = state.sampled[i];
    result.sampled.insert(result.sampled.end(), row.tokens.begin(), row.tokens.end());
    result.accepted.push_back(static_cast<std::uint16_t>(row.tokens.size() - 1));
    if (!row.logprobs.empty())
      result.logprobs.push_back({samples[i].row, samples[i].position, std::move(row.logprobs)});
    if (row.failed)
      result.failures.push_back({samples[i].row, std::move(*row.failed)});
  }
}

/// Logprobs of the tokens that the prompt itself has.
void judge_prompt(worker_state& state, const batch_state::rows::prompt_part& part, std::uint32_t vocabulary,
                  step_result& result) {
  const auto top = static_cast<std::uint32_t>(state.samplers[part.slot].parameters().prompt_logprobs);
  row_logprobs logprobs{part.row, part.position, {}};
  for (std::uint32_t i = 0; i < part.tokens.size(); ++i) {
    const auto logits = logits_of(state, part.first_logit + i, vocabulary);
    auto logprob = logprob_of(logits, part.tokens[i], top, state.rooms.front());
    if (!logprob) {
      result.failures.push_back({part.row, std::move(logprob.error())});
      return;
    }
    logprobs.tokens.push_back(std::move(*logprob));
  }
  result.prompt_logprobs.push_back(std::move(logprobs));
}

void join(worker_state& state, const sequence_joined& joined) {
  if (joined.slot >= state.samplers.size())
    state.samplers.resize(joined.slot + 1);
  const auto history = joined.history ? std::span<const token_id>(*joined.history) : std::span<const token_id>();
  state.samplers[joined.slot] = sequence_sampler(joined.sampling, joined.prompt_tokens, history);
}

step_outcome run(worker_state& state, const step_changes& step, std::uint32_t vocabulary) {
  const auto start = std::chrono::steady_clock::now();
  auto rows = state.batch.apply(step);
  if (!rows)
    return tl::unexpected(rows.error());
  for (const auto& joined : step.joined)
    join(state, joined);
  for (const auto& copy : step.copied)
    state.device->copy_block(copy.group, copy.from, copy.to);
  if (auto done = compute(state, step.step, **rows, vocabulary); !done) {
    state.lost = done.error();
    return tl::unexpected(done.error());
  }
  step_result result;
  result.epoch = step.epoch;
  result.step = step.step;
  sample_all(state, (*rows)->samples, vocabulary, result);
  for (const auto& part : (*rows)->prompt_parts)
    judge_prompt(state, part, vocabulary, result);
  result.compute_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return result;
}

worker_info info_of(const backend& device, std::size_t groups) {
  worker_info info{"cpu", std::string(device.name()), device.memory(), std::string(device.kv_type()), {}, {}};
  info.fingerprint = info.backend + ", " + info.kv_type;
  for (std::size_t group = 0; group < groups; ++group)
    info.block_bytes.push_back(device.block_bytes(static_cast<kv_group>(group)));
  return info;
}

expected<void> load(worker_state& state, const worker_options& options) {
  const auto& seat = options.seat;
  state.batch = batch_state(options.kv_groups, seat.place());
  state.rooms.emplace_back(options.vocabulary);
  for (auto [address, channel] : {std::pair(&seat.rows_in, &state.rows_in), {&seat.rows_out, &state.rows_out}}) {
    if (address->empty())
      continue;
    auto opened = row_channel::open(*address, seat.channel);
    if (!opened)
      return tl::unexpected(opened.error());
    channel->emplace(std::move(*opened));
  }
  auto device = options.make_backend();
  if (!device)
    return tl::unexpected(device.error());
  state.device = std::move(*device);
  return {};
}

using self_pointer = worker_actor::stateful_pointer<worker_state>;

/// Those who compute on with it hear of it at once, the executor when all is done.
void report(self_pointer self, const worker_options& options, std::uint64_t epoch, step_outcome outcome) {
  auto& state = self->state;
  if (state.lost)
    return self->quit(caf::make_error(caf::sec::runtime_error, state.lost->message));
  if (outcome && state.next)
    self->send(state.next, rows_atom::value, epoch, outcome->step);
  if (outcome && state.first && options.seat.place() == stage_place::last)
    self->send(state.first, sampled_atom::value,
               step_tokens{epoch, outcome->step, outcome->sampled, outcome->accepted});
  if (options.reports || !outcome)
    self->send(options.results, result_atom::value, epoch, std::move(outcome));
}

bool is_ready(const worker_state& state, const step_changes& step) {
  return (!state.rows_in || state.rows_there.contains(step.step)) && state.batch.has_tokens_for(step);
}

/// Runs steps in their order, until one lacks rows or tokens.
void run_what_is_ready(self_pointer self, const worker_options& options) {
  auto& state = self->state;
  while (!state.waiting.empty() && !state.lost) {
    const auto step = state.waiting.front();
    if (!state.failed && !is_ready(state, *step))
      return;
    state.waiting.pop_front();
    state.rows_there.erase(step->step);
    report(self, options, step->epoch,
           state.failed ? step_outcome(tl::unexpected(*state.failed)) : run(state, *step, options.vocabulary));
  }
}

} // namespace

expected<std::shared_ptr<communicator>> worker_seat::join() const {
  if (group.empty())
    return nullptr;
  return join_shared_group(group, {.shards = shards, .epoch = epoch}, rank).map([](auto&& joined) {
    return std::shared_ptr<communicator>(std::move(joined));
  });
}

worker_actor::behavior_type worker(self_pointer self, worker_options given) {
  explain_exceptions(self);
  if (auto loaded = load(self->state, given); !loaded)
    self->state.failed = loaded.error();
  const auto options = std::make_shared<const worker_options>(std::move(given));
  return {
    [=](rows_atom, std::uint64_t, std::uint64_t step) {
      self->state.rows_there.insert(step);
      run_what_is_ready(self, *options);
    },
    [=](sampled_atom, const step_tokens& tokens) {
      if (auto taken = self->state.batch.take_tokens(tokens); !taken)
        return report(self, *options, tokens.epoch, tl::unexpected(taken.error()));
      run_what_is_ready(self, *options);
    },
    [=](attach_atom, const chain_actor& next, const chain_actor& first) {
      self->state.next = next;
      self->state.first = first;
    },
    [=](step_atom, const step_ptr& step) {
      self->state.waiting.push_back(step);
      run_what_is_ready(self, *options);
    },
    [=](read_atom, const std::vector<block_place>& places) -> expected<block_contents> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return read_blocks(*self->state.device, places);
    },
    [=](write_atom, const block_contents& contents) -> expected<nothing> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return write_blocks(*self->state.device, contents).map([] { return nothing{}; });
    },
    [=](info_atom) -> expected<worker_info> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return info_of(*self->state.device, options->kv_groups);
    },
  };
}

} // namespace troupe
