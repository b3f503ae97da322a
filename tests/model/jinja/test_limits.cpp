// Hostile templates end with a sentence, soon and in bounded memory.
#include "tests/model/jinja/support.hpp"

using namespace troupe;
using test::code_of;
using test::render;

BOOST_AUTO_TEST_SUITE(jinja_limits)

namespace {

std::string repeated(std::string_view what, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i)
    out += what;
  return out;
}

const jinja::limits small{.max_value_bytes = 16u << 20};

} // namespace

BOOST_AUTO_TEST_CASE(huge_ranges_and_repetitions_are_refused_before_they_are_made) {
  for (const char* source : {"{{ range(10**12) }}", "{{ range(0 - 10**18, 10**18) }}", "{{ 'a' * 10**12 }}",
                             "{{ [1] * 10**12 }}", "{{ 'a' | center(10**12) }}", "{{ '%1000000000d' % 1 }}",
                             "{{ '{:>1000000000}'.format('a') }}", "{{ 'a'.ljust(10**15) }}",
                             "{{ [1] | tojson(indent=10**9) }}", "{{ 10 ** 100 }}", "{{ 9223372036854775807 + 1 }}"})
    BOOST_TEST(code_of(source) == errc::limit_exceeded, source);
}

BOOST_AUTO_TEST_CASE(doubling_a_text_ends) {
  BOOST_TEST(code_of("{% set n = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(100) %}{% set n.s = n.s + n.s %}"
                     "{% endfor %}", {}, small) == errc::limit_exceeded);
  BOOST_TEST(code_of("{% set n = namespace(l=[1, 2]) %}{% for i in range(100) %}{% set n.l = n.l + n.l %}{% endfor %}", {},
                     small) == errc::limit_exceeded);
  BOOST_TEST(code_of("{% set n = namespace(s='ab') %}{% for i in range(100) %}"
                     "{% set n.s = n.s | replace('', n.s) %}{% endfor %}", {}, small) == errc::limit_exceeded);
  BOOST_TEST(code_of("{% set l = [1] %}{% for i in range(100) %}{% set _ = l.extend(l) %}{% endfor %}", {}, small)
             == errc::limit_exceeded);
}

BOOST_AUTO_TEST_CASE(a_loop_over_a_list_that_it_extends_ends) {
  BOOST_TEST(code_of("{% set l = [1] %}{% for i in l %}{% set _ = l.append(1) %}{% endfor %}", {}, small)
             == errc::limit_exceeded);
}

BOOST_AUTO_TEST_CASE(nested_loops_run_out_of_steps) {
  BOOST_TEST(render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", {},
                    {.max_steps = 1'000'000})
             == "error: The chat template fails: line 1: the template needs more than 1000000 steps.");
}

BOOST_AUTO_TEST_CASE(endless_recursion_ends) {
  BOOST_TEST(code_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}") == errc::limit_exceeded);
  BOOST_TEST(code_of("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{% if true %}{% for x in [1] %}{{ a() }}"
                     "{% endfor %}{% endif %}{% endmacro %}{{ a() }}") == errc::limit_exceeded);
  BOOST_TEST(code_of("{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}") == errc::limit_exceeded);
}

BOOST_AUTO_TEST_CASE(deeply_nested_syntax_is_refused) {
  constexpr std::size_t depth = 20'000;
  for (std::string_view open : {"(", "[", "{1:", "-", "not ", "a[", "f(", "a|f(", "1 if 1 else "})
    BOOST_TEST(code_of("{{ " + repeated(open, depth)) == errc::malformed, open);
  for (std::string_view open : {"{% if 1 %}", "{% for a in b %}", "{% filter upper %}", "{% macro m() %}",
      "{% set a %}"})
    BOOST_TEST(code_of(repeated(open, depth / 2)) == errc::malformed, open);
}

BOOST_AUTO_TEST_CASE(long_chains_are_evaluated_or_refused) {
  constexpr std::size_t length = 20'000;
  BOOST_TEST(render("{{ 1" + repeated(" + 1", length) + " }}") == "20001");
  BOOST_TEST(render("{{ 1" + repeated(" ~ 1", length) + " }}").size() == length + 1);
  BOOST_TEST(code_of("{{ 1" + repeated(" - 1", length) + " }}") == errc::limit_exceeded);
  BOOST_TEST(code_of("{{ 1" + repeated("|abs", length) + " }}") == errc::limit_exceeded);
  BOOST_TEST(code_of("{{ a" + repeated(".b", length) + " }}") == errc::limit_exceeded);
  BOOST_TEST(render("{% if 0 %}" + repeated("{% elif 0 %}", 10'000) + "{% else %}x{% endif %}") == "x");
}

BOOST_AUTO_TEST_CASE(deeply_nested_values_can_be_made_and_freed_but_not_printed) {
  std::string make = "{% set n = namespace(l=[]) %}{% for i in range(100000) %}{% set n.l = [n.l] %}{% endfor %}";
  BOOST_TEST(render(make + "ok") == "ok");
  BOOST_TEST(code_of(make + "{{ n.l }}") == errc::limit_exceeded);
  BOOST_TEST(code_of(make + "{{ n.l | tojson }}") == errc::limit_exceeded);
  BOOST_TEST(code_of(make + "{{ n.l == [n.l] }}") == errc::limit_exceeded);
}

BOOST_AUTO_TEST_CASE(json_that_is_nested_without_end_is_refused_before_its_values_are_copied) {
  for (const std::size_t depth : {101u, 200'000u}) {
    const auto text = "{\"a\": " + repeated("[", depth) + repeated("]", depth) + ", \"b\": 1}";
    BOOST_TEST(code_of("{{ x | from_json }}", {{"x", text}}) == errc::limit_exceeded);
  }
}

BOOST_AUTO_TEST_CASE(each_limit_is_the_one_that_was_set) {
  BOOST_TEST(code_of("{{ 'a' * 100 }}", {}, {.max_output_bytes = 100}) == errc::none);
  BOOST_TEST(code_of("{{ 'a' * 101 }}", {}, {.max_output_bytes = 100}) == errc::limit_exceeded);
  BOOST_TEST(code_of(std::string(101, 'a'), {}, {.max_output_bytes = 100}) == errc::limit_exceeded);
  BOOST_TEST(code_of("{{ range(10) }}", {}, {.max_range_items = 10}) == errc::none);
  BOOST_TEST(code_of("{{ range(11) }}", {}, {.max_range_items = 10}) == errc::limit_exceeded);
  BOOST_TEST(code_of(std::string(11, 'a'), {}, {.max_source_bytes = 10}) == errc::limit_exceeded);
  BOOST_TEST(code_of("{{ 'a' * 100000 }}", {}, {.max_value_bytes = 100000}) == errc::limit_exceeded);
  BOOST_TEST(code_of("{% for a in range(200) %}{% endfor %}", {}, {.max_steps = 100}) == errc::limit_exceeded);
  BOOST_TEST(code_of("{{ [[[1]]] }}", {}, {.max_value_nesting = 2}) == errc::limit_exceeded);
  BOOST_TEST(code_of("{{ x }}", {{"x", {{{1}}}}}, {.max_value_nesting = 2}) == errc::limit_exceeded);
}

BOOST_AUTO_TEST_SUITE_END()
