#include <boost/test/unit_test.hpp>

#include "serve/api/field_rules.hpp"

using namespace troupe;
using namespace troupe::serve;

BOOST_AUTO_TEST_SUITE(field_kinds_suite)

namespace {

struct fields {
  std::uint32_t n = 0;
};

constexpr field_rule<fields> rules[] = {
  {"n", kind::integer_in<1, 128>, &read_member<&fields::n>, "how many", is_needed},
  {"mode", kind::word<"a", "b">, &read_word<fields, "a", "b">},
  {"old", kind::text, nullptr, "it is gone"},
};

std::string problem_of(const json& body) {
  fields ignored;
  const auto read = read_object<fields>({"x", body}, rules, ignored);
  return read ? "" : read.error().message;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_kind_has_words_that_say_what_its_schema_says) {
  const std::pair<field_kind, std::string> all[] = {
    {kind::boolean, "boolean"},
    {kind::integer_in<1, 128>, "integer, 1 to 128"},
    {kind::integer_from<-1>, "integer, -1 or more"},
    {kind::number_in<0.01f, 100>, "number, 0.01 to 100"},
    {kind::share, "number, over 0, to 1"},
    {kind::filled_text<256>, "string of up to 256 bytes"},
    {kind::only<true>, "only true"},
    {kind::word<"medium">, "only \"medium\""},
    {kind::word<"a", "b">, "\"a\" or \"b\""},
    {kind::list<kind::token_id, 64>, "list of up to 64 token ids"},
    {kind::list<kind::anything, 0>, "empty list"},
    {kind::list<kind::anything>, "list"},
    {kind::map<kind::number_in<-100, 100>>, "object of numbers, -100 to 100"},
    {kind::either<kind::text, kind::list<kind::list<kind::text>, 3>>, "string or list of up to 3 lists of strings"},
  };
  for (const auto& [kind, words] : all)
    BOOST_TEST(words_of(kind()) == words);
}

BOOST_AUTO_TEST_CASE(null_joins_every_kind) {
  BOOST_TEST(or_null(kind::boolean()).dump() == R"({"type":["boolean","null"]})");
  BOOST_TEST(or_null(kind::only<true>()).dump() == R"({"enum":[true,null]})");
  BOOST_TEST(or_null(kind::word<"a">()).dump() == R"({"type":["string","null"],"enum":["a",null]})");
  BOOST_TEST(or_null(kind::either<kind::text, kind::boolean>())["anyOf"].size() == 3u);
}

BOOST_AUTO_TEST_CASE(an_objects_schema_has_the_fields_that_are_done_and_no_others) {
  const auto schema = schema_of(rows_of(rules));
  BOOST_TEST(
    schema.dump() ==
    R"({"type":"object","properties":{"n":{"type":"integer","minimum":1,"maximum":128,"description":"how many"},)"
    R"("mode":{"type":["string","null"],"enum":["a","b",null]}},"additionalProperties":false,"required":["n"]})");
}

BOOST_AUTO_TEST_CASE(what_is_read_is_what_the_table_says) {
  BOOST_TEST(problem_of({{"n", 3}, {"mode", "b"}}) == "");
  BOOST_TEST(problem_of({{"n", 3}, {"mode", nullptr}}) == "");
  BOOST_TEST(problem_of(json::object()).starts_with("Field 'x.n' is missing"));
  BOOST_TEST(problem_of({{"n", nullptr}}).starts_with("Field 'x.n' is missing"));
  BOOST_TEST(problem_of({{"n", 3}, {"mode", "c"}}).find("must be 'a' or 'b'") != std::string::npos,
             problem_of({{"n", 3}, {"mode", "c"}}));
  BOOST_TEST(problem_of({{"n", 3}, {"old", "x"}}).find("it is gone") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
