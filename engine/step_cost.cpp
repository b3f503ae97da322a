#include "engine/step_cost.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace troupe {

namespace {

using vector = std::array<double, 3>;
using matrix = std::array<vector, 3>;

// Units in which the three parts are about as likely to be the reason of a step's time, the rows a little more: an
// estimate of parts that were not told apart is the one with the smallest sum of squares in these units.
constexpr double step_unit = 0.25;
constexpr double attended_unit = 1.0 / 4096; // Attention to so many positions costs about as much as a row.

// Of what is known in the direction of a new step, so much is kept. In the beginning less: first steps are slow.
constexpr double memory = 0.98, first_memory = 0.5, memory_growth = 0.9;

// While steps err to one side, the machine has changed its speed: of all that is known, so much is kept.
constexpr double surprised_memory = 0.7;
constexpr double bias_share = 1.0 / 8; // Of a new error in the mean of errors; the error is within [-1, 1].
constexpr double most_bias = 0.3;      // One step alone does not reach it.

constexpr double ignorance = 1e-4; // Of the first step's information: what is known before it.
constexpr double longest_ms = 1e7; // Three hours. No step takes so long, or has so many rows; more would drown the
constexpr std::uint64_t most_rows = 1 << 20; // rest in rounding errors.
constexpr double most_surprise = 8; // A time over so many times the prediction counts the less, the longer it is.
constexpr double least_ms = 0.1;    // Errors are relative to the step's time, but of a shorter one to this.

vector features(const step_work& work) {
  return {step_unit, static_cast<double>(std::min(work.rows, most_rows)),
          static_cast<double>(std::min(work.attended, most_rows * most_rows)) * attended_unit};
}

double dot(const vector& a, const vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

vector times(const matrix& m, const vector& v) { return {dot(m[0], v), dot(m[1], v), dot(m[2], v)}; }

/// Solves m * x = v for the parts that are not fixed; those are 0. `m` is positive definite: elimination needs no
/// pivots.
vector solve(matrix m, vector v, const std::array<bool, 3>& fixed) {
  for (std::size_t i = 0; i < 3; ++i)
    if (fixed[i]) {
      for (std::size_t j = 0; j < 3; ++j)
        m[i][j] = m[j][i] = 0;
      m[i][i] = 1;
      v[i] = 0;
    }
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = i + 1; j < 3; ++j) {
      const double share = m[j][i] / m[i][i];
      for (std::size_t k = i; k < 3; ++k)
        m[j][k] -= share * m[i][k];
      v[j] -= share * v[i];
    }
  for (std::size_t i = 3; i-- > 0;) {
    for (std::size_t k = i + 1; k < 3; ++k)
      v[i] -= m[i][k] * v[k];
    v[i] /= m[i][i];
  }
  return v;
}

/// The likeliest parts of which none is negative: the best of the eight choices of which are 0.
vector without_negatives(const matrix& information, const vector& estimate) {
  const vector known = times(information, estimate);
  vector best{};
  double best_loss = std::numeric_limits<double>::infinity();
  for (unsigned choice = 0; choice < 8; ++choice) {
    const auto w = solve(information, known, {(choice & 1) != 0, (choice & 2) != 0, (choice & 4) != 0});
    if (!(w[0] >= 0 && w[1] >= 0 && w[2] >= 0))
      continue;
    const double loss = dot(w, times(information, w)) - 2 * dot(w, known);
    if (loss < best_loss) {
      best = w;
      best_loss = loss;
    }
  }
  return best;
}

} // namespace

void step_cost::forget(const vector& x) {
  if (std::abs(bias_) > most_bias) {
    for (auto& row : information_)
      for (auto& entry : row)
        entry *= surprised_memory;
    return;
  }
  const double kept = memory - (memory - first_memory) * std::pow(memory_growth, static_cast<double>(steps_));
  const auto known = times(information_, x);
  const double share = (1 - kept) / dot(x, known);
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      information_[i][j] -= share * known[i] * known[j];
}

void step_cost::learn(const step_work& work, double milliseconds) {
  if (work.rows == 0 || !std::isfinite(milliseconds) || milliseconds < 0)
    return;
  const double measured = std::min(milliseconds, longest_ms);
  const double unit = std::max({predict(work), measured / most_surprise, least_ms});
  auto x = features(work);
  for (auto& part : x)
    part /= unit;
  const double error = measured / unit - dot(x, estimate_);
  // The little that is known before any step comes anew with each, so that forgetting does not eat it.
  for (std::size_t i = 0; i < 3; ++i)
    information_[i][i] += (steps_ == 0 ? 1 : 1 - memory) * ignorance / (unit * unit);
  forget(x);
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      information_[i][j] += x[i] * x[j];
  const auto gain = solve(information_, x, {});
  for (std::size_t i = 0; i < 3; ++i)
    estimate_[i] += gain[i] * error;
  weights_ = without_negatives(information_, estimate_);
  bias_ += bias_share * (std::clamp(error, -1.0, 1.0) - bias_);
  ++steps_;
}

double step_cost::predict(const step_work& work) const { return dot(features(work), weights_); }

std::uint32_t step_cost::rows_within(double budget_ms, const step_work& work, std::uint32_t position,
                                     std::uint32_t most) const {
  auto fits = [&](std::uint32_t rows) { return predict(with_rows(work, position, rows)) <= budget_ms; };
  if (steps_ == 0 || fits(most))
    return most;
  // No part of the cost is negative: if so many rows fit, fewer do.
  std::uint32_t fitting = 0, too_many = most;
  while (too_many - fitting > 1) {
    const auto middle = fitting + (too_many - fitting) / 2;
    (fits(middle) ? fitting : too_many) = middle;
  }
  return fitting;
}

} // namespace troupe
