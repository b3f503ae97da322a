#include "actors/worker.hpp"

#include <chrono>
#include <cmath>

#include "actors/exceptions.hpp"
#include "model/sampling.hpp"

namespace troupe {

namespace {

void compute(worker_state& state, const batch_state::rows& rows, std::uint32_t vocabulary) {
  std::vector<batch_span> spans;
  std::vector<std::uint32_t> logit_rows;
  for (const auto& s : rows.spans)
    spans.push_back({s.first_row, s.count, s.first_position, s.blocks});
  for (const auto& s : rows.samples)
    logit_rows.push_back(s.row);
  state.logits.resize(std::size_t{vocabulary} * logit_rows.size());
  state.device->forward({rows.tokens, spans, logit_rows}, state.logits);
}

expected<step_result> run(worker_state& state, const step_changes& step, std::uint32_t vocabulary) {
  const auto start = std::chrono::steady_clock::now();
  auto rows = state.batch.apply(step);
  if (!rows)
    return tl::unexpected(rows.error());
  compute(state, **rows, vocabulary);
  step_result result{step.epoch, step.step, {}, 0};
  const std::span<const float> logits = state.logits;
  for (std::size_t i = 0; i < (*rows)->samples.size(); ++i) {
    const auto& s = (*rows)->samples[i];
    const auto row = logits.subspan(i * vocabulary, vocabulary);
    const auto token = sample(row, s.sampling, s.position);
    if (!std::isfinite(row[static_cast<std::size_t>(token)]))
      return fail(errc::internal, "The model has computed something that is not a number: its file may be damaged.");
    result.sampled.push_back({s.sequence, s.position, token});
  }
  for (const auto& s : result.sampled)
    state.batch.sampled(s.sequence, s.token);
  result.compute_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return result;
}

} // namespace

worker_actor::behavior_type worker(worker_actor::stateful_pointer<worker_state> self, backend_factory make_backend,
                                   std::uint32_t vocabulary) {
  explain_exceptions(self);
  if (auto device = make_backend())
    self->state.device = std::move(*device);
  else
    self->state.failed = device.error();
  return {
    [=](step_atom, const step_ptr& step) -> expected<step_result> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return run(self->state, *step, vocabulary);
    },
    [=](info_atom) -> expected<worker_info> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      const auto& device = *self->state.device;
      return worker_info{"cpu", std::string(device.name()), device.memory()};
    },
  };
}

} // namespace troupe
