// Runs of kernels with a planted bug: each is found for one of 20 seeds, and what is right is right for all of them.
#pragma once

#include <optional>
#include <string>

#include "tests/gpu/shim_fixture.hpp"

namespace troupe::gpu::test {

inline constexpr std::uint32_t seeds = 20;

/// What a run has come to: right, a violation, or wrong numbers.
struct outcome {
  bool right = false;
  std::optional<shim::violation_kind> found;
  std::string what;
};

template <class Fixture, class Value>
outcome compare(Fixture& fixture, const std::vector<Value>& got, const std::vector<Value>& wanted) {
  if (const auto& why = fixture.device.lost_by())
    return {false, why->kind(), why->what()};
  return {got == wanted, {}, "wrong numbers"};
}

inline std::vector<float> numbers(std::size_t count) {
  std::vector<float> result(count);
  for (std::size_t i = 0; i < count; ++i)
    result[i] = static_cast<float>(static_cast<int>(i * 7 % 23) - 11);
  return result;
}

template <class Run>
void expect_right(const char* name, Run run) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    const auto got = run(seed);
    BOOST_TEST(got.right, name << ", seed " << seed << ": " << got.what);
  }
}

/// For one of the seeds it is found as what it is: another order may show something else first.
template <class Run>
void expect_found(const char* name, Run run, std::optional<shim::violation_kind> kind) {
  bool as_that = false;
  std::string what = "nothing";
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    const auto got = run(seed);
    if (!got.right)
      what = got.what;
    as_that = as_that || (!got.right && got.found == kind);
  }
  BOOST_TEST(as_that, name << " was found as " << what);
}

} // namespace troupe::gpu::test
