#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(completions_suite)

namespace {

running_call started(const json& body) {
  return taken(&serve::completions, body);
}

json refusal(const json& body) {
  return refused(&serve::completions, body);
}

token_id id_of(const std::string& text) {
  const auto ids = tiny_context().source->tokens->encode(text);
  BOOST_REQUIRE(ids.size() == 1u);
  return ids[0];
}

} // namespace

BOOST_AUTO_TEST_CASE(defaults_are_those_of_openai) {
  const auto call = started({{"model", "tiny"}, {"prompt", "Hello"}});
  BOOST_REQUIRE(call.requests.size() == 1u);
  const auto& request = call.requests[0];
  BOOST_TEST(std::get<prompt_text>(request.prompt) == "Hello");
  BOOST_TEST(request.sampling.temperature == 1.0f);
  BOOST_TEST(request.sampling.max_tokens == 16u);
  BOOST_TEST(request.credit == unlimited_credit);
  BOOST_TEST(!call.call->streams());
}

BOOST_AUTO_TEST_CASE(without_a_seed_each_request_draws_its_own) {
  const auto call = started({{"prompt", {"a", "a"}}});
  BOOST_TEST(call.requests[0].sampling.seed != call.requests[1].sampling.seed);
  BOOST_TEST(call.requests[0].sampling.seed != started({{"prompt", "a"}}).requests[0].sampling.seed);
  BOOST_TEST(started({{"prompt", "a"}, {"seed", 7}}).requests[0].sampling.seed == 7u);
  BOOST_TEST(started({{"prompt", "a"}, {"seed", -1}}).requests[0].sampling.seed == 0xffffffffffffffffu);
}

BOOST_AUTO_TEST_CASE(a_choice_says_which_stop_string_or_token_has_ended_it_and_nothing_of_the_models_own_end) {
  const auto own_end = tiny_context().source->end_tokens().at(0);
  const std::vector<std::pair<stop_cause, json>> causes{
    {"b", "b"}, {token_id{7}, 7}, {token_id{own_end}, nullptr}, {stop_cause(), nullptr}};
  for (const auto& [cause, wanted] : causes)
    for (const bool stream : {false, true}) {
      auto completion = started({{"prompt", "x"}, {"stop", {"a", "b"}}, {"stop_token_ids", {7}}, {"stream", stream}});
      auto chat = taken(&serve::chat_completions,
                        {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"stop", "b"}, {"stream", stream}});
      for (auto* call : {&completion, &chat}) {
        call->stop(0, cause);
        const auto choice =
          stream ? call->events().at(call->events().size() - 2)["choices"][0] : call->whole()["choices"][0];
        BOOST_TEST(choice["finish_reason"] == "stop");
        BOOST_TEST(choice["stop_reason"] == wanted, choice.dump());
      }
    }
}

BOOST_AUTO_TEST_CASE(an_echo_may_be_all_of_an_answer) {
  BOOST_TEST(started({{"prompt", "x"}, {"echo", true}, {"max_tokens", 0}}).requests[0].sampling.max_tokens == 0u);
  BOOST_TEST(started({{"prompt", "x"}, {"prompt_logprobs", 1}, {"max_tokens", 0}}).requests.size() == 1u);
  BOOST_TEST(refusal({{"prompt", "x"}, {"max_tokens", 0}})["param"] == "max_tokens");
  auto call = started({{"prompt", "xy"}, {"echo", true}, {"max_tokens", 0}, {"logprobs", 0}});
  BOOST_TEST(call.requests[0].sampling.prompt_logprobs == 0);
  call.delta(0, 0, "xy", {}, {{id_of("y"), -0.5f, 1, {}}});
  call.end(0, finish_reason::length, {2, 0, 0});
  const auto choice = call.whole()["choices"][0];
  BOOST_TEST(choice["text"] == "xy");
  BOOST_TEST(choice["finish_reason"] == "length");
  BOOST_TEST(choice["logprobs"]["tokens"].dump() == R"(["x","y"])");
  BOOST_TEST(choice["logprobs"]["token_logprobs"].dump() == "[null,-0.5]");
}

BOOST_AUTO_TEST_CASE(what_is_repeated_for_each_prompt_has_a_limit_for_all_prompts_together) {
  const auto prompts = [](std::size_t count) { return std::vector<std::string>(count, "x"); };
  const std::vector<int> ids(2048, 5);
  const auto failure = refusal({{"prompt", prompts(1024)}, {"allowed_token_ids", ids}});
  BOOST_TEST(failure["code"] == "limit_exceeded");
  BOOST_TEST(failure["param"] == "prompt");
  BOOST_TEST(started({{"prompt", prompts(2)}, {"allowed_token_ids", ids}}).requests.size() == 2u);
}

BOOST_AUTO_TEST_CASE(all_sampling_fields_reach_the_engine) {
  const auto call = started({{"prompt", "x"},
                             {"temperature", 0.5},
                             {"top_p", 0.9},
                             {"top_k", 40},
                             {"min_p", 0.1},
                             {"typical_p", 0.8},
                             {"repetition_penalty", 1.1},
                             {"presence_penalty", 0.2},
                             {"frequency_penalty", -0.3},
                             {"logit_bias", {{"5", -100}, {"6", 1.5}}},
                             {"allowed_token_ids", {5, 6}},
                             {"bad_words", {"no"}},
                             {"max_tokens", 9},
                             {"min_tokens", 2},
                             {"ignore_eos", true},
                             {"stop", {"a", "b"}},
                             {"stop_token_ids", {7}},
                             {"logprobs", 3},
                             {"prompt_logprobs", 1},
                             {"n", 2},
                             {"best_of", 3},
                             {"priority", -4},
                             {"cache_salt", "s"}});
  const auto& s = call.requests[0].sampling;
  BOOST_TEST(s.temperature == 0.5f);
  BOOST_TEST(s.top_p == 0.9f);
  BOOST_TEST(s.top_k == 40u);
  BOOST_TEST(s.min_p == 0.1f);
  BOOST_TEST(s.typical_p == 0.8f);
  BOOST_TEST(s.repetition_penalty == 1.1f);
  BOOST_TEST(s.presence_penalty == 0.2f);
  BOOST_TEST(s.frequency_penalty == -0.3f);
  BOOST_REQUIRE(s.logit_bias.size() == 2u);
  BOOST_TEST((s.logit_bias[1] == logit_bias_entry{6, 1.5f}));
  BOOST_TEST((s.allowed_tokens == std::vector<token_id>{5, 6}));
  BOOST_TEST((s.bad_words == std::vector<std::string>{"no"}));
  BOOST_TEST(s.max_tokens == 9u);
  BOOST_TEST(s.min_tokens == 2u);
  BOOST_TEST(s.ignore_eos);
  BOOST_TEST((s.stop == std::vector<std::string>{"a", "b"}));
  BOOST_TEST((s.stop_tokens == std::vector<token_id>{7}));
  BOOST_TEST(s.logprobs == 3);
  BOOST_TEST(s.prompt_logprobs == 1);
  BOOST_TEST(call.requests[0].n == 2u);
  BOOST_TEST(call.requests[0].best_of == 3u);
  BOOST_TEST(call.requests[0].scheduling.priority == -4);
  BOOST_TEST(call.requests[0].scheduling.cache_salt == "s");
}

BOOST_AUTO_TEST_CASE(null_means_absent) {
  const auto call = started({{"prompt", "x"}, {"max_tokens", nullptr}, {"suffix", nullptr}, {"stop", nullptr}});
  BOOST_TEST(call.requests[0].sampling.max_tokens == 16u);
}

BOOST_AUTO_TEST_CASE(prompts_come_in_four_forms) {
  BOOST_TEST((std::get<prompt_tokens>(started({{"prompt", {5, 6}}}).requests[0].prompt) == prompt_tokens{5, 6}));
  const auto lists = started({{"prompt", json::array({json::array({5}), json::array({6, 7})})}});
  BOOST_REQUIRE(lists.requests.size() == 2u);
  BOOST_TEST((std::get<prompt_tokens>(lists.requests[1].prompt) == prompt_tokens{6, 7}));
  const auto texts = started({{"prompt", {"a", "b", "c"}}});
  BOOST_REQUIRE(texts.requests.size() == 3u);
  BOOST_TEST(std::get<prompt_text>(texts.requests[2].prompt) == "c");
}

BOOST_AUTO_TEST_CASE(choices_are_numbered_through_prompts_and_answers) {
  auto call = started({{"prompt", {"a", "b"}}, {"n", 2}});
  call.delta(1, 1, "four");
  call.delta(0, 0, "o");
  call.delta(0, 0, "ne");
  call.delta(1, 0, "three");
  call.end(1, finish_reason::length, {4, 6, 0});
  call.delta(0, 1, "two");
  call.end(0, finish_reason::stop, {3, 5, 2});
  const auto body = call.whole();
  BOOST_TEST(body["object"] == "text_completion");
  BOOST_TEST(body["id"].get<std::string>().starts_with("cmpl-"));
  BOOST_TEST(body["model"] == "tiny");
  BOOST_TEST(body["choices"].size() == 4u);
  const char* texts[] = {"one", "two", "three", "four"};
  for (std::size_t i = 0; i < 4; ++i) {
    BOOST_TEST(body["choices"][i]["index"] == i);
    BOOST_TEST(body["choices"][i]["text"] == texts[i]);
    BOOST_TEST(body["choices"][i]["finish_reason"] == (i < 2 ? "stop" : "length"));
  }
  BOOST_TEST(
    body["usage"].dump() ==
    R"({"prompt_tokens":7,"completion_tokens":11,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":2},)"
    R"("completion_tokens_details":{"reasoning_tokens":0}})");
  BOOST_TEST(call.out.empty());
}

BOOST_AUTO_TEST_CASE(a_stream_has_its_text_its_ends_and_done) {
  auto call = started({{"prompt", "a"}, {"stream", true}});
  BOOST_TEST(call.call->streams());
  call.delta(0, 0, "one");
  call.delta(0, 0, ""); // Text that is held back is no event.
  call.delta(0, 0, " \"two\"\n");
  call.end(0);
  const auto events = call.events();
  BOOST_REQUIRE(events.size() == 4u);
  BOOST_TEST(events[0]["object"] == "text_completion");
  BOOST_TEST(events[0]["choices"][0].dump() == R"({"index":0,"text":"one","logprobs":null,"finish_reason":null})");
  BOOST_TEST(events[1]["choices"][0]["text"] == " \"two\"\n");
  BOOST_TEST(events[2]["choices"][0].dump() ==
             R"({"index":0,"text":"","logprobs":null,"finish_reason":"stop","stop_reason":null})");
  BOOST_TEST(!events[2].contains("usage"));
  BOOST_TEST(events[3] == "[DONE]");
  BOOST_TEST(events[0]["id"] == events[2]["id"]);
}

BOOST_AUTO_TEST_CASE(usage_in_a_stream_is_in_a_chunk_of_its_own) {
  auto call = started({{"prompt", {"a", "b"}}, {"stream", true}, {"stream_options", {{"include_usage", true}}}});
  call.delta(0, 0, "one");
  call.end(0, finish_reason::stop, {3, 2, 1});
  call.end(1, finish_reason::length, {4, 2, 1});
  const auto events = call.events();
  BOOST_REQUIRE(events.size() == 5u);
  BOOST_TEST(events[0]["usage"].is_null());
  BOOST_TEST(events[2]["choices"][0]["index"] == 1);
  BOOST_TEST(events[3]["choices"].empty());
  BOOST_TEST(events[3]["usage"]["total_tokens"] == 11);
  BOOST_TEST(events[4] == "[DONE]");
}

BOOST_AUTO_TEST_CASE(logprobs_come_as_four_lists) {
  auto call = started({{"prompt", "a"}, {"logprobs", 1}});
  const auto a = id_of("x"), b = id_of("y");
  call.delta(0, 0, "xy", {{a, -0.5f, 1, {{a, -0.5f}}}, {b, -2.0f, 3, {{a, -0.25f}}}});
  call.end(0);
  const auto logprobs = call.whole()["choices"][0]["logprobs"];
  BOOST_TEST(logprobs.dump() == R"({"text_offset":[0,1],"token_logprobs":[-0.5,-2.0],"tokens":["x","y"],)"
                                R"("top_logprobs":[{"x":-0.5},{"x":-0.25,"y":-2.0}]})");
}

BOOST_AUTO_TEST_CASE(offsets_in_a_stream_go_on) {
  auto call = started({{"prompt", "a"}, {"logprobs", 0}, {"stream", true}});
  const auto x = id_of("x");
  call.delta(0, 0, "x", {{x, -0.5f, 1, {}}});
  call.delta(0, 0, "x", {{x, -INFINITY, 1, {}}});
  const auto events = call.events();
  BOOST_TEST(events[0]["choices"][0]["logprobs"]["text_offset"].dump() == "[0]");
  BOOST_TEST(events[1]["choices"][0]["logprobs"]["text_offset"].dump() == "[1]");
  BOOST_TEST(events[1]["choices"][0]["logprobs"]["token_logprobs"].dump() == "[-9999.0]");
}

BOOST_AUTO_TEST_CASE(an_echo_with_logprobs_has_those_of_the_prompt) {
  auto call = started({{"prompt", "zxy"}, {"echo", true}, {"logprobs", 0}});
  BOOST_TEST(call.requests[0].echo);
  BOOST_TEST(call.requests[0].sampling.prompt_logprobs == 0);
  const auto x = id_of("x"), y = id_of("y");
  call.delta(0, 0, "zxyx", {{x, -1.0f, 1, {}}}, {{x, -2.0f, 1, {}}, {y, -3.0f, 1, {}}});
  call.end(0);
  const auto choice = call.whole()["choices"][0];
  BOOST_TEST(choice["text"] == "zxyx");
  BOOST_TEST(choice["logprobs"]["tokens"].dump() == R"(["z","x","y","x"])");
  BOOST_TEST(choice["logprobs"]["token_logprobs"].dump() == "[null,-2.0,-3.0,-1.0]");
  BOOST_TEST(choice["logprobs"]["text_offset"].dump() == "[0,1,2,3]");
  BOOST_TEST(!choice.contains("prompt_logprobs"));
}

BOOST_AUTO_TEST_CASE(prompt_logprobs_have_vllms_shape) {
  auto call = started({{"prompt", "zx"}, {"prompt_logprobs", 1}});
  const auto x = id_of("x"), y = id_of("y");
  call.delta(0, 0, "", {}, {{x, -2.0f, 4, {{y, -0.5f}}}});
  call.end(0);
  const auto choice = call.whole()["choices"][0];
  const auto list = choice["prompt_logprobs"];
  BOOST_REQUIRE(list.size() == 2u);
  BOOST_TEST(list[0].is_null());
  BOOST_TEST(list[1][std::to_string(x)].dump() == R"({"logprob":-2.0,"rank":4,"decoded_token":"x"})");
  BOOST_TEST(list[1][std::to_string(y)]["rank"] == 1);
  BOOST_TEST(choice["logprobs"].is_null());
}

BOOST_AUTO_TEST_CASE(a_request_that_fails_is_the_answer) {
  auto call = started({{"prompt", {"a", "b"}}});
  call.delta(0, 0, "one");
  call.end(1, finish_reason::error, {}, {errc::context_overflow, "The prompt has 999 tokens."});
  call.end(0);
  const auto answer = call.call->whole();
  BOOST_TEST(answer.status == 400u);
  BOOST_TEST(json::parse(answer.body)["error"]["code"] == "context_length_exceeded");
}

BOOST_AUTO_TEST_CASE(a_stream_that_fails_before_it_began_leaves_the_status_to_http) {
  auto call = started({{"prompt", {"a", "b"}}, {"stream", true}});
  call.end(1, finish_reason::error, {}, {errc::queue_full, "Full.", 700});
  call.delta(0, 0, "one");
  call.end(0);
  BOOST_TEST(call.out.empty());
  BOOST_TEST(call.call->whole().status == 429u);
  BOOST_TEST(call.call->whole().retry_after_ms == 700u);
}

BOOST_AUTO_TEST_CASE(a_stream_that_fails_later_says_so_once_and_ends) {
  auto call = started({{"prompt", {"a", "b"}}, {"stream", true}});
  call.delta(0, 0, "one");
  call.end(1, finish_reason::error, {}, {errc::internal, "Broken."});
  call.delta(0, 0, "two");
  call.end(0, finish_reason::cancelled);
  BOOST_TEST(call.out.find("event: error\ndata: {\"error\"") != std::string::npos);
  const auto events = call.events();
  BOOST_REQUIRE(events.size() == 3u);
  BOOST_TEST(events[1]["error"]["message"] == "Broken.");
  BOOST_TEST(events[2] == "[DONE]");
}

BOOST_AUTO_TEST_CASE(another_model_is_not_found) {
  const auto error = refusal({{"model", "gpt-9"}, {"prompt", "a"}});
  BOOST_TEST(error["status"] == 404);
  BOOST_TEST(error["code"] == "model_not_found");
  BOOST_TEST(error["param"] == "model");
  started({{"model", "gpt-4o-mini"}, {"prompt", "a"}});
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named_as_the_body_names_it) {
  const auto param = [](const json& body) { return refusal(body)["param"]; };
  BOOST_TEST(param({{"prompt", {"a", ""}}}) == "prompt[1]");
  BOOST_TEST(param({{"prompt", json::array({json::array({1}), json::array({1, -1})})}}) == "prompt[1][1]");
  BOOST_TEST(param({{"prompt", json::array({json::array({1}), json::array({99999})})}}) == "prompt[1]");
  BOOST_TEST(param({{"prompt", json::array({"a", 1})}}) == "prompt[1]");
  BOOST_TEST(param({{"prompt", json::array()}}) == "prompt");
  BOOST_TEST(param({{"prompt", "a"}, {"allowed_token_ids", {99999}}}) == "allowed_token_ids[0]");
  BOOST_TEST(param({{"prompt", "a"}, {"stop_token_ids", {99999}}}) == "stop_token_ids[0]");
  BOOST_TEST(param({{"prompt", "a"}, {"stop", {"x", 3}}}) == "stop[1]");
  BOOST_TEST(param({{"prompt", "a"}, {"stop", {"x", ""}}}) == "stop[1]");
  BOOST_TEST(param({{"prompt", "a"}, {"logit_bias", {{"1x", 3}}}}) == "logit_bias");
  BOOST_TEST(param({{"prompt", "a"}, {"logit_bias", {{"1", "3"}}}}) == "logit_bias.1");
  BOOST_TEST(param({{"prompt", "a"}, {"stream_options", {{"include_usage", true}}}}) == "stream_options");
  BOOST_TEST(param({{"prompt", "a"}, {"stream", true}, {"stream_options", {{"x", true}}}}) == "stream_options.x");
  BOOST_TEST(param({{"prompt", "a"}, {"stream", true}, {"best_of", 2}}) == "best_of");
  BOOST_TEST(param({{"prompt", "a"}, {"temperature", 1e-50}}) == "temperature");
  BOOST_TEST(param({{"prompt", "a"}, {"temprature", 1}}) == "temprature");
  BOOST_TEST(param({{"model", "tiny"}}) == "prompt");
}

BOOST_AUTO_TEST_SUITE_END()
