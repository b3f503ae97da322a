// When requests of a benchmark are sent.
#pragma once

#include <cstdint>
#include <vector>

namespace troupe::cli {

/// Seconds from the start at which each of `count` requests arrives, `rate` in a second on average. The times between
/// them are of a gamma distribution with the shape `burstiness`: 1 is a Poisson process, less comes in bursts, infinity
/// is even. They are scaled so that the last arrives after count / rate seconds, as vLLM's client has it, so that
/// seeds do not change the load. An infinite rate: all at 0. `rate` and `burstiness` are more than 0.
std::vector<double> arrival_times(std::size_t count, double rate, double burstiness, std::uint64_t seed);

} // namespace troupe::cli
