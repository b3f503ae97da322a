#include "tools/troupe/bench/answer_stream.hpp"

#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

using namespace troupe;
using namespace troupe::cli;
using json = nlohmann::json;

BOOST_AUTO_TEST_SUITE(answer_stream_suite)

namespace {

std::string event(const json& data) {
  return "data: " + data.dump() + "\n\n";
}

std::string text_chunk(const char* text, json finish = nullptr) {
  return event({{"choices", {{{"text", text}, {"finish_reason", finish}}}}});
}

const std::string usage_chunk =
  event({{"choices", json::array()}, {"usage", {{"prompt_tokens", 7}, {"completion_tokens", 5}}}});

} // namespace

BOOST_AUTO_TEST_CASE(times_are_those_of_chunks_with_a_choice_and_counts_those_of_the_server) {
  answer_stream stream(api::completions);
  stream.feed(text_chunk("a"), 1);
  stream.feed(text_chunk("b") + text_chunk(""), 1.5);
  stream.feed(text_chunk("c", "length"), 3);
  stream.feed(usage_chunk, 4);
  stream.feed("data: [DONE]\n\n", 5);
  const auto outcome = stream.end();
  BOOST_TEST(outcome.error == "");
  BOOST_TEST(outcome.ttft == 1);
  BOOST_TEST(outcome.latency == 3);
  BOOST_TEST(outcome.itl == (std::vector<double>{0.5, 0, 1.5}), boost::test_tools::per_element());
  BOOST_TEST(outcome.output_tokens == 5u);
  BOOST_TEST(outcome.prompt_tokens == 7u);
  BOOST_TEST(outcome.text == "abc");
  BOOST_TEST(outcome.chunk_tokens.empty());
}

BOOST_AUTO_TEST_CASE(counts_that_come_with_each_chunk_say_how_many_tokens_it_has) {
  answer_stream stream(api::completions);
  for (const std::uint32_t so_far : {1, 3, 3})
    stream.feed(event({{"choices", {{{"text", "x"}}}}, {"usage", {{"completion_tokens", so_far}}}}), so_far);
  stream.feed("data: [DONE]\n\n", 4);
  const auto outcome = stream.end();
  BOOST_TEST(outcome.chunk_tokens == (std::vector<std::uint32_t>{1, 2, 0}), boost::test_tools::per_element());
  BOOST_TEST(outcome.output_tokens == 3u);
}

BOOST_AUTO_TEST_CASE(a_first_chunk_without_a_token_leaves_the_counts_of_the_others) {
  answer_stream stream(api::chat);
  for (const std::uint32_t so_far : {0, 2, 3})
    stream.feed(event({{"choices", {{{"delta", {{"content", "x"}}}}}}, {"usage", {{"completion_tokens", so_far}}}}),
                so_far);
  stream.feed("data: [DONE]\n\n", 4);
  BOOST_TEST(stream.end().chunk_tokens == (std::vector<std::uint32_t>{0, 2, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(of_a_chat_the_first_chunk_is_that_with_the_role) {
  answer_stream stream(api::chat);
  stream.feed(event({{"choices", {{{"delta", {{"role", "assistant"}, {"content", nullptr}}}}}}}), 1);
  stream.feed(event({{"choices", {{{"delta", {{"content", "hi"}}}, {"finish_reason", "stop"}}}}}), 2);
  const auto outcome = stream.end();
  BOOST_TEST(outcome.error == "");
  BOOST_TEST(outcome.ttft == 1);
  BOOST_TEST(outcome.text == "hi");
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_no_answer_is_an_error_which_says_so) {
  const auto error_of = [](const std::string& bytes) {
    answer_stream stream(api::completions);
    stream.feed(bytes, 1);
    return stream.end().error;
  };
  BOOST_TEST(error_of("").find("no chunk") != std::string::npos);
  BOOST_TEST(error_of(usage_chunk + "data: [DONE]\n\n").find("no chunk") != std::string::npos);
  BOOST_TEST(error_of(text_chunk("a")).find("broke off") != std::string::npos);
  BOOST_TEST(error_of("data: {\n\n").find("no JSON") != std::string::npos);
  BOOST_TEST(error_of("data: [1]\n\n").find("no JSON") != std::string::npos);
  BOOST_TEST(error_of(text_chunk("a") + event({{"error", {{"message", "Out of luck."}}}}) + "data: [DONE]\n\n") ==
             "The stream ended with an error: Out of luck.");
  for (const json& odd : {json{{"choices", 1}}, json{{"choices", {1}}}, json{{"usage", 3}}, json::object()})
    BOOST_TEST(error_of(event(odd)).find("no chunk") != std::string::npos);
  BOOST_TEST(error_of(event({{"error", nullptr}, {"choices", {{{"text", "a"}}}}}) + "data: [DONE]\n\n") == "");
  BOOST_TEST(error_of(event({{"choices", {{{"text", 5}, {"finish_reason", 1}}}}}) + "data: [DONE]\n\n") == "");
}

BOOST_AUTO_TEST_CASE(a_request_asks_for_a_stream_with_counts_and_says_all_that_was_said_before) {
  const history before{{"a", "b"}};
  const turn now{"c", 1, 9};
  const auto text = json::parse(request_body({api::completions, "m", true, false, {}}, before, now));
  BOOST_TEST(text == json({{"model", "m"},
                           {"prompt", "abc"},
                           {"max_tokens", 9},
                           {"ignore_eos", true},
                           {"stream", true},
                           {"stream_options", {{"include_usage", true}}}}));
  const auto chat = json::parse(request_body({api::chat, "m", false, true, 0.5}, before, now));
  BOOST_TEST(chat["messages"] == json::array({{{"role", "user"}, {"content", "a"}},
                                              {{"role", "assistant"}, {"content", "b"}},
                                              {{"role", "user"}, {"content", "c"}}}));
  BOOST_TEST(chat["max_completion_tokens"] == 9);
  BOOST_TEST(chat["temperature"] == 0.5);
  BOOST_TEST(chat["stream_options"]["continuous_usage_stats"] == true);
  BOOST_TEST(!chat.contains("ignore_eos"));
}

BOOST_AUTO_TEST_CASE(an_endpoint_is_known_by_how_it_ends) {
  BOOST_TEST((api_of("/v1/completions") == api::completions));
  BOOST_TEST((api_of("/x/v1/chat/completions") == api::chat));
  BOOST_TEST((api_of("/v1/responses").error().code == errc::unsupported));
}

BOOST_AUTO_TEST_CASE(errors_are_told_in_the_words_of_the_server) {
  BOOST_TEST(message_of(R"({"error": {"message": "No."}})") == "No.");
  BOOST_TEST(message_of(R"({"error": "No."})") == "No.");
  BOOST_TEST(message_of("<html>").starts_with("<html>"));
  BOOST_TEST(message_of(std::string(5000, 'x')).size() == 300u);
}

BOOST_AUTO_TEST_SUITE_END()
