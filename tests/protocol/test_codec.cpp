#include <boost/test/unit_test.hpp>

#include <limits>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "tests/protocol/frames.hpp"
#include "tests/protocol/random_messages.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(codec)

namespace {

client_message decode_or_fail(const std::string& frame) {
  auto message = decode_client(frame);
  BOOST_REQUIRE_MESSAGE(message, (message ? "" : message.error().failure.message));
  return *message;
}

generate_request generate_or_fail(const std::string& frame) {
  return std::get<generate_request>(decode_or_fail(frame));
}

} // namespace

BOOST_AUTO_TEST_CASE(every_client_message_comes_back_as_it_was) {
  random_messages random(1);
  std::array<int, std::variant_size_v<client_message>> seen{};
  for (int i = 0; i < 3000; ++i) {
    const client_message message = random.from_client();
    BOOST_REQUIRE(decode_or_fail(encode(message)) == message);
    ++seen[message.index()];
  }
  for (int count : seen)
    BOOST_TEST(count > 100);
}

BOOST_AUTO_TEST_CASE(every_server_message_comes_back_as_it_was) {
  random_messages random(2);
  std::array<int, std::variant_size_v<server_message>> seen{};
  for (int i = 0; i < 3000; ++i) {
    const server_message message = random.from_server();
    const auto back = decode_server(encode(message));
    BOOST_REQUIRE_MESSAGE(back, (back ? "" : back.error().message));
    BOOST_REQUIRE(*back == message);
    ++seen[message.index()];
  }
  for (int count : seen)
    BOOST_TEST(count > 100);
}

BOOST_AUTO_TEST_CASE(the_largest_values_of_every_field_come_back) {
  generate_request request;
  request.id = 0xffffffffffffffffu;
  request.prompt = prompt_tokens{0, 0x7fffffff};
  auto& sampling = request.sampling;
  sampling.temperature = max_temperature;
  sampling.seed = 0xffffffffffffffffu;
  sampling.top_k = sampling.max_tokens = sampling.min_tokens = 0xffffffffu;
  sampling.top_p = sampling.typical_p = 1e-30f;
  sampling.min_p = 1;
  sampling.repetition_penalty = max_repetition_penalty;
  sampling.presence_penalty = -max_penalty;
  sampling.frequency_penalty = max_penalty;
  for (std::size_t i = 0; i < max_logit_bias; ++i)
    sampling.logit_bias.push_back({0x7fffffff - static_cast<token_id>(i), i % 2 ? max_bias : -max_bias});
  sampling.allowed_tokens.assign(max_allowed_tokens, 0x7fffffff);
  sampling.bad_words.assign(max_bad_words, std::string(max_bad_word_bytes, 'b'));
  sampling.ignore_eos = true;
  sampling.stop.assign(max_stop_strings, std::string(max_stop_bytes, 's'));
  sampling.stop_tokens.assign(max_stop_tokens, 0x7fffffff);
  sampling.logprobs = sampling.prompt_logprobs = max_logprobs;
  request.scheduling = {-max_priority, 0xffffffffu, 0xffffffffu, std::string(max_salt_bytes, 's')};
  request.n = request.best_of = max_choices;
  request.echo = true;
  request.credit = 0xfffffffeu;
  BOOST_TEST((decode_or_fail(encode(request)) == client_message{request}));
  request.sampling.temperature = min_temperature;
  request.credit = 0;
  BOOST_TEST((decode_or_fail(encode(request)) == client_message{request}));
}

BOOST_AUTO_TEST_CASE(absent_fields_have_the_defaults_of_the_struct) {
  const auto request = generate_or_fail(generate_of({{"prompt", packed("hi")}}));
  BOOST_TEST((request == generate_request{.id = 7, .prompt = prompt_text{"hi"}}));
}

BOOST_AUTO_TEST_CASE(fields_may_come_in_any_order) {
  const auto request = generate_or_fail(
    map_of({{"prompt", packed("hi")}, {"id", packed(7)}, {"seed", packed(3)}, {"type", packed("generate_request")}}));
  BOOST_TEST(request.id == 7u);
  BOOST_TEST(request.sampling.seed == 3u);
}

BOOST_AUTO_TEST_CASE(every_integer_form_of_msgpack_means_the_same) {
  const std::string forms[] = {{"\x05", 1},
                               {"\xcc\x05", 2},
                               {"\xcd\x00\x05", 3},
                               {"\xce\x00\x00\x00\x05", 5},
                               {"\xcf\x00\x00\x00\x00\x00\x00\x00\x05", 9},
                               {"\xd0\x05", 2},
                               {"\xd1\x00\x05", 3},
                               {"\xd2\x00\x00\x00\x05", 5},
                               {"\xd3\x00\x00\x00\x00\x00\x00\x00\x05", 9}};
  for (const std::string& form : forms) {
    BOOST_TEST(generate_or_fail(generate_with("seed", form)).sampling.seed == 5u);
    BOOST_TEST((generate_or_fail(generate_of({{"tokens", array_of({form})}})).prompt == prompt{prompt_tokens{5}}));
  }
}

BOOST_AUTO_TEST_CASE(a_temperature_may_be_a_float_of_either_size_or_an_integer) {
  BOOST_TEST(generate_or_fail(generate_with("temperature", packed(0.5f))).sampling.temperature == 0.5f);
  BOOST_TEST(generate_or_fail(generate_with("temperature", packed(0.7))).sampling.temperature == 0.7f);
  BOOST_TEST(generate_or_fail(generate_with("temperature", packed(1))).sampling.temperature == 1.0f);
}

BOOST_AUTO_TEST_CASE(a_prompt_of_the_greatest_length_is_taken) {
  const std::string text(max_string_bytes, 'x');
  BOOST_TEST(
    (generate_or_fail(encode(generate_request{.id = 1, .prompt = text, .credit = 0})).prompt == prompt{text}));
  const prompt_tokens tokens(max_prompt_tokens, 100000);
  BOOST_TEST(
    (generate_or_fail(encode(generate_request{.id = 1, .prompt = tokens, .credit = 0})).prompt == prompt{tokens}));
  const prompt_messages chat(max_chat_messages, {"user", "hi"});
  BOOST_TEST(
    (generate_or_fail(encode(generate_request{.id = 1, .prompt = chat, .credit = 0})).prompt == prompt{chat}));
}

BOOST_AUTO_TEST_CASE(special_tokens_quotes_and_zero_bytes_in_text_travel_as_they_are) {
  const prompt_text text("<|im_end|>\"\\\0\n", 14);
  BOOST_TEST(
    (generate_or_fail(encode(generate_request{.id = 1, .prompt = text, .credit = 0})).prompt == prompt{text}));
}

BOOST_AUTO_TEST_CASE(a_hello_of_another_version_comes_back_whatever_else_it_says) {
  const auto message =
    decode_or_fail(map_of({{"type", packed("hello")}, {"version", packed(3)}, {"compression", packed("zstd")}}));
  BOOST_TEST((message == client_message{hello{3}}));
}

BOOST_AUTO_TEST_CASE(an_end_carries_a_code_and_a_sentence_only_for_an_error) {
  request_end end;
  end.failure = {errc::internal, "stale"};
  const auto back = decode_server(encode(end));
  BOOST_REQUIRE(back);
  BOOST_TEST((std::get<request_end>(*back).failure == error{errc::none, {}}));
}

BOOST_AUTO_TEST_CASE(what_has_its_default_is_not_sent) {
  BOOST_TEST(encode(generate_request{.id = 7, .prompt = prompt_text{"hi"}}) ==
             generate_of({{"prompt", packed("hi")}}));
  BOOST_TEST(encode(token_delta{.id = 7}) == map_of({{"type", packed("token_delta")}, {"id", packed(7)}}));
}

BOOST_AUTO_TEST_CASE(numbers_that_are_not_finite_are_sent_as_the_nearest_that_is) {
  constexpr float most = std::numeric_limits<float>::max();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const token_delta delta{.id = 1, .token_ids = {5, 6}, .logprobs = {{5, -infinity, 1, {}}, {6, infinity, 1, {}}}};
  const auto back = decode_server(encode(delta));
  BOOST_REQUIRE(back);
  BOOST_TEST(std::get<token_delta>(*back).logprobs[0].logprob == -most);
  BOOST_TEST(std::get<token_delta>(*back).logprobs[1].logprob == most);
}

BOOST_AUTO_TEST_CASE(an_answer_with_a_status_has_no_error_and_the_other_way_round) {
  const auto frame = encode(admin_reply{.nonce = 3, .failure = {errc::internal, "Leak."}, .status = server_status{}});
  BOOST_TEST(frame == map_of({{"type", packed("admin_reply")},
                              {"nonce", packed(3)},
                              {"ok", packed(false)},
                              {"code", packed(14)},
                              {"message", packed("Leak.")}}));
}

BOOST_AUTO_TEST_CASE(the_reason_of_all_answers_is_the_one_that_counts_most) {
  using enum finish_reason;
  auto of = [](std::vector<finish_reason> reasons) {
    std::vector<choice_end> choices;
    for (auto reason : reasons)
      choices.push_back({.reason = reason});
    return to_string(whole_reason(choices));
  };
  BOOST_TEST(of({stop, stop}) == "stop");
  BOOST_TEST(of({stop, length, stop}) == "length");
  BOOST_TEST(of({length, cancelled, stop}) == "cancelled");
  BOOST_TEST(of({error, cancelled}) == "error");
}

BOOST_AUTO_TEST_CASE(an_error_without_a_code_is_sent_as_a_bug_of_ours) {
  const auto back = decode_server(encode(protocol_error{{errc::none, "Oops."}}));
  BOOST_REQUIRE(back);
  BOOST_TEST((std::get<protocol_error>(*back).failure == error{errc::internal, "Oops."}));
}

BOOST_AUTO_TEST_CASE(a_sentence_that_is_too_long_or_not_utf8_is_mended_before_it_is_sent) {
  std::string sentence = "a file named \xff";
  while (sentence.size() < 2 * max_error_bytes)
    sentence += "€";
  const auto back = decode_server(encode(protocol_error{{errc::io, sentence}}));
  BOOST_REQUIRE(back);
  const std::string& sent = std::get<protocol_error>(*back).failure.message;
  BOOST_TEST(sent.starts_with("a file named \xef\xbf\xbd€"));
  BOOST_TEST(sent.ends_with("€"));
  BOOST_TEST(sent.size() <= max_error_bytes);
  BOOST_TEST(sent.size() > max_error_bytes - 3);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
