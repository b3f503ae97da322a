#include "tools/troupe/bench/arrivals.hpp"

#include <cmath>
#include <random>

namespace troupe::cli {

std::vector<double> arrival_times(std::size_t count, double rate, double burstiness, std::uint64_t seed) {
  std::vector<double> times(count, 0);
  if (std::isinf(rate) || count == 0)
    return times;
  std::mt19937_64 random(seed);
  std::gamma_distribution<double> gaps(std::isinf(burstiness) ? 1 : burstiness);
  double now = 0;
  for (auto& time : times)
    time = now += std::isinf(burstiness) ? 1 : gaps(random);
  if (now > 0)
    for (auto& time : times)
      time *= static_cast<double>(count) / rate / now;
  return times;
}

} // namespace troupe::cli
