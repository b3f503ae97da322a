// Where the real model is, for tests that need it. Its path is in the environment variable TROUPE_TEST_MODEL, or else
// it is where tools/fetch-model puts it.
//
//   BOOST_AUTO_TEST_CASE(a_claim, *boost::unit_test::precondition(troupe::test::needs_real_model))
//
// Where it is missing, such a test is reported as skipped, with the reason.
#pragma once

#include <cstdlib>
#include <filesystem>

#include <boost/test/unit_test.hpp>

namespace troupe::test {

inline std::filesystem::path real_model_path() {
  if (const char* given = std::getenv("TROUPE_TEST_MODEL"); given != nullptr && *given != '\0')
    return given;
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : "/") / ".cache/troupe/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

inline boost::test_tools::assertion_result needs_real_model(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result result(std::filesystem::exists(real_model_path()));
  if (!result)
    result.message() << "there is no model at " << real_model_path() << " (set TROUPE_TEST_MODEL, or run tools/fetch-model)";
  return result;
}

} // namespace troupe::test
