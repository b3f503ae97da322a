// /v1/embeddings without an engine.
#include "tests/serve/api/support.hpp"

#include <cmath>
#include <cstring>
#include <map>

#include "serve/api/embedding_fields.hpp"
#include "tests/support/base64.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(embeddings_suite)

namespace {

running_call started(const json& body) {
  return taken(&serve::embeddings, body);
}

json refusal(const json& body) {
  return refused(&serve::embeddings, body);
}

void end(running_call& call, std::size_t request, std::vector<float> embedding, std::uint32_t tokens = 3) {
  request_end given;
  given.reason = finish_reason::length;
  given.usage = {tokens, 0, 1};
  given.embedding = std::move(embedding);
  call.call->take(request, given, call.out);
}

} // namespace

BOOST_AUTO_TEST_CASE(an_input_of_each_kind_becomes_requests_without_tokens) {
  const auto text = started({{"model", "tiny"}, {"input", "Hello"}, {"user", "me"}});
  BOOST_REQUIRE(text.requests.size() == 1u);
  BOOST_TEST(std::get<prompt_text>(text.requests[0].prompt) == "Hello");
  BOOST_TEST((text.requests[0].embed == pooling::last));
  BOOST_TEST((text.requests[0].sampling == sampling_parameters{}));
  BOOST_TEST(!text.call->streams());
  const auto ids = started({{"input", {5, 6}}});
  BOOST_TEST((std::get<prompt_tokens>(ids.requests.at(0).prompt) == prompt_tokens{5, 6}));
  const auto several = started({{"input", {"a", "b"}}, {"pooling", "mean"}, {"cache_salt", "s"}, {"priority", -2}});
  BOOST_REQUIRE(several.requests.size() == 2u);
  BOOST_TEST((several.requests[1].embed == pooling::mean));
  BOOST_TEST(several.requests[1].scheduling.cache_salt == "s");
  BOOST_TEST(several.requests[1].scheduling.priority == -2);
  BOOST_TEST(started({{"input", {{5}, {6, 7}}}}).requests.size() == 2u);
}

BOOST_AUTO_TEST_CASE(embeddings_come_in_the_order_of_the_inputs_whichever_ends_first) {
  auto call = started({{"input", {"a", "b"}}});
  end(call, 1, {0.6f, 0.8f}, 4);
  end(call, 0, {1, 0}, 2);
  const auto body = call.whole();
  BOOST_TEST(body.dump() == R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,0]},)"
                            R"({"object":"embedding","index":1,"embedding":[0.6,0.8]}],"model":"tiny",)"
                            R"("usage":{"prompt_tokens":6,"total_tokens":6}})");
}

BOOST_AUTO_TEST_CASE(floats_are_told_exactly_as_numbers_and_as_base64) {
  const std::vector<float> values{0.1f, -1e-8f, 0.33333334f, 1.17549435e-38f, 0.0f};
  auto numbers = started({{"input", "a"}, {"encoding_format", "float"}});
  end(numbers, 0, values);
  const auto data = numbers.whole()["data"][0]["embedding"];
  BOOST_REQUIRE(data.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    BOOST_TEST(data[i].get<float>() == values[i]);
  auto bytes = started({{"input", "a"}, {"encoding_format", "base64"}});
  end(bytes, 0, values);
  const auto decoded = from_base64(bytes.whole()["data"][0]["embedding"].get<std::string>());
  BOOST_REQUIRE(decoded.size() == values.size() * sizeof(float));
  BOOST_TEST(std::memcmp(decoded.data(), values.data(), decoded.size()) == 0);
}

BOOST_AUTO_TEST_CASE(one_input_that_fails_is_the_calls_failure) {
  auto call = started({{"input", {"a", "b"}}});
  end(call, 0, {1, 0});
  call.end(1, finish_reason::error, {}, {errc::context_overflow, "The prompt is too long."});
  BOOST_TEST(call.call->failed());
  const auto answer = call.call->whole();
  BOOST_TEST(answer.status == 400u);
  BOOST_TEST(json::parse(answer.body)["error"]["code"] == "context_length_exceeded");
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named_as_the_api_calls_it) {
  const auto param = [](const json& body) { return refusal(body)["param"].get<std::string>(); };
  BOOST_TEST(param(json::object()) == "input");
  BOOST_TEST(param({{"input", ""}}) == "input");
  BOOST_TEST(param({{"input", json::array()}}) == "input");
  BOOST_TEST(param({{"input", 5}}) == "input");
  BOOST_TEST(param({{"input", {"a", ""}}}) == "input[1]");
  BOOST_TEST(param({{"input", {{5}, {99999}}}}) == "input[1]");
  BOOST_TEST(param({{"input", {"a", 5}}}) == "input[1]");
  BOOST_TEST(param({{"input", std::vector<std::string>(1025, "x")}}) == "input");
  BOOST_TEST(refusal({{"input", "a"}, {"model", "other"}})["status"] == 404);
  BOOST_TEST(refusal({{"input", "a"}, {"temperature", 0}})["code"] == "unknown_parameter");
  BOOST_TEST(refusal({{"input", "a"}, {"dimensions", 64}})["message"].get<std::string>().find("wide") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(every_row_of_the_table_does_what_it_says) {
  struct example {
    json taken;
    std::vector<json> refused{};
  };
  const std::map<std::string, example, std::less<>> examples{
    {"input", {"x", {"", 3}}},
    {"model", {"tiny", {"other", 3}}},
    {"encoding_format", {"base64", {"int8", 3}}},
    {"user", {"me", {3}}},
    {"pooling", {"mean", {"first", 3}}},
    {"priority", {3, {1001, "x"}}},
    {"cache_salt", {"x", {std::string(257, 'x'), 3}}},
    {"add_special_tokens", {true, {false}}},
    {"normalize", {true, {false}}},
    {"use_activation", {true, {false}}},
  };
  std::size_t done = 0;
  for (const auto& rule : serve::embedding_table()) {
    const std::string name(rule.name);
    const auto with = [&](const json& value) {
      json body{{"input", "x"}};
      body[name] = value;
      return body;
    };
    if (!rule.read) {
      BOOST_TEST(refusal(with(1))["code"] == "unsupported_parameter", name);
      continue;
    }
    ++done;
    const auto found = examples.find(name);
    BOOST_REQUIRE_MESSAGE(found != examples.end(), name);
    started(with(found->second.taken));
    if (name != "input")
      started(with(nullptr));
    for (const auto& bad : found->second.refused)
      refusal(with(bad));
  }
  BOOST_TEST(done == examples.size());
}

BOOST_AUTO_TEST_SUITE_END()
