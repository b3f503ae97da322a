#include "serve/api/answer_parts.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe::serve;

BOOST_AUTO_TEST_SUITE(answer_parts_suite)

namespace {

using kind = answer_part::kind;

struct split {
  std::string content, reasoning;
  std::vector<std::string> calls; ///< "name(arguments)"

  bool operator==(const split&) const = default;
};

std::ostream& operator<<(std::ostream& out, const split& s) {
  out << "content '" << s.content << "' reasoning '" << s.reasoning << "'";
  for (const auto& call : s.calls)
    out << " " << call;
  return out;
}

split together(const answer_part_list& parts) {
  split result;
  std::vector<std::pair<std::string, std::string>> calls;
  for (const auto& part : parts)
    switch (part.what) {
    case kind::content:
      result.content += part.text;
      break;
    case kind::reasoning:
      result.reasoning += part.text;
      break;
    case kind::call:
      BOOST_REQUIRE(part.call == calls.size());
      calls.emplace_back(part.text, "");
      break;
    case kind::arguments:
      BOOST_REQUIRE(part.call + 1 == calls.size());
      calls.back().second += part.text;
      break;
    }
  for (const auto& [name, arguments] : calls)
    result.calls.push_back(name + "(" + arguments + ")");
  return result;
}

struct form {
  tool_format tools = tool_format::none;
  reasoning_format reasoning = reasoning_format::none;
};

split pieces(form how, const std::vector<std::string_view>& text) {
  answer_splitter splitter(how.tools, how.reasoning);
  answer_part_list parts;
  for (const auto piece : text)
    splitter.feed(piece, parts);
  splitter.finish(parts);
  return together(parts);
}

/// Whole, by characters, and with each two cuts: the same comes out.
split whatever_the_cuts(form how, std::string_view text) {
  const auto whole = pieces(how, {text});
  std::vector<std::string_view> characters;
  for (std::size_t i = 0; i < text.size(); ++i)
    characters.push_back(text.substr(i, 1));
  BOOST_TEST((pieces(how, characters) == whole),
             "by characters: " << pieces(how, characters) << ", whole: " << whole);
  for (std::size_t i = 0; i <= text.size(); ++i)
    for (std::size_t j = i; j <= text.size(); ++j) {
      const auto cut = pieces(how, {text.substr(0, i), text.substr(i, j - i), text.substr(j)});
      BOOST_REQUIRE_MESSAGE(cut == whole, "cut at " << i << " and " << j << ": " << cut << ", whole: " << whole);
    }
  return whole;
}

void expect(form how, std::string_view text, const split& wanted) {
  const auto came = whatever_the_cuts(how, text);
  BOOST_TEST((came == wanted), text << " gave " << came);
}

constexpr form hermes{tool_format::hermes, reasoning_format::none};
constexpr form llama{tool_format::llama3, reasoning_format::none};
constexpr form mistral{tool_format::mistral, reasoning_format::none};
constexpr form thinking{tool_format::none, reasoning_format::marked};

} // namespace

BOOST_AUTO_TEST_CASE(text_alone_comes_as_it_is) {
  for (const auto how : {form{}, hermes, llama, mistral, thinking}) {
    expect(how, "  Hello <b> [x] \n", {"  Hello <b> [x] \n", "", {}});
    expect(how, " \n", {" \n", "", {}});
    expect(how, "", {});
  }
}

BOOST_AUTO_TEST_CASE(a_hermes_call_has_a_name_and_its_arguments_as_written) {
  expect(hermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}\\\"\"}]}}\n</tool_call>",
         {"", "", {R"(f({"a": [1, {"b": "}\""}]}))"}});
  expect(hermes, "Let me look. \n<tool_call>{\"arguments\": {}, \"name\": \"g\"}</tool_call>\n",
         {"Let me look.", "", {"g({})"}});
}

BOOST_AUTO_TEST_CASE(several_hermes_calls_are_numbered) {
  expect(
    hermes,
    "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":1}}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}"
    "</tool_call> Done.",
    {"Done.", "", {"f({\"x\":1})", "g({})"}});
}

BOOST_AUTO_TEST_CASE(what_only_begins_like_a_call_is_text) {
  expect(hermes, "a <tool_calls> <tool_cal", {"a <tool_calls> <tool_cal", "", {}});
  expect(hermes, "<tool_call>{\"nome\": 3}</tool_call> x", {"<tool_call>{\"nome\": 3}</tool_call> x", "", {}});
  expect(hermes, "<tool_call>f(x)</tool_call>", {"<tool_call>f(x)</tool_call>", "", {}});
  expect(hermes, "<tool_call>{\"name\": \"f\"", {"<tool_call>{\"name\": \"f\"", "", {}});
  expect(llama, "{\"name\": \"Bob\", \"age\": 3} is one", {"{\"name\": \"Bob\", \"age\": 3} is one", "", {}});
  expect(llama, "{\"a\": {\"name\": 1}}", {"{\"a\": {\"name\": 1}}", "", {}});
  expect(mistral, "[1, 2]", {"[1, 2]", "", {}});
  expect(mistral, "[ {\"a\": 1}]", {"[ {\"a\": 1}]", "", {}});
}

BOOST_AUTO_TEST_CASE(a_call_that_breaks_off_has_what_there_was) {
  expect(hermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\": \"ab", {"", "", {"f({\"x\": \"ab)"}});
  expect(hermes, "<tool_call>{\"name\":\"f\"}</tool_call>", {"", "", {"f({})"}});
  expect(hermes, "<tool_call>{\"name\":\"f\",\"arguments\":{}} tail", {"tail", "", {"f({})"}});
}

BOOST_AUTO_TEST_CASE(arguments_in_a_string_are_taken_out_of_it) {
  expect(hermes, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}</tool_call>",
         {"", "", {"f({\"x\": 1})"}});
}

BOOST_AUTO_TEST_CASE(llamas_call_is_the_whole_answer_with_or_without_its_tag) {
  for (const char* tag : {"", "<|python_tag|>", "\n <|python_tag|> "})
    expect(llama, std::string(tag) + "{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"x\": \"1\"}}",
           {"", "", {"f({\"x\": \"1\"})"}});
  expect(llama, "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}\n",
         {"", "", {"f({})", "g({})"}});
  expect(llama, "Say {\"name\": \"f\", \"parameters\": {}}", {"Say {\"name\": \"f\", \"parameters\": {}}", "", {}});
}

BOOST_AUTO_TEST_CASE(mistrals_list_has_several_calls) {
  const std::string list = "[{\"name\": \"f\", \"arguments\": {\"x\": 1}}, {\"name\": \"g\", \"arguments\": {}}]";
  const std::vector<std::string> calls{"f({\"x\": 1})", "g({})"};
  expect(mistral, "[TOOL_CALLS] " + list, {"", "", calls});
  expect(mistral, "[TOOL_CALLS]" + list + "\n", {"", "", calls});
  expect(mistral, " " + list, {"", "", calls});
  expect(mistral, "Look: [TOOL_CALLS] " + list, {"Look:", "", calls});
  expect(mistral, "[TOOL_CALLS]", {"[TOOL_CALLS]", "", {}});
}

BOOST_AUTO_TEST_CASE(thoughts_are_split_from_the_answer) {
  expect(thinking, "<think>\nWhy?\n</think>\n\nSo.", {"So.", "Why?", {}});
  expect(thinking, "\n<think></think>So. <think>", {"So. <think>", "", {}});
  expect(thinking, "<think>For ever <", {"", "For ever <", {}});
  expect(thinking, "<thinking>", {"<thinking>", "", {}});
  expect({tool_format::none, reasoning_format::opened}, "\nWhy?</think> So.", {"So.", "Why?", {}});
}

BOOST_AUTO_TEST_CASE(a_thought_may_come_before_a_call) {
  const std::string thought = "<think>x</think>\n\n";
  const split wanted{"", "x", {"f({\"a\":1})"}};
  expect({tool_format::hermes, reasoning_format::marked},
         thought + "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1}}</tool_call>", wanted);
  expect({tool_format::llama3, reasoning_format::marked}, thought + "{\"name\":\"f\",\"parameters\":{\"a\":1}}",
         wanted);
  expect({tool_format::mistral, reasoning_format::marked}, thought + "[{\"name\":\"f\",\"arguments\":{\"a\":1}}]",
         wanted);
}

BOOST_AUTO_TEST_CASE(a_call_in_a_thought_is_thought) {
  expect({tool_format::hermes, reasoning_format::marked}, "<think><tool_call></think>x", {"x", "<tool_call>", {}});
}

BOOST_AUTO_TEST_CASE(text_is_given_out_as_soon_as_it_cannot_be_a_mark) {
  answer_splitter splitter(tool_format::hermes, reasoning_format::none);
  answer_part_list parts;
  splitter.feed("Hello", parts);
  BOOST_REQUIRE(parts.size() == 1u);
  BOOST_TEST(parts[0].text == "Hello");
  splitter.feed(" <tool", parts);
  BOOST_TEST(parts[0].text == "Hello");
  splitter.feed("box", parts);
  BOOST_TEST(parts[0].text == "Hello <toolbox");
}

BOOST_AUTO_TEST_CASE(arguments_come_as_they_are_written) {
  answer_splitter splitter(tool_format::hermes, reasoning_format::none);
  answer_part_list parts;
  splitter.feed("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\"", parts);
  BOOST_REQUIRE(parts.size() == 2u);
  BOOST_TEST((parts[0] == answer_part{kind::call, "f", 0}));
  BOOST_TEST((parts[1] == answer_part{kind::arguments, "{\"a\"", 0}));
}

BOOST_AUTO_TEST_CASE(formats_are_found_in_templates_and_by_name) {
  BOOST_TEST((tool_format_of_template("{% if tools %}<tool_call>") == tool_format::hermes));
  BOOST_TEST((tool_format_of_template("{% if tools %}[TOOL_CALLS]") == tool_format::mistral));
  BOOST_TEST((tool_format_of_template("{% if tools %}<|python_tag|>") == tool_format::llama3));
  BOOST_TEST(!tool_format_of_template("<tool_call>").has_value());
  BOOST_TEST((tool_format_of("llama3") == tool_format::llama3));
  BOOST_TEST(!tool_format_of("gpt").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
