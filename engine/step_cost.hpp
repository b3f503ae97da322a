// What a step costs, learnt from steps: milliseconds = a + b * rows + c * attended, where `attended` is the sum over
// rows of the positions that each looks at. Recursive least squares with forgetting, so that it follows a machine that
// becomes busier. Sources: Haykin, "Adaptive Filter Theory", chapter 10; the forgetting is directional, as in Cao and
// Schwartz, "A directional forgetting algorithm based on the decomposition of the information matrix" (2000).
//
// Invariants: no part of the cost is negative, so that more work never seems cheaper. What kinds of work the latest
// steps did not have is not forgotten: hours of decodes leave in place what a prompt's rows cost. Where steps do not
// tell the parts apart (all have had one row), the rows are charged with the cost, not the step: a guess that is too
// careful corrects itself with the next step, one that is too bold is felt. Errors count in proportion to the step's
// time. A step that was held up (the machine slept) moves the estimate by little; if slow steps go on, they are
// believed.
//
// Owner: the planner; one thread. Deterministic: the same steps give the same bits.
#pragma once

#include <array>
#include <cstdint>

namespace troupe {

struct step_work {
  std::uint64_t rows = 0, attended = 0;
};

/// The work with `count` more rows, of a sequence that is computed up to `position`.
constexpr step_work with_rows(step_work work, std::uint32_t position, std::uint32_t count) {
  work.rows += count;
  work.attended += std::uint64_t{count} * position + std::uint64_t{count} * (std::uint64_t{count} + 1) / 2;
  return work;
}

class step_cost {
public:
  /// Steps without rows, and times that are negative or no numbers, teach nothing.
  void learn(const step_work& work, double milliseconds);

  /// 0 as long as nothing was learnt.
  double predict(const step_work& work) const;

  /// How many rows, of a sequence that is computed up to `position`, can be added to a step with this work so that it
  /// stays within the budget. At most `most`; all of them as long as nothing was learnt. It may be 0 for ever, where
  /// the budget is less than any step takes: who must get on is not to ask.
  std::uint32_t rows_within(double budget_ms, const step_work& work, std::uint32_t position, std::uint32_t most) const;

  std::uint64_t steps() const { return steps_; }

private:
  using vector = std::array<double, 3>;
  using matrix = std::array<vector, 3>;

  void forget(const vector& x);

  vector estimate_{};    ///< As the steps have it; parts may be negative.
  vector weights_{};     ///< The likeliest without negative parts: what predictions use.
  matrix information_{}; ///< Inverse of the estimate's covariance, where relative errors have variance 1.
  double bias_ = 0;      ///< Mean of the latest relative errors.
  std::uint64_t steps_ = 0;
};

} // namespace troupe
