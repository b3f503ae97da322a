#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include "model/continued_chat.hpp"
#include "model/jinja/chat_template.hpp"

using namespace troupe;
using json = nlohmann::ordered_json;

BOOST_AUTO_TEST_SUITE(continued_chat_suite)

namespace {

std::string continued(const std::string& content, const char* shown = "{{ m.content }}") {
  const auto parsed =
    chat_template::parse("{% for m in messages %}<|" + std::string("{{ m.role }}|>") + shown +
                         "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}");
  BOOST_REQUIRE(parsed);
  const json messages =
    json::array({{{"role", "user"}, {"content", "Well"}}, {{"role", "assistant"}, {"content", content}}});
  const auto rendered = (*parsed)->render(json{{"messages", messages}, {"add_generation_prompt", false}}, {});
  BOOST_REQUIRE(rendered);
  auto cut = up_to_final_content(*rendered, messages);
  if (!cut)
    return cut.error().message;
  std::string text;
  for (const auto& part : *cut)
    text += part.text;
  return text;
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_behind_the_last_content_is_left_out) {
  BOOST_TEST(continued("It is") == "<|user|>Well<|end|>\n<|assistant|>It is");
  BOOST_TEST(continued("Well") == "<|user|>Well<|end|>\n<|assistant|>Well");
  BOOST_TEST(continued("<|end|>") == "<|user|>Well<|end|>\n<|assistant|><|end|>"); // The user's own.
}

BOOST_AUTO_TEST_CASE(space_behind_the_content_stays_where_the_template_leaves_it) {
  BOOST_TEST(continued("It is ") == "<|user|>Well<|end|>\n<|assistant|>It is ");
  BOOST_TEST(continued(" It is\n", "{{ m.content | trim }}") == "<|user|>Well<|end|>\n<|assistant|>It is");
}

BOOST_AUTO_TEST_CASE(content_that_is_not_shown_is_refused) {
  BOOST_TEST(continued("It is", "{{ m.content | upper }}").find("does not show") != std::string::npos);
  BOOST_TEST(continued(" \n").find("empty") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(only_the_assistants_text_can_be_gone_on_with) {
  for (const json& last :
       {json{{"role", "user"}, {"content", "x"}}, json{{"role", "assistant"}, {"content", nullptr}},
        json{{"role", "assistant"}}, json{{"content", "x"}}}) {
    const auto refused = up_to_final_content({{"x", false}}, json::array({last}));
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code == errc::invalid_argument));
  }
}

BOOST_AUTO_TEST_SUITE_END()
