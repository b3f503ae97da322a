// What a rank does with the others: the group of their devices, and sums over it.
//
// A product's parts are small in decoding and large in prompts. Small ones each rank gets from all others, and adds them up in the order of
// the ranks in the kernel that adds the sum to the residual: one step between the devices, where a ring has two for each rank, and fixed
// bits. Large ones are the library's sum, which moves fewer bytes; but with `batch_invariant` all go the first way, since where in the batch
// a row is changes the order of the library's sum.
#include <algorithm>

#include <fmt/format.h>

#include "gpu/backend/gpu_backend.hpp"
#include "gpu/kernels/launch_plan.hpp"

namespace troupe::gpu {

namespace {

/// Of all ranks together: up to so many are gathered, unless all are. Nobody has measured where the library's sum becomes better.
constexpr std::size_t small_parts_bytes = std::size_t{1} << 18;

} // namespace

/// Nothing where the program is not one of several ranks'.
std::size_t gpu_backend::gathered_room() const {
  const auto ranks = program_.logit_cuts.empty() ? 1 : program_.logit_cuts.size() - 1;
  const auto largest = ranks > 1 ? ranks * options_.max_rows * program_.width * sizeof(float) : 0;
  return options_.batch_invariant ? largest : std::min(largest, small_parts_bytes);
}

expected<void> gpu_backend::make_ranks() {
  if (!options_.group || options_.group->size() == 1)
    return {};
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].kind != step_kind::all_reduce || steps_[i].output == device_buffer::hidden)
      continue;
    const bool is_added = i + 1 < steps_.size() && (steps_[i + 1].kind == step_kind::add || steps_[i + 1].adds);
    if (!is_added)
      return fail(errc::unsupported,
                  fmt::format("The CUDA backend has no kernel for what follows the sum over ranks in step {}.", i));
  }
  ranks_.emplace(*device_, options_.group, options_.collective_timeout);
  return ranks_->prepare();
}

/// The other ranks may load longer.
expected<void> gpu_backend::meet() {
  if (!options_.group || std::exchange(met_, true))
    return {};
  if (auto met = options_.group->barrier(std::chrono::steady_clock::now() + options_.loading_timeout); !met)
    return met;
  return ranks_ ? ranks_->begin() : expected<void>{};
}

expected<void> gpu_backend::finish() {
  return ranks_ ? ranks_->wait(stream_) : device_->synchronize(stream_);
}

expected<void> gpu_backend::all_reduce(const step& step) {
  if (!ranks_)
    return {};
  const auto count = std::size_t{rows_} * program_.width;
  // Of an embedding's row all ranks but one have zeros, and no order changes that sum.
  const bool is_exact = step.output == device_buffer::hidden;
  is_gathered_ =
    !is_exact && (options_.batch_invariant || ranks_->size() * count * sizeof(float) <= small_parts_bytes);
  return is_gathered_ ? ranks_->all_gather(stream_, at(step.output), gathered_, count)
                      : ranks_->all_reduce(stream_, at(step.output), count);
}

expected<void> gpu_backend::add_gathered(const step& step) {
  is_gathered_ = false;
  if (step.kind == step_kind::add) {
    const add_parts::arguments a{{at(device_buffer::hidden)}, {gathered_}, rows_ * program_.width, ranks_->size()};
    return launch(plan_of<add_parts>(a.count), &a);
  }
  const add_parts_rms_norm::arguments a{{at(device_buffer::hidden)},
                                        {gathered_},
                                        {weights_.vector(step.op.weight)},
                                        {at(device_buffer::normed)},
                                        rows_,
                                        program_.width,
                                        ranks_->size(),
                                        program_.rms_epsilon};
  auto how = plan_of<add_parts_rms_norm>(rows_, program_.width);
  how.shape.threads = add_rms_norm::max_threads; // As the other norms here: their bits depend on it.
  return launch(how, &a);
}

} // namespace troupe::gpu
