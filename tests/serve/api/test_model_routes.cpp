#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(model_routes_suite)

namespace {

json answered(route which, const json& body) {
  const auto outcome = which(tiny_context(), body.dump());
  BOOST_TEST(!outcome.call);
  BOOST_TEST(outcome.answer.status == 200u, outcome.answer.body);
  return json::parse(outcome.answer.body);
}

} // namespace

BOOST_AUTO_TEST_CASE(models_are_the_one_and_its_aliases) {
  const auto body = json::parse(serve::models(tiny_context()).body);
  BOOST_TEST(body["object"] == "list");
  BOOST_REQUIRE(body["data"].size() == 2u);
  BOOST_TEST(body["data"][0]["id"] == "tiny");
  BOOST_TEST(body["data"][0]["object"] == "model");
  BOOST_TEST(body["data"][0]["created"] == 1700000000);
  BOOST_TEST(body["data"][0]["max_model_len"] == 512);
  BOOST_TEST(body["data"][1]["id"] == "gpt-4o-mini");
  BOOST_TEST(serve::model_named(tiny_context(), "tiny").status == 200u);
  BOOST_TEST(serve::model_named(tiny_context(), "gpt-9").status == 404u);
}

BOOST_AUTO_TEST_CASE(text_goes_to_tokens_and_back) {
  const auto there = answered(&serve::tokenize, {{"prompt", "the cat"}, {"return_token_strs", true}});
  BOOST_TEST(there["count"] == there["tokens"].size());
  BOOST_TEST(there["token_strs"].size() == there["tokens"].size());
  BOOST_TEST(there["max_model_len"] == 512);
  BOOST_TEST(answered(&serve::detokenize, {{"tokens", there["tokens"]}})["prompt"] == "the cat");
  BOOST_TEST(answered(&serve::tokenize, {{"prompt", "x"}})["token_strs"].is_null());
}

BOOST_AUTO_TEST_CASE(a_chat_is_rendered_before_it_is_encoded) {
  const json chat = {{"messages", json::array({{{"role", "user"}, {"content", "hi"}}})}};
  const auto ids = answered(&serve::tokenize, chat)["tokens"];
  BOOST_TEST(ids[0] == 1); // <|im_start|>
  auto open = chat;
  open["add_generation_prompt"] = false;
  BOOST_TEST(answered(&serve::tokenize, open)["count"].get<int>() < static_cast<int>(ids.size()));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_encoded_is_named) {
  BOOST_TEST(refused(&serve::tokenize, json::object())["param"] == "prompt");
  BOOST_TEST(refused(&serve::tokenize, {{"prompt", 3}})["param"] == "prompt");
  BOOST_TEST(refused(&serve::tokenize, {{"text", "x"}})["param"] == "text");
  BOOST_TEST(refused(&serve::tokenize, {{"prompt", std::string((4u << 20) + 1, 'x')}})["param"] == "prompt");
  BOOST_TEST(refused(&serve::detokenize, {{"tokens", {99999}}})["param"] == "tokens");
  BOOST_TEST(refused(&serve::detokenize, {{"tokens", {-1}}})["param"] == "tokens[0]");
  BOOST_TEST(refused(&serve::detokenize, json::object())["param"] == "tokens");
  BOOST_TEST(refused(&serve::detokenize, {{"tokens", {1}}, {"model", "x"}})["status"] == 404);
}

BOOST_AUTO_TEST_SUITE_END()
