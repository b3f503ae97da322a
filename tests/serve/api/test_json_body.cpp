#include "serve/api/json_body.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>

using namespace troupe;
using namespace troupe::serve;

BOOST_AUTO_TEST_SUITE(json_body_suite)

namespace {

std::string nested(std::size_t depth) {
  return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
}

} // namespace

BOOST_AUTO_TEST_CASE(a_body_keeps_the_order_of_its_members) {
  const std::string text = R"({"z":[1,2.5,-3,true,null],"a":{"c":"\u00e9","b":[]},"e":{}})";
  const auto body = parse_body(text);
  BOOST_REQUIRE(body);
  BOOST_TEST(to_text(*body) == "{\"z\":[1,2.5,-3,true,null],\"a\":{\"c\":\"é\",\"b\":[]},\"e\":{}}");
}

BOOST_AUTO_TEST_CASE(what_is_no_json_object_is_malformed) {
  for (const char* text : {"", "x", "{", "[1]", "3", "null", "{\"a\":}", "{\"a\":1}}", "{\"a\":1e999}",
                           "{\"a\":\"\xff\"}", "{\"a\":\"\\ud800\"}", "{'a':1}", "{\"a\":NaN}"}) {
    const auto body = parse_body(text);
    BOOST_REQUIRE_MESSAGE(!body, text);
    BOOST_TEST((body.error().code == errc::malformed), text);
  }
}

BOOST_AUTO_TEST_CASE(a_key_that_stands_twice_is_refused) {
  const auto body = parse_body(R"({"a":{"n":1,"m":2,"n":1}})");
  BOOST_REQUIRE(!body);
  BOOST_TEST(body.error().message.starts_with("Field 'n' is there twice"));
}

BOOST_AUTO_TEST_CASE(nesting_ends_at_its_limit) {
  BOOST_TEST(parse_body(nested(json_limits().max_nesting)).has_value());
  const auto deeper = parse_body(nested(json_limits().max_nesting + 1));
  BOOST_REQUIRE(!deeper);
  BOOST_TEST((deeper.error().code == errc::limit_exceeded));
  BOOST_TEST(!parse_body(std::string(1 << 20, '[')).has_value());
}

BOOST_AUTO_TEST_CASE(values_and_numbers_end_at_their_limits) {
  std::string lists = "{\"a\":[";
  for (std::size_t i = 0; i < json_limits().max_values; ++i)
    lists += "[],";
  lists += "[]]}";
  const auto body = parse_body(lists);
  BOOST_REQUIRE(!body);
  BOOST_TEST((body.error().code == errc::limit_exceeded));
}

BOOST_AUTO_TEST_CASE(an_object_of_many_keys_is_read_in_a_moment) {
  std::string text = "{";
  for (int i = 0; i < 300000; ++i)
    text += "\"k" + std::to_string(i) + "\":0,";
  text += "\"end\":0}";
  const auto before = std::chrono::steady_clock::now();
  BOOST_TEST(parse_body(text).has_value());
  BOOST_TEST((std::chrono::steady_clock::now() - before < std::chrono::seconds(20))); // Key by key: minutes.
}

BOOST_AUTO_TEST_SUITE_END()
