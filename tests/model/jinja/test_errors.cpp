// What is wrong with a template is said in a sentence, with where it is.
#include "tests/model/jinja/support.hpp"

using namespace troupe;
using test::code_of;
using test::render;

BOOST_AUTO_TEST_SUITE(jinja_errors)

BOOST_AUTO_TEST_CASE(a_syntax_error_names_line_column_and_what_was_expected) {
  BOOST_TEST(render("a\n{{ x y }}")
             == "error: The chat template cannot be read: line 2, column 6: expected '}}', found 'y'.");
  BOOST_TEST(render("{% if x %}")
             == "error: The chat template cannot be read: line 1, column 11: expected '{% endif %}', found the end of "
                "the template.");
  BOOST_TEST(render("\n\n{{ (1 }}")
             == "error: The chat template cannot be read: line 3, column 7: '}' closes nothing here; expected ')'.");
}

BOOST_AUTO_TEST_CASE(every_unfinished_template_is_malformed) {
  for (const char* source : {"{{", "{{ 1", "{%", "{% if", "{% if t", "{% for", "{#", "{% raw %}x", "{{ 'a", "{{ [1",
      "{{ a.",
                             "{{ a|", "{{ a is", "{% set", "{% set a", "{% macro", "{% macro m(", "{% call m() %}",
                             "{% for x in y %}", "{% filter upper %}", "{% generation %}", "{{ a[", "{{ {'a'",
                             "{% endif %}",
                             "{{ }}", "{% %}", "{% break %}", "{{ 1 if }}", "{{ \"\\x\" }}",
                             "{{ 99999999999999999999 }}"})
    BOOST_TEST(code_of(source) == errc::malformed, source);
}

BOOST_AUTO_TEST_CASE(a_failure_names_its_line) {
  BOOST_TEST(render("{% set a = 1 %}\n\n{{ 1 + 'a' }}")
             == "error: The chat template fails: line 3: the operator + does not go with the types int and str.");
}

BOOST_AUTO_TEST_CASE(raise_exception_refuses_with_its_own_words) {
  BOOST_TEST(render("{{ raise_exception('Roles must alternate!') }}")
             == "error: The chat template refuses these messages: Roles must alternate!");
  BOOST_TEST(code_of("{{ raise_exception('x') }}") == errc::invalid_argument);
}

BOOST_AUTO_TEST_CASE(unknown_filters_tests_and_blocks_are_named) {
  BOOST_TEST(render("{{ 1 | nope }}") == "error: The chat template fails: line 1: there is no filter named 'nope'.");
  BOOST_TEST(render("{{ 1 is nope }}") == "error: The chat template fails: line 1: there is no test named 'nope'.");
  BOOST_TEST(code_of("{{ 1 | nope }}") == errc::unsupported);
  BOOST_TEST(code_of("{% include 'a' %}") == errc::unsupported);
  BOOST_TEST(code_of("{% for x in [] recursive %}{% endfor %}") == errc::unsupported);
  BOOST_TEST(code_of("{% nope %}") == errc::malformed);
}

BOOST_AUTO_TEST_CASE(an_unknown_filter_in_a_branch_that_is_not_taken_does_no_harm) {
  BOOST_TEST(render("{% if false %}{{ 1 | nope }}{% endif %}ok") == "ok");
}

BOOST_AUTO_TEST_CASE(wrong_arguments_are_refused_by_name) {
  BOOST_TEST(render("{{ 'a' | join(nope=1) }}")
             == "error: The chat template fails: line 1: 'join' has no argument 'nope'.");
  BOOST_TEST(render("{{ 'a'.split(1) }}")
             == "error: The chat template fails: line 1: the argument 'sep' of 'split' must be a string, not int.");
  BOOST_TEST(render("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}")
             == "error: The chat template fails: line 1: the macro 'm' takes 1 arguments, not 2.");
}

BOOST_AUTO_TEST_CASE(variables_that_are_no_object_are_refused) {
  BOOST_TEST(code_of("x", nlohmann::ordered_json::array()) == errc::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
