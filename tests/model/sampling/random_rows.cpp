#include "tests/model/sampling/random_rows.hpp"

#include <cmath>
#include <limits>

namespace troupe::tests {

std::vector<sampling::vectors> available_vectors() {
  std::vector<sampling::vectors> out;
  for (auto which : {sampling::vectors::portable, sampling::vectors::avx2, sampling::vectors::avx512})
    if (which <= sampling::best_vectors())
      out.push_back(which);
  return out;
}

// Box and Muller's, since the standard library's differs between implementations.
float random_rows::normal(float deviation) {
  const double u = (static_cast<double>(engine_() >> 11) + 0.5) * 0x1p-53;
  const double v = static_cast<double>(engine_() >> 11) * 0x1p-53;
  return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v)) * deviation;
}

std::vector<float> random_rows::row(std::size_t vocabulary) {
  std::vector<float> out(vocabulary);
  const auto kind = below(8);
  const float deviation = std::vector<float>{0.1f, 1, 2.5f, 4}[below(4)];
  for (auto& logit : out)
    logit = normal(deviation);
  if (kind == 1) // Ties, -0 among them.
    for (auto& logit : out)
      logit = std::round(logit * 2) / 2;
  if (kind == 2)
    out.assign(vocabulary, normal(3));
  if (kind == 3)
    for (int i = 0; i < 40; ++i)
      out[below(vocabulary)] = 15.0f - 0.3f * static_cast<float>(i);
  if (kind == 4)
    out[below(vocabulary)] = 60;
  if (kind == 5)
    for (auto& logit : out)
      logit = normal(1) * std::ldexp(1.0f, static_cast<int>(below(200)) - 100);
  if (one_in(4))
    for (std::size_t i = below(4); i < vocabulary; i += 1 + below(4))
      if (i != vocabulary / 2)
        out[i] = -std::numeric_limits<float>::infinity();
  return out;
}

sequence_sampling random_rows::truncation(std::size_t vocabulary) {
  const float share[] = {0.9f, 0.5f, 0.99f, 0.1f, 1e-6f, 0.9999f};
  const float temperatures[] = {1, 0.7f, 1.5f, 0.3f, 0.01f, 3, 100, 1e-30f};
  sequence_sampling s;
  s.temperature = temperatures[one_in(3) ? below(8) : below(3)];
  s.seed = engine_();
  s.choice = static_cast<std::uint32_t>(below(3));
  if (one_in(3))
    s.top_k = static_cast<std::uint32_t>(one_in(2) ? 1 + below(50) : 1 + below(vocabulary + 10));
  if (one_in(2))
    s.top_p = share[below(6)];
  if (one_in(3))
    s.min_p = std::vector<float>{0.05f, 0.5f, 1e-4f, 1, 1e-12f}[below(5)];
  if (one_in(3))
    s.typical_p = share[below(6)];
  return s;
}

std::vector<token_id> random_rows::tokens(std::size_t count, std::size_t vocabulary) {
  std::vector<token_id> out(count);
  for (auto& token : out)
    token = static_cast<token_id>(below(vocabulary));
  return out;
}

} // namespace troupe::tests
