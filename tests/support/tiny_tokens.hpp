// The tokenizer of the tiny model, made once for each test program.
#pragma once

#include <boost/test/unit_test.hpp>

#include <memory>

#include "model/tokenizer/tokenizer.hpp"
#include "tests/support/tiny_model.hpp"

namespace troupe::test {

inline std::shared_ptr<const tokenizer> tiny_tokens() {
  static const auto tokens = [] {
    auto file = gguf::parse(tiny_model());
    BOOST_REQUIRE(file);
    auto result = tokenizer::from_gguf(**file);
    BOOST_REQUIRE(result);
    return *result;
  }();
  return tokens;
}

} // namespace troupe::test
