// What a worker does with a step: applies it to its batch, has it computed, and makes a result of what comes of it.
//
// A device that samples by itself computes a step in two halves, so that it always has another one to go on with: at most two steps have
// begun, the second of them one for which nothing but the first one's tokens is missing (model/step_sampler.hpp decides that). Any other
// device computes a step when it is begun.
//
// Owner: the worker; its thread.
#pragma once

#include <optional>

#include "actors/worker.hpp"

namespace troupe {

/// Whether this step, the next one, can be begun now. If not, it can when rows or tokens have come, or what has begun has ended.
bool can_begin(worker_state& state, const step_changes& step);

/// Applies a step and has it computed. Empty: it has begun, and `end_step` will have its outcome.
std::optional<step_outcome> begin_step(worker_state& state, const step_ptr& step, const worker_options& options);

/// Waits for the step that was begun first.
step_outcome end_step(worker_state& state, const worker_options& options);

} // namespace troupe
