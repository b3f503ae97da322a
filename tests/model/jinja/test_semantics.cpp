// What templates mean. Much more is compared with Python's jinja2 by tests/oracle/compare_snippets.py; this is what
// must hold where there is no Python.
#include "tests/model/jinja/support.hpp"

using namespace troupe;
using test::evaluate;
using test::render;
using nlohmann::ordered_json;

BOOST_AUTO_TEST_SUITE(jinja_semantics)

BOOST_AUTO_TEST_CASE(a_block_takes_its_indentation_and_newline_away) {
  BOOST_TEST(render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n") == "a\n  b\nc");
  BOOST_TEST(render("a {%- if true -%}  \n b {% endif %}") == "ab ");
  BOOST_TEST(render("a\n  {%+ if true %}b{% endif +%}\nc") == "a\n  b\nc");
  BOOST_TEST(render("  {{ 1 }}\n{{ 2 -}}\n 3") == "  1\n23");
  BOOST_TEST(render("{# a #}\nb{#- c -#}  d") == "bd");
}

BOOST_AUTO_TEST_CASE(raw_text_is_not_read) {
  BOOST_TEST(render("{% raw %}{{ x }}{% if %}{% endraw %}!") == "{{ x }}{% if %}!");
}

BOOST_AUTO_TEST_CASE(values_print_as_in_python) {
  BOOST_TEST(evaluate("true ~ none ~ 1.0 ~ 1e16 ~ 0.1 ~ [1, 'a', \"it's\"] ~ (1,) ~ {'a': none}")
             == "TrueNone1.01e+160.1[1, 'a', \"it's\"](1,){'a': None}");
  BOOST_TEST(evaluate("missing ~ '|'") == "|");
}

BOOST_AUTO_TEST_CASE(integers_divide_towards_minus_infinity) {
  BOOST_TEST(evaluate("-7 // 2 ~ ' ' ~ -7 % 3 ~ ' ' ~ 7 % -3 ~ ' ' ~ 1 / 2") == "-4 2 -2 0.5");
}

BOOST_AUTO_TEST_CASE(indices_and_slices_count_code_points) {
  ordered_json v = {{"u", "Grüße, 世界"}, {"l", {1, 2, 3}}};
  BOOST_TEST(evaluate("u[2] ~ u[-1] ~ u[::-1] ~ u[7:] ~ u | length", v) == "ü界界世 ,eßürG世界9");
  BOOST_TEST(evaluate("l[-1] ~ l[::2] ~ l[5:] ~ l[9]", v) == "3[1, 3][]");
}

BOOST_AUTO_TEST_CASE(a_loop_knows_where_it_is) {
  BOOST_TEST(render("{% for a in 'abc' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}"
                    "{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}")
             == "103TrueFalse3b 212FalseFalse3ac 321FalseTrue3b ");
}

BOOST_AUTO_TEST_CASE(a_loop_filters_unpacks_breaks_and_has_an_else) {
  BOOST_TEST(render("{% for k, v in {'a': 1, 'b': 2, 'c': 3}.items() if v != 2 %}{{ k }}{{ v }}{{ loop.last }} "
                    "{% endfor %}") == "a1False c3True ");
  BOOST_TEST(render("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}"
                    "{% endif %}{{ i }}{% endfor %}") == "023");
  BOOST_TEST(render("{% for i in [] %}x{% else %}none{% endfor %}") == "none");
}

BOOST_AUTO_TEST_CASE(what_a_loop_sets_stays_in_its_turn_unless_it_is_in_a_namespace) {
  BOOST_TEST(render("{% set z = 1 %}{% for i in [1, 2] %}{% set z = z + i %}{{ z }}{% endfor %}{{ z }}") == "231");
  BOOST_TEST(render("{% set n = namespace(z=1) %}{% for i in [1, 2] %}{% set n.z = n.z + i %}{% endfor %}{{ n.z }}")
             == "4");
}

BOOST_AUTO_TEST_CASE(macros_take_defaults_names_and_callers) {
  BOOST_TEST(render("{% macro m(a, b=a) %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}")
             == "[11][12][43]");
  BOOST_TEST(render("{% macro m() %}<{{ caller(2) }}>{% endmacro %}{% call(x) m() %}{{ x }}!{% endcall %}") == "<2!>");
  BOOST_TEST(render("{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}") == "3210");
}

BOOST_AUTO_TEST_CASE(block_sets_filter_blocks_and_generation_blocks_render_their_bodies) {
  BOOST_TEST(render("{% set a %}x{{ 1 }}{% endset %}{{ a }}{{ a is string }}") == "x1True");
  BOOST_TEST(render("{% set a | upper %}x{% endset %}{{ a }}{% filter trim %} y {% endfilter %}") == "Xy");
  BOOST_TEST(render("{% generation %}z{% endgeneration %}") == "z");
}

BOOST_AUTO_TEST_CASE(json_is_written_as_transformers_writes_it) {
  ordered_json v = {{"d", {{"b", "ü<\"\n"}, {"a", {1, 2.0, nullptr, true}}}}};
  BOOST_TEST(evaluate("d | tojson", v) == R"({"b": "ü<\"\n", "a": [1, 2.0, null, true]})");
  BOOST_TEST(evaluate("d.a[:2] | tojson(indent=2)", v) == "[\n  1,\n  2.0\n]");
  BOOST_TEST(evaluate("d.b | tojson(ensure_ascii=true)", v) == R"("\u00fc<\"\n")");
}

BOOST_AUTO_TEST_CASE(methods_of_a_dict_come_before_its_keys_and_keys_before_methods_in_brackets) {
  ordered_json v = {{"d", {{"items", 5}}}};
  BOOST_TEST(evaluate("d['items'] ~ d.items() | list", v) == "5[('items', 5)]");
}

BOOST_AUTO_TEST_CASE(an_undefined_value_is_empty_but_has_no_attributes) {
  BOOST_TEST(evaluate("x ~ (x is defined) ~ x | default('d') ~ x | length") == "Falsed0");
  BOOST_TEST(evaluate("x.y") == "error: The chat template fails: line 1: 'x' is undefined.");
  BOOST_TEST(evaluate("x + 'a'") == "error: The chat template fails: line 1: 'x' is undefined.");
}

BOOST_AUTO_TEST_CASE(lists_and_dicts_can_be_changed_in_place) {
  BOOST_TEST(render("{% set l = [1] %}{% set _ = l.append(2) %}{{ l }}{{ l.pop(0) }}{{ l }}") == "[1, 2]1[2]");
  BOOST_TEST(render("{% set d = {} %}{% set _ = d.update({'a': 1}) %}{{ d }}") == "{'a': 1}");
}

BOOST_AUTO_TEST_CASE(a_value_that_holds_itself_is_freed_and_cannot_be_printed) {
  BOOST_TEST(render("{% set l = [] %}{% set _ = l.append(l) %}ok") == "ok");
  BOOST_TEST(test::code_of("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}") == errc::limit_exceeded);
  BOOST_TEST(test::code_of("{% set n = namespace() %}{% set n.n = n %}{{ n }}") == errc::limit_exceeded);
}

BOOST_AUTO_TEST_CASE(large_dicts_find_their_keys) {
  BOOST_TEST(render("{% set d = {} %}{% for i in range(1000) %}{% set _ = d.update({i: i * 2}) %}{% endfor %}"
                    "{{ d[999] }} {{ d[500.0] }} {{ d.pop(3) }} {{ 3 in d }} {{ d | length }}")
             == "1998 1000 6 False 999");
}

BOOST_AUTO_TEST_CASE(the_time_is_the_one_that_was_given) {
  BOOST_TEST(evaluate("strftime_now('%Y %B')") == "2025 July");
}

BOOST_AUTO_TEST_CASE(invalid_utf8_goes_through) {
  auto source = "{{ '\xff\xc3' ~ ('\xff' | length) ~ '\xe4\xb8'[::-1] }}";
  BOOST_TEST(render(source) == "\xff\xc3" "1" "\xb8\xe4");
}

BOOST_AUTO_TEST_SUITE_END()
