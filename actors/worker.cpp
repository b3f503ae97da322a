#include "actors/worker.hpp"

#include <chrono>

#include "actors/block_contents.hpp"
#include "actors/exceptions.hpp"

namespace troupe {

namespace {

expected<void> compute(worker_state& state, std::uint64_t step, const batch_state::rows& rows,
                       const worker_options& options) {
  std::vector<batch_span> spans;
  for (const auto& s : rows.spans)
    spans.push_back({s.first_row, s.count, s.first_position, s.tables[0], s.tables});
  state.logits.resize(std::size_t{options.vocabulary} * rows.logit_rows.size());
  state.hidden.resize(std::size_t{options.width} * rows.hidden_rows.size());
  forward_batch batch{rows.tokens, spans, rows.logit_rows};
  batch.hidden_rows = rows.hidden_rows;
  batch.hidden = state.hidden;
  batch.own_logits = state.sampler->own_logits(rows, *state.device);
  if (state.rows_in)
    batch.input = state.rows_in->rows_of(step, rows.tokens.size());
  if (state.rows_out)
    batch.output = state.rows_out->rows_of(step, rows.tokens.size());
  return state.device->forward(batch, state.logits);
}

step_outcome run(worker_state& state, const step_changes& step, const worker_options& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto applied = state.batch.apply(step);
  if (!applied)
    return tl::unexpected(applied.error());
  const auto& rows = **applied;
  for (const auto& joined : step.joined) {
    state.sampler->join(joined);
    state.pooler.join(joined);
  }
  for (const auto& copy : step.copied)
    if (auto copied = state.device->copy_block(copy.group, copy.from, copy.to); !copied) {
      state.lost = copied.error();
      return tl::unexpected(copied.error());
    }
  step_result result;
  result.epoch = step.epoch;
  result.step = step.step;
  auto done = compute(state, step.step, rows, options);
  if (done)
    done = state.sampler->sample(rows, state.logits, *state.device, state.batch, result);
  if (!done) {
    state.lost = done.error();
    return tl::unexpected(done.error());
  }
  state.pooler.pool(rows, state.hidden, options.width, result);
  result.compute_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return result;
}

worker_info info_of(const backend& device, std::size_t groups) {
  worker_info info{
    std::string(device.device()), std::string(device.name()), device.memory(), std::string(device.kv_type()), {}, {}};
  info.fingerprint = info.backend + ", " + info.kv_type;
  for (std::size_t group = 0; group < groups; ++group)
    info.block_bytes.push_back(device.block_bytes(static_cast<kv_group>(group)));
  return info;
}

expected<void> load(worker_state& state, const worker_options& options) {
  const auto& seat = options.seat;
  state.batch = batch_state(options.kv_groups, seat.place());
  state.sampler.emplace(options.vocabulary);
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

using worker_pointer = worker_actor::stateful_pointer<worker_state>;

/// Those who compute on with it hear of it at once, the executor when all is done.
void report(worker_pointer self, const worker_options& options, std::uint64_t epoch, step_outcome outcome) {
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

void observe_part(const worker_options& options, const step_changes& step,
                  std::chrono::steady_clock::time_point begun) {
  if (options.observed_by.empty())
    return;
  const part_record part{options.engine,
                         step.step,
                         step.epoch,
                         options.seat.stage,
                         options.seat.rank,
                         begun,
                         std::chrono::steady_clock::now()};
  for (const auto& each : options.observed_by)
    each->computed(part);
}

bool is_ready(const worker_state& state, const step_changes& step) {
  return (!state.rows_in || state.rows_there.contains(step.step)) && state.batch.has_tokens_for(step);
}

/// Runs steps in their order, until one lacks rows or tokens.
void run_what_is_ready(worker_pointer self, const worker_options& options) {
  auto& state = self->state;
  while (!state.waiting.empty() && !state.lost) {
    const auto step = state.waiting.front();
    if (!state.failed && !is_ready(state, *step))
      return;
    state.waiting.pop_front();
    state.rows_there.erase(step->step);
    const auto begun = std::chrono::steady_clock::now();
    auto outcome = state.failed ? step_outcome(tl::unexpected(*state.failed)) : run(state, *step, options);
    if (outcome)
      observe_part(options, *step, begun);
    report(self, options, step->epoch, std::move(outcome));
  }
}

} // namespace

observers who_want_parts(const observers& all) {
  observers wanting;
  for (const auto& each : all)
    if (each->wants_parts())
      wanting.push_back(each);
  return wanting;
}

expected<std::shared_ptr<communicator>> worker_seat::join() const {
  if (group.empty())
    return nullptr;
  return join_shared_group(group, {.shards = shards, .epoch = epoch}, rank).map([](auto&& joined) {
    return std::shared_ptr<communicator>(std::move(joined));
  });
}

worker_actor::behavior_type worker(worker_pointer self, worker_options given) {
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
