// Steps in two halves: the next one is queued, going on from tokens on the device, before this one's are known here.
#include <cassert>

#include "gpu/backend/gpu_backend.hpp"

namespace troupe::gpu {

expected<void> gpu_backend::make_sides() {
  for (auto& side : sides_) {
    for (const auto& [at, bytes] :
         {std::pair(&side.words, words_room()), {&side.results, sampling_.results_room()}}) {
      auto made = device_->allocate_pinned(bytes);
      if (!made)
        return tl::unexpected(made.error());
      *at = *made;
    }
    auto event = device_->make_event();
    if (!event)
      return tl::unexpected(event.error());
    side.computed = *event;
  }
  return {};
}

bool gpu_backend::samples(std::span<const sampling_request> asked) const {
  return !logit_parts_.shared() && sampling_.has_room_for(asked);
}

/// Ranks and stages meet others in a step, on the host.
bool gpu_backend::runs_ahead() const {
  return !options_.group && !program_.takes_hidden() && !program_.gives_hidden();
}

expected<void> gpu_backend::begin(const forward_batch& batch) {
  assert(begun_.size() < sides_.size() && batch.given_logits() == 0 && batch.hidden_rows.empty());
  if (auto done = compute(batch); !done)
    return done;
  const auto& side = sides_[side_];
  if (!batch.sampling.empty())
    if (auto done = device_->copy(stream_, side.results, sampling_.results(), sampling_.result_bytes()); !done)
      return done;
  if (auto done = device_->record(side.computed, stream_); !done)
    return done;
  begun_.push_back({&side, sampling_.rows(), batch.sampling, batch.chosen});
  return {};
}

expected<bool> gpu_backend::is_done() {
  return device_->is_done(begun_.front().side->computed);
}

expected<void> gpu_backend::end() {
  const auto first = begun_.front();
  begun_.pop_front();
  return device_->synchronize(first.side->computed).map([&] {
    read_choices(first.side->results, first.sampled_rows, first.asked, first.chosen);
  });
}

} // namespace troupe::gpu
