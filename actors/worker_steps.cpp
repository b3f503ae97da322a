#include "actors/worker_steps.hpp"

#include <algorithm>

namespace troupe {

namespace {

using step_clock = std::chrono::steady_clock;

step_outcome lose(worker_state& state, error why) {
  state.lost = std::move(why);
  return tl::unexpected(*state.lost);
}

expected<void> apply(worker_state& state, const step_changes& step) {
  for (const auto& joined : step.joined) {
    state.sampler->join(joined);
    state.pooler.join(joined);
  }
  for (const auto& copy : step.copied)
    if (auto copied = state.device->copy_block(copy.group, copy.from, copy.to); !copied)
      return copied;
  return {};
}

/// True: it has only begun.
expected<bool> compute(worker_state& state, std::uint64_t step, const batch_state::rows& rows,
                       const worker_options& options) {
  std::vector<batch_span> spans;
  for (const auto& s : rows.spans)
    spans.push_back({s.first_row, s.count, s.first_position, s.tables[0], s.tables});
  state.hidden.resize(std::size_t{options.width} * rows.hidden_rows.size());
  forward_batch batch{rows.tokens, spans, rows.logit_rows};
  batch.hidden_rows = rows.hidden_rows;
  batch.hidden = state.hidden;
  state.sampler->prepare(rows, *state.device, batch);
  state.logits.resize(std::size_t{options.vocabulary} * batch.given_logits());
  if (state.rows_in)
    batch.input = state.rows_in->rows_of(step, rows.tokens.size());
  if (state.rows_out)
    batch.output = state.rows_out->rows_of(step, rows.tokens.size());
  if (state.device->runs_ahead() && batch.given_logits() == 0 && batch.hidden_rows.empty())
    return state.device->begin(batch).map([] { return true; });
  return state.device->forward(batch, state.logits).map([] { return false; });
}

void observe_part(const worker_options& options, const step_changes& step, step_clock::time_point begun,
                  step_clock::time_point ended) {
  if (options.observed_by.empty())
    return;
  const part_record part{options.engine, step.step, step.epoch, options.seat.stage, options.seat.rank, begun, ended};
  for (const auto& each : options.observed_by)
    each->computed(part);
}

step_outcome result_of(worker_state& state, const step_changes& step, const batch_state::rows& rows,
                       step_clock::time_point since, const worker_options& options) {
  step_result result;
  result.epoch = step.epoch;
  result.step = step.step;
  if (auto done = state.sampler->sample(rows, state.logits, *state.device, state.batch, result); !done)
    return lose(state, std::move(done.error()));
  state.pooler.pool(rows, state.hidden, options.width, result);
  const auto begun = std::max(since, state.last_end); // Before that the device had another one.
  state.last_end = step_clock::now();
  result.compute_ms = std::chrono::duration<double, std::milli>(state.last_end - begun).count();
  observe_part(options, step, begun, state.last_end);
  return result;
}

} // namespace

bool can_begin(worker_state& state, const step_changes& step) {
  if ((state.rows_in && !state.rows_there.contains(step.step)) || !state.batch.has_tokens_for(step))
    return false;
  return state.begun.empty() || (state.begun.size() < 2 && state.sampler->can_run_ahead(step, *state.device));
}

std::optional<step_outcome> begin_step(worker_state& state, const step_ptr& step, const worker_options& options) {
  const auto since = step_clock::now();
  const auto rows = state.batch.apply(*step, !state.begun.empty());
  if (!rows)
    return tl::unexpected(rows.error());
  if (auto applied = apply(state, *step); !applied)
    return lose(state, std::move(applied.error()));
  const auto goes_on = compute(state, step->step, **rows, options);
  if (!goes_on)
    return lose(state, goes_on.error());
  if (!*goes_on)
    return result_of(state, *step, **rows, since, options);
  state.begun.push_back({step, **rows, since});
  return std::nullopt;
}

step_outcome end_step(worker_state& state, const worker_options& options) {
  const auto first = std::move(state.begun.front());
  state.begun.pop_front();
  if (auto ended = state.device->end(); !ended)
    return lose(state, std::move(ended.error()));
  return result_of(state, *first.step, first.rows, first.since, options);
}

} // namespace troupe
