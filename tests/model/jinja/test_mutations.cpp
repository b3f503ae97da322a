// Mutated templates, and expressions made at random: each renders, or is refused with a sentence, and never crashes.
//
// TROUPE_FUZZ_COUNT says how many (default 500), TROUPE_FUZZ_SEED where to begin: a failure names its seed, and running
// with that seed and a count of 1 repeats it.
#include <random>
#include <span>

#include "model/jinja/builtins.hpp"
#include "tests/model/jinja/support.hpp"
#include "tests/support/number_from.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(jinja_mutations)

namespace {

/// Templates in the manner of the real ones, which use about everything between them.
constexpr std::string_view seeds[] = {
  "{%- for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\\nS<|im_end|>\\n' }}"
  "{% endif %}{{ '<|im_start|>' + m.role + '\\n' + m['content'] | trim + '<|im_end|>' }}{% else %}none{% endfor -%}",
  "{% macro t(x, y=1) %}{{ x | tojson(indent=y) }}{% for k, v in x.items() %}{{ k ~ v }}{{ loop.index }}{% endfor %}"
  "{% endmacro %}{{ t({'a': [1, 2.5, none, true]}, y=2) }}{% call t({}) %}{{ 1 }}{% endcall %}",
  "{% set n = namespace(a=0, l=[]) %}{% for i in range(5) if i is odd %}{% set n.a = n.a + i ** 2 // 3 %}"
  "{% set _ = n.l.append(i) %}{% if i > 3 %}{% break %}{% endif %}{% endfor %}{{ n.a }}{{ n.l[::-1] }}",
  "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | join(', ') | upper }}"
  "{{ messages[0].content.split(' ')[-1][1:3] }}{{ '%s-%05.2f' % ('a', 1.5) }}{{ '{:>5}'.format('x') }}",
  "{% set x %}a{% raw %}{{ }}{% endraw %}{# c #}{% endset %}{% filter replace('a', 'b') %}{{ x }}{% endfilter %}"
  "{% with q = x | length %}{{ q if q is number else 'no' }}{% endwith %}{{ (1, 2) + (3,) }}{{ {'b': 1} | dictsort }}",
  "{{ [3, 1, 2] | sort(reverse=true) | first }}{{ 'a,b' | replace(',', '') | indent(2) }}{{ not a.b is defined }}"
  "{{ x is defined and x | int(0) > 1 or 'y' in 'xyz' }}{{ messages | length - 1 }}{{ dict(a=1) | items | list }}",
};

constexpr std::string_view pieces[] = {
  "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "*", "**", "~", "|", "(", ")", "[", "]", "{", "}", ".", ",", ":",
  "'", "\"", "\\", "\xff", "\xe4\xb8\x96", "\n", "\r\n", " ", "%s", "{}", "[::-1]", "[1:]",
  "for", "endfor", "in", "if", "else", "endif", "set", "macro", "raw", "is", "not", "loop", "loop.", "m", "messages",
  "none", "1", "-1", "9223372036854775807", "1e308", "range(", "namespace(", ".append(", ".format(",
  ".replace('', 'x')", "| tojson", "| list", "| length", "| int", "| batch(0)", "| slice(3)", "| sort",
};

class mutator {
public:
  explicit mutator(std::uint64_t seed) : random_(seed), source_(seeds[below(std::size(seeds))]) {}

  std::string run() {
    for (std::size_t i = 1 + below(3); i > 0; --i)
      step();
    return std::move(source_);
  }

private:
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }

  void step() {
    std::size_t at = below(source_.size() + 1), length = below(std::min<std::size_t>(source_.size() - at, 24) + 1);
    std::string_view other = seeds[below(std::size(seeds))];
    switch (below(6)) {
      case 0: source_.erase(at, length); break;
      case 1: source_.insert(at, pieces[below(std::size(pieces))]); break;
      case 2: source_.replace(at, length, pieces[below(std::size(pieces))]); break;
      case 3: source_.insert(at, source_.substr(below(source_.size() + 1), length)); break;
      case 4: source_.insert(at, other.substr(below(other.size()), 1 + below(60))); break;
      default:
        if (at < source_.size())
          source_[at] = static_cast<char>(random_());
    }
  }

  std::mt19937_64 random_;
  std::string source_;
};

/// Expressions that can be parsed, whose values rarely fit what is done to them.
class expression_maker {
public:
  explicit expression_maker(std::uint64_t seed) : random_(seed) {}

  std::string run(std::size_t depth) {
    std::string inner = depth == 0 ? "" : run(depth - 1);
    switch (depth == 0 ? 0 : below(8)) {
      case 0:
        return one_of({"0", "-1", "3", "2.5", "1e300", "9223372036854775807", "''", "'aB c'", "'%s {} %5d'", "w", "[]",
                       "l", "p", "(1, 'x')", "{}", "d", "none", "true", "missing", "range(4)", "ns", "f", "bos_token"});
      case 1: return inner + filter(depth);
      case 2:
        return "(" + inner + one_of({" + ", " - ", " * ", " / ", " // ", " % ", " ** ", " ~ ", " < ", " == ", " in ",
                                     " not in ", " and ", " or "}) + run(depth - 1) + ")";
      case 3: return inner + "." + one_of({"a", "items", "x", "n", "upper", "b"});
      case 4:
        return inner + "[" + one_of({"", "-1", "1", "x"}) + one_of({"", ":", "::", ":2:"}) + one_of({"-1", "1", "2"})
               + "]";
      case 5: return inner + "." + method() + "(" + arguments(depth) + ")";
      case 6: return "(" + inner + one_of({" is ", " is not "}) + test() + ")";
      default: return "(" + inner + " if " + run(depth - 1) + " else " + run(depth - 1) + ")";
    }
  }

private:
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }
  std::string one_of(std::initializer_list<const char*> all) { return all.begin()[below(all.size())]; }
  std::string named(std::span<const jinja::builtin> table) { return std::string(table[below(table.size())].name); }
  std::string method() {
    return named(below(2) ? jinja::string_methods() : below(2) ? jinja::list_methods() : jinja::mapping_methods());
  }
  std::string filter(std::size_t depth) {
    auto table = below(3) == 0 ? jinja::string_filters() : below(2) ? jinja::value_filters() : jinja::sequence_filters();
    return "|" + named(table) + "(" + arguments(depth) + ")";
  }
  std::string test() { return named(jinja::tests()) + "(" + (below(2) ? "" : arguments(1)) + ")"; }
  std::string arguments(std::size_t depth) {
    std::string all;
    for (std::size_t i = below(4); i > 0; --i)
      all += (below(4) == 0 ? one_of({"'upper'", "'odd'", "'n'", "'in'", "'', 'x'",
          "attribute='n'"}) : run(depth - 1)) + ", ";
    return all;
  }

  std::mt19937_64 random_;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_random_expression_renders_or_is_refused_with_a_sentence) {
  const std::uint64_t count = 4 * test::number_from("TROUPE_FUZZ_COUNT", 500);
  const std::uint64_t first = test::number_from("TROUPE_FUZZ_SEED", 1);
  const nlohmann::ordered_json variables = {
    {"w", " 世<|x|>\n%(a)s"}, {"l", {3, 1, "b", nullptr}}, {"d", {{"a", 1}, {"items", {1}}}}, {"bos_token", "<s>"},
    {"p", {{{"n", "x"}, {"v", 2}}, {{"n", "Y"}}}}, {"x", 1}};
  const jinja::limits bounds{.max_steps = 200'000, .max_value_bytes = 16u << 20};
  std::uint64_t rendered = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    BOOST_TEST_CONTEXT("TROUPE_FUZZ_SEED=" << seed) {
      std::string source = "{% set ns = namespace(a=l) %}{% macro f(a=1) %}{{ a }}{% endmacro %}{{ "
                           + expression_maker(seed).run(1 + seed % 5) + " }}";
      auto parts = test::render_parts(source, variables, bounds);
      rendered += parts.has_value();
      if (!parts)
        BOOST_TEST((parts.error().message.starts_with("The chat template ") && parts.error().code != errc::internal));
    }
  }
  BOOST_TEST_MESSAGE(rendered << " of " << count << " random expressions rendered");
  BOOST_TEST((count < 100 || rendered > count / 20));
}

BOOST_AUTO_TEST_CASE(a_mutated_template_renders_or_is_refused_with_a_sentence) {
  const std::uint64_t count = test::number_from("TROUPE_FUZZ_COUNT", 500),
      first = test::number_from("TROUPE_FUZZ_SEED", 1);
  const nlohmann::ordered_json variables = {
    {"messages", {{{"role", "user"}, {"content", "What is 世界?"}}, {{"role", "assistant"}, {"content",
    "<|im_end|>"}}}}};
  const jinja::limits bounds{.max_steps = 200'000, .max_value_bytes = 16u << 20};
  std::uint64_t rendered = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    BOOST_TEST_CONTEXT("TROUPE_FUZZ_SEED=" << seed) {
      auto parts = test::render_parts(mutator(seed).run(), variables, bounds);
      rendered += parts.has_value();
      if (!parts)
        BOOST_TEST((parts.error().message.starts_with("The chat template ") && parts.error().code != errc::internal));
    }
  }
  BOOST_TEST_MESSAGE(rendered << " of " << count << " mutated templates rendered");
  BOOST_TEST((count < 100 || rendered > 0)); // Or the mutations are so coarse that they test the parser alone.
}

BOOST_AUTO_TEST_SUITE_END()
