// The worker of production, attached and with a backend that computes nothing but hashes (tests/support/fake_backend.hpp); in every
// second world one that samples by itself and runs ahead (tests/support/sampling_backend.hpp).
#pragma once

#include "actors/worker.hpp"
#include "tests/simulation/fake_worker.hpp"

namespace troupe::simulated {

/// A worker that may die in any step. It computes in no time: whoever wants steps to take some delays them on their way.
worker_actor make_real_worker(caf::actor_system& system, const std::shared_ptr<fake_device>& device,
                              results_actor results);

} // namespace troupe::simulated
