// Every way in which a frame can be wrong, one by one.
#include <boost/test/unit_test.hpp>

#include <limits>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "tests/protocol/frames.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(decode_refusals)

namespace {

decode_error refused(const std::string& frame) {
  const auto message = decode_client(frame);
  BOOST_REQUIRE(!message);
  return message.error();
}

/// The frame is refused with this code and a sentence that has these words, and ends request 7 if it is about it.
void check_refused(const std::string& frame, errc code, std::string_view words,
                   std::optional<request_id> id = request_id{7}) {
  const auto [failure, named] = refused(frame);
  BOOST_TEST_CONTEXT(failure.message) {
    BOOST_TEST(to_string(failure.code) == to_string(code));
    BOOST_TEST(failure.message.find(words) != std::string::npos);
    BOOST_TEST(failure.message.ends_with('.'));
    BOOST_TEST((named == id));
  }
}

void check_server_refused(const raw_fields& fields, errc code, std::string_view words) {
  const auto message = decode_server(map_of(fields));
  BOOST_REQUIRE(!message);
  BOOST_TEST(to_string(message.error().code) == to_string(code));
  BOOST_TEST(message.error().message.find(words) != std::string::npos, message.error().message);
}

const std::string ext_bytes{"\xd4\x01\x02", 3};
const std::string bin_bytes{"\xc4\x01x", 3};

} // namespace

BOOST_AUTO_TEST_CASE(bytes_that_are_no_message_are_malformed) {
  check_refused("", errc::malformed, "ends in the middle", {});
  check_refused("\xc1", errc::malformed, "byte 0", {});
  check_refused(packed(5), errc::malformed, "is an integer, but must be a map", {});
  check_refused(packed("hello"), errc::malformed, "is a string, but must be a map", {});
  check_refused(array_of({packed("hello")}), errc::malformed, "is an array, but must be a map", {});
  check_refused(map_of({}), errc::invalid_argument, "'type' is missing", {});
}

BOOST_AUTO_TEST_CASE(a_frame_cut_at_any_byte_is_malformed) {
  const std::string frame = generate_with("stop", array_of({packed("a"), packed("b")}));
  for (std::size_t size = 0; size < frame.size(); ++size) {
    const auto failure = refused(frame.substr(0, size)).failure;
    BOOST_TEST(to_string(failure.code) == "malformed");
    BOOST_TEST(failure.message.find("ends in the middle") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(bytes_after_the_message_are_refused) {
  check_refused(encode(ping{1}) + encode(ping{2}), errc::malformed, "goes on after its message", {});
  check_refused(generate_of({{"prompt", packed("hi")}}) + std::string(1, '\0'), errc::malformed, "1 bytes from byte");
}

BOOST_AUTO_TEST_CASE(an_unknown_type_is_refused_with_those_that_there_are) {
  check_refused(map_of({{"type", packed("shutdown")}}), errc::invalid_argument, "'shutdown'", {});
  check_refused(map_of({{"type", packed("welcome")}, {"id", packed(7)}}), errc::invalid_argument, "hello", {});
  check_refused(map_of({{"type", packed(3)}}), errc::invalid_argument, "'type' must be a string", {});
}

BOOST_AUTO_TEST_CASE(an_unknown_field_is_refused_in_every_message) {
  check_refused(generate_with("beams", packed(4)), errc::unknown_field, "'beams'");
  check_refused(
    generate_with("logit_bias", array_of({map_of({{"token", packed(1)}, {"bias", packed(1)}, {"why", packed(1)}})})),
    errc::unknown_field, "logit_bias[0] has no field 'why'");
  for (const char* type : {"pause_request", "resume_request"})
    check_refused(map_of({{"type", packed(type)}, {"id", packed(7)}, {"x", packed(1)}}), errc::unknown_field, "'x'",
                  {});
  check_refused(
    map_of({{"type", packed("admin_request")}, {"nonce", packed(1)}, {"command", packed("check")}, {"x", packed(1)}}),
    errc::unknown_field, "'x'", {});
  check_refused(map_of({{"type", packed("hello")}, {"version", packed(protocol_version)}, {"x", packed(1)}}),
                errc::unknown_field, "hello has no field 'x'", {});
  check_refused(map_of({{"type", packed("ping")}, {"nonce", packed(1)}, {"x", packed(1)}}), errc::unknown_field,
                "'x'", {});
  check_refused(
    map_of({{"type", packed("credit_grant")}, {"id", packed(7)}, {"tokens", packed(1)}, {"x", nil_bytes}}),
    errc::unknown_field, "'x'", {});
  check_refused(map_of({{"type", packed("cancel_request")}, {"id", packed(7)}, {"why", packed("")}}),
                errc::unknown_field, "'why'", {});
  const auto message = map_of({{"role", packed("user")}, {"content", packed("x")}, {"name", packed("Ada")}});
  check_refused(generate_of({{"messages", array_of({message})}}), errc::unknown_field,
                "messages[0] has no field 'name'");
}

BOOST_AUTO_TEST_CASE(a_missing_field_is_refused_in_every_message) {
  check_refused(map_of({{"type", packed("hello")}}), errc::invalid_argument, "'version' is missing from hello", {});
  check_refused(map_of({{"type", packed("generate_request")}, {"prompt", packed("x")}}), errc::invalid_argument,
                "'id' is missing", {});
  check_refused(map_of({{"type", packed("cancel_request")}}), errc::invalid_argument, "'id' is missing", {});
  check_refused(map_of({{"type", packed("credit_grant")}, {"id", packed(7)}}), errc::invalid_argument,
                "'tokens' is missing", {});
  check_refused(map_of({{"type", packed("ping")}}), errc::invalid_argument, "'nonce' is missing", {});
  check_refused(generate_of({{"messages", array_of({map_of({{"role", packed("user")}})})}}), errc::invalid_argument,
                "'messages[0].content' is missing");
}

BOOST_AUTO_TEST_CASE(a_missing_part_of_a_message_is_named_by_its_path) {
  check_refused(generate_with("logit_bias", array_of({map_of({{"bias", packed(1)}})})), errc::invalid_argument,
                "'logit_bias[0].token' is missing from logit_bias[0]");
  check_refused(generate_with("logit_bias", array_of({map_of({{"token", packed(1)}})})), errc::invalid_argument,
                "'logit_bias[0].bias' is missing");
  for (const char* type : {"pause_request", "resume_request"})
    check_refused(map_of({{"type", packed(type)}}), errc::invalid_argument, "'id' is missing", {});
  check_refused(map_of({{"type", packed("admin_request")}, {"nonce", packed(1)}}), errc::invalid_argument,
                "'command' is missing", {});
  check_refused(map_of({{"type", packed("admin_request")}, {"command", packed("check")}}), errc::invalid_argument,
                "'nonce' is missing", {});
}

BOOST_AUTO_TEST_CASE(an_unknown_command_is_refused_with_those_that_there_are) {
  check_refused(map_of({{"type", packed("admin_request")}, {"nonce", packed(1)}, {"command", packed("reboot")}}),
                errc::invalid_argument, "'reboot', but must be status, check, reset_prefix_cache or drain", {});
}

BOOST_AUTO_TEST_CASE(exactly_one_prompt_must_be_there) {
  check_refused(generate_of({}), errc::invalid_argument,
                "none of the fields 'prompt', 'tokens', 'messages' and 'chat'");
  check_refused(generate_with("tokens", array_of({packed(1)})), errc::invalid_argument, "more than one");
  check_refused(generate_with("messages", array_of({})), errc::invalid_argument, "more than one");
  check_refused(generate_with("chat", packed("{}")), errc::invalid_argument, "more than one");
  check_refused(generate_of({{"chat", packed("")}}), errc::invalid_argument, "Field 'chat' is empty");
  check_refused(generate_of({{"chat", packed(3)}}), errc::invalid_argument, "'chat'");
}

BOOST_AUTO_TEST_CASE(a_field_of_the_wrong_kind_is_refused_with_both_kinds) {
  struct wrong {
    const char* field;
    std::string value;
    const char* words;
  };
  const wrong cases[] = {
    {"temperature", packed("hot"), "'temperature' must be a number, but is a string"},
    {"temperature", packed(true), "but is a boolean"},
    {"seed", packed(1.5), "'seed' must be an integer, but is a float"},
    {"seed", nil_bytes, "but is nil"},
    {"max_tokens", packed("1"), "but is a string"},
    {"ignore_eos", packed(1), "'ignore_eos' must be a boolean, but is an integer"},
    {"stop", packed("x"), "'stop' must be an array of strings, but is a string"},
    {"stop", array_of({packed(1)}), "'stop' must be an array of strings, but is an array of integers"},
    {"stop", array_of({packed("a"), nil_bytes}), "'stop[1]' must be a string, but is nil"},
    {"stop", array_of({packed("a"), packed(1)}), "'stop[1]' is an integer, unlike the values before it"},
    {"stop", array_of({packed(0.5)}), "'stop' must be an array of strings, but is an array of numbers"},
    {"top_p", packed("0.9"), "'top_p' must be a number, but is a string"},
    {"top_k", packed(1.5), "'top_k' must be an integer, but is a float"},
    {"priority", packed("high"), "'priority' must be an integer, but is a string"},
    {"logit_bias", map_of({}), "'logit_bias' must be an array of maps, but is a map"},
    {"logit_bias", array_of({packed(1)}), "'logit_bias' must be an array of maps, but is an array of integers"},
    {"logit_bias", array_of({packed("x")}), "'logit_bias[0]' must be a map of token and bias, but is a string"},
    {"allowed_tokens", array_of({packed(0.5)}), "'allowed_tokens' must be an array of integers"},
    {"allowed_tokens", array_of({packed(1), packed(0.5)}), "'allowed_tokens[1]' is a float, unlike"},
    {"stop_tokens", packed(1), "'stop_tokens' must be an array of integers"},
    {"bad_words", packed("x"), "'bad_words' must be an array of strings"},
    {"logprobs", packed(true), "'logprobs' must be an integer, but is a boolean"},
    {"cache_salt", packed(1), "'cache_salt' must be a string"},
    {"traceparent", packed(1), "'traceparent' must be a string"},
    {"traceparent", packed("00-0"), "'traceparent' is not as W3C Trace Context has it"},
    {"echo", packed(1), "'echo' must be a boolean"},
    {"credit", map_of({}), "but is a map"},
    {"credit", bin_bytes, "but is binary"},
  };
  for (const wrong& each : cases)
    check_refused(generate_with(each.field, each.value), errc::invalid_argument, each.words);
  check_refused(generate_of({{"prompt", bin_bytes}}), errc::invalid_argument, "'prompt' must be a string");
  check_refused(generate_of({{"tokens", packed("1 2")}}), errc::invalid_argument, "'tokens' must be an array");
  check_refused(generate_of({{"tokens", array_of({packed(1), packed("2")})}}), errc::invalid_argument, "'tokens[1]'");
  check_refused(generate_of({{"tokens", array_of({packed(1.5)})}}), errc::invalid_argument, "'tokens' must be");
  check_refused(generate_of({{"messages", map_of({})}}), errc::invalid_argument, "'messages' must be an array");
  check_refused(generate_of({{"messages", array_of({packed("x")})}}), errc::invalid_argument,
                "'messages[0]' must be");
  check_refused(generate_of({{"messages", array_of({map_of({{"role", packed(1)}, {"content", packed("")}})})}}),
                errc::invalid_argument, "'messages[0].role' must be a string");
}

BOOST_AUTO_TEST_CASE(a_number_out_of_range_is_refused_with_the_range) {
  check_refused(generate_with("seed", packed(-1)), errc::invalid_argument, "'seed' is -1, but must be from 0 to");
  check_refused(generate_with("max_tokens", packed(0)), errc::invalid_argument, "must be at least 1");
  check_refused(generate_with("embed", packed("first")), errc::invalid_argument, "last or mean");
  check_refused(generate_with("max_tokens", packed(1ull << 32)), errc::invalid_argument,
                "'max_tokens' is 4294967296");
  check_refused(generate_with("credit", packed(1ull << 32)), errc::invalid_argument, "'credit'");
  check_refused(generate_with("temperature", packed(-0.5)), errc::invalid_argument, "'temperature' is -0.5");
  check_refused(generate_with("temperature", packed(-1e-300)), errc::invalid_argument, "'temperature'");
  check_refused(generate_with("temperature", packed(1e300)), errc::invalid_argument, "'temperature'");
  check_refused(generate_with("temperature", packed(101)), errc::invalid_argument, "'temperature'");
  struct wrong {
    const char* field;
    std::string value;
    const char* words;
  };
  const wrong cases[] = {
    {"top_p", packed(0), "'top_p' is 0, but must be over 0"},
    {"top_p", packed(1.0000001), "'top_p' is 1.0000001, but must be from 0 to 1"},
    {"min_p", packed(-1e-300), "'min_p'"},
    {"min_p", packed(2), "'min_p' is 2, but must be from 0 to 1"},
    {"typical_p", packed(0.0), "'typical_p'"},
    {"repetition_penalty", packed(0), "'repetition_penalty' is 0, but must be from 0.01 to 100"},
    {"presence_penalty", packed(-2.5), "'presence_penalty' is -2.5, but must be from -2 to 2"},
    {"frequency_penalty", packed(3), "'frequency_penalty' is 3, but must be from -2 to 2"},
    {"top_k", packed(-1), "'top_k' is -1"},
    {"logprobs", packed(-1), "'logprobs' is -1, but must be from 0 to 20"},
    {"logprobs", packed(21), "'logprobs' is 21"},
    {"prompt_logprobs", packed(21), "'prompt_logprobs' is 21"},
    {"priority", packed(-1001), "'priority' is -1001, but must be from -1000 to 1000"},
    {"priority", packed(0xffffffffffffffffu), "'priority' is 18446744073709551615"},
    {"ttft_ms", packed(1ull << 32), "'ttft_ms'"},
    {"itl_ms", packed(-1), "'itl_ms'"},
    {"n", packed(0), "'n' is 0"},
    {"n", packed(129), "'n' is 129, but must be from 1 to 128"},
    {"best_of", packed(0), "'best_of' is 0"},
    {"best_of", packed(129), "'best_of' is 129"},
    {"min_tokens", packed(513), "'min_tokens' is 513, but 'max_tokens' only 512"},
    {"stop_tokens", array_of({packed(-1)}), "'stop_tokens[0]' is -1"},
    {"logit_bias", array_of({map_of({{"token", packed(-1)}, {"bias", packed(1)}})}), "'logit_bias[0].token' is -1"},
    {"logit_bias", array_of({map_of({{"token", packed(1)}, {"bias", packed(100.5)}})}),
     "'logit_bias[0].bias' is 100.5, but must be from -100 to 100"},
  };
  for (const wrong& each : cases)
    check_refused(generate_with(each.field, each.value), errc::invalid_argument, each.words);
  check_refused(generate_of({{"tokens", array_of({packed(1), packed(1ll << 31)})}}), errc::invalid_argument,
                "'tokens[1]' is 2147483648");
  check_refused(generate_of({{"tokens", array_of({packed(-1)})}}), errc::invalid_argument, "'tokens[0]' is -1");
  check_refused(generate_of({{"tokens", array_of({packed(std::numeric_limits<std::int64_t>::min())})}}),
                errc::invalid_argument, "'tokens[0]'");
  check_refused(map_of({{"type", packed("credit_grant")}, {"id", packed(7)}, {"tokens", packed(0)}}),
                errc::invalid_argument, "'tokens' is 0, but must be from 1", {});
  check_refused(map_of({{"type", packed("hello")}, {"version", packed(1ull << 32)}}), errc::invalid_argument,
                "'version'", {});
}

BOOST_AUTO_TEST_CASE(nan_and_infinity_are_refused) {
  const double doubles[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                            -std::numeric_limits<double>::infinity()};
  for (double value : doubles) {
    check_refused(generate_with("temperature", packed(value)), errc::invalid_argument, "must be finite");
    check_refused(generate_with("temperature", packed(static_cast<float>(value))), errc::invalid_argument,
                  "'temperature'");
  }
}

BOOST_AUTO_TEST_CASE(a_field_that_is_there_twice_is_refused) {
  check_refused(generate_of({{"prompt", packed("a")}, {"prompt", packed("b")}}), errc::malformed,
                "'prompt' is there twice");
  const auto message = map_of({{"role", packed("a")}, {"role", packed("b")}});
  check_refused(generate_of({{"messages", array_of({message})}}), errc::malformed,
                "'messages[0].role' is there twice");
}

BOOST_AUTO_TEST_CASE(text_that_is_not_utf8_is_refused) {
  check_refused(generate_of({{"prompt", packed("ab\xff")}}), errc::malformed,
                "'prompt' is not valid UTF-8 at its byte 2");
  check_refused(generate_with("stop", array_of({packed("a"), packed("\xed\xa0\x80")})), errc::malformed, "'stop[1]'");
  check_refused(generate_with("s\xff", packed(1)), errc::malformed, "name that is not valid UTF-8");
}

BOOST_AUTO_TEST_CASE(extension_types_and_keys_that_are_no_strings_are_refused) {
  check_refused(generate_with("seed", ext_bytes), errc::malformed, "'seed' has an extension type");
  std::string frame = generate_with("seed", packed(1));
  // The first byte of a map of four fields; a fifth comes with a key that is no name.
  BOOST_REQUIRE(frame[0] == '\x84');
  frame[0] = '\x85';
  for (const std::string& key : {packed(5), nil_bytes, bin_bytes, ext_bytes, packed(1.5), array_of({packed("id")}),
                                 map_of({{"id", packed(8)}})})
    BOOST_TEST(to_string(refused(frame + key + packed(8)).failure.code) == "malformed");
  check_refused(frame + packed(5) + packed(8), errc::malformed, "a key that is not a string");
}

BOOST_AUTO_TEST_CASE(what_is_over_a_limit_is_refused) {
  check_refused(generate_of({{"prompt", packed(std::string(max_string_bytes + 1, 'x'))}}), errc::limit_exceeded,
                "'prompt' has 33554433 bytes");
  check_refused(generate_of({{"tokens", packed(std::vector<int>(max_prompt_tokens + 1, 1))}}), errc::limit_exceeded,
                "'tokens[4194304]' is one token id too many");
  check_refused(generate_with("stop", packed(std::vector<std::string>(max_stop_strings + 1, "x"))),
                errc::limit_exceeded, "'stop' has 17 strings");
  check_refused(generate_with("stop", packed(std::vector<std::string>(max_frame_values, "x"))), errc::limit_exceeded,
                "one value too many");
  check_refused(generate_with("allowed_tokens", packed(std::vector<int>(max_allowed_tokens + 1, 1))),
                errc::limit_exceeded, "'allowed_tokens' has 65537 ids");
  check_refused(generate_with("stop_tokens", packed(std::vector<int>(max_stop_tokens + 1, 1))), errc::limit_exceeded,
                "'stop_tokens' has 65 ids");
  check_refused(generate_with("bad_words", packed(std::vector<std::string>(max_bad_words + 1, "x"))),
                errc::limit_exceeded, "'bad_words' has 65 strings");
  check_refused(generate_with("cache_salt", packed(std::string(max_salt_bytes + 1, 's'))), errc::limit_exceeded,
                "'cache_salt' has 257 bytes");
  std::vector<std::string> biases;
  for (std::size_t i = 0; i <= max_logit_bias; ++i)
    biases.push_back(map_of({{"token", packed(i)}, {"bias", packed(1)}}));
  check_refused(generate_with("logit_bias", array_of(biases)), errc::limit_exceeded, "'logit_bias' has 1025 tokens");
  check_refused(generate_with("x", packed(std::vector<float>(max_prompt_tokens + 1, 0.5f))), errc::limit_exceeded,
                "'x[4194304]' is one number too many");
  const auto message = map_of({{"role", packed("user")}, {"content", packed("")}});
  check_refused(generate_of({{"messages", array_of(std::vector(max_chat_messages + 1, message))}}),
                errc::limit_exceeded, "'messages' has 4097 messages");
  raw_fields many{{"prompt", packed("hi")}};
  for (std::size_t i = 0; i < max_map_fields; ++i)
    many.emplace_back(std::to_string(i), packed(1));
  check_refused(generate_of(many), errc::limit_exceeded, "more than 32 fields");
  check_refused(std::string(max_frame_bytes + 1, '\xc0'), errc::limit_exceeded, "The frame has 67108865 bytes", {});
}

BOOST_AUTO_TEST_CASE(what_every_model_refuses_is_refused_at_the_border) {
  check_refused(generate_of({{"prompt", packed("")}}), errc::invalid_argument, "'prompt' is empty");
  check_refused(generate_of({{"tokens", array_of({})}}), errc::invalid_argument, "'tokens' is empty");
  check_refused(generate_of({{"messages", array_of({})}}), errc::invalid_argument, "'messages' is empty");
  check_refused(generate_with("stop", array_of({packed("")})), errc::invalid_argument, "'stop[0]' is empty");
  check_refused(generate_with("temperature", packed(1e-40)), errc::invalid_argument, "'temperature'");
}

BOOST_AUTO_TEST_CASE(the_id_of_a_bad_request_is_found_wherever_it_stands) {
  const std::pair<std::string, std::string> type{"type", packed("generate_request")};
  const std::pair<std::string, std::string> id{"id", packed(7)};
  const std::pair<std::string, std::string> bad{"prompt", packed("\xff")};
  for (const raw_fields& fields : {raw_fields{type, id, bad}, raw_fields{bad, type, id}, raw_fields{id, bad, type}})
    check_refused(map_of(fields), errc::malformed, "'prompt' is not valid UTF-8");
  // Broken after the id was read.
  const std::string whole = map_of({type, id, bad});
  check_refused(whole.substr(0, whole.size() - 1), errc::malformed, "ends in the middle");
}

BOOST_AUTO_TEST_CASE(an_id_that_is_in_doubt_is_not_used) {
  const std::string good = packed(7);
  const raw_fields prompt_and_type{{"prompt", packed("")}, {"type", packed("generate_request")}};
  auto with = [&](raw_fields more) {
    more.insert(more.end(), prompt_and_type.begin(), prompt_and_type.end());
    return refused(map_of(more)).id;
  };
  BOOST_TEST((with({{"id", good}}) == request_id{7}));
  BOOST_TEST((with({{"id", good}, {"id", packed(8)}}) == std::nullopt));
  BOOST_TEST((with({{"id", nil_bytes}, {"id", good}}) == std::nullopt));
  BOOST_TEST((with({{"id", packed(-7)}}) == std::nullopt));
  BOOST_TEST((with({{"id", std::string{"\xca\x40\xe0\x00\x00", 5}}}) == std::nullopt));
  BOOST_TEST((with({{"id", packed("7")}}) == std::nullopt));
  BOOST_TEST((with({{"x", map_of({{"id", good}})}}) == std::nullopt));
  BOOST_TEST((with({{"id", good}, {"type", packed("ping")}}) == std::nullopt));
}

BOOST_AUTO_TEST_CASE(the_search_for_the_id_of_a_bad_request_is_bounded) {
  auto id_after = [](std::size_t values) {
    return refused(map_of({{"type", packed("generate_request")},
                           {"prompt", packed("\xff")},
                           {"x", array_of(std::vector(values, nil_bytes))},
                           {"id", packed(7)}}))
      .id;
  };
  BOOST_TEST((id_after(1000) == request_id{7}));
  BOOST_TEST((id_after(max_frame_values + 1) == std::nullopt));
}

BOOST_AUTO_TEST_CASE(a_client_refuses_what_a_server_should_not_send) {
  const raw_fields end{{"type", packed("request_end")},
                       {"id", packed(7)},
                       {"prompt_tokens", packed(1)},
                       {"completion_tokens", packed(1)},
                       {"cached_prompt_tokens", packed(0)},
                       {"first_token_ms", packed(1.0)},
                       {"total_ms", packed(1)}};
  auto with = [](raw_fields fields, const raw_fields& more) {
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  };
  BOOST_TEST(decode_server(map_of(with(end, {{"reason", packed("stop")}}))).has_value());
  check_server_refused(with(end, {{"reason", packed("bored")}}), errc::invalid_argument, "'bored'");
  check_server_refused(with(end, {{"reason", packed("error")}}), errc::invalid_argument, "'code' is missing");
  check_server_refused(with(end, {{"reason", packed("stop")}, {"code", packed(1)}}), errc::unknown_field, "'code'");
  for (int code : {0, 15, 65535})
    check_server_refused({{"type", packed("protocol_error")}, {"code", packed(code)}, {"message", packed("")}},
                         errc::invalid_argument, "'code' is " + std::to_string(code));
  check_server_refused({{"type", packed("token_delta")},
                        {"id", packed(7)},
                        {"position", packed(0)},
                        {"token_ids", array_of({packed(-1)})},
                        {"text", packed("")}},
                       errc::invalid_argument, "'token_ids[0]'");
  auto with_logprobs = [](raw_fields columns) {
    return raw_fields{{"type", packed("token_delta")},
                      {"id", packed(7)},
                      {"token_ids", array_of({packed(1), packed(2)})},
                      {"logprobs", map_of(columns)}};
  };
  const auto two = array_of({packed(-0.5), packed(-1.5)});
  const auto ids = array_of({packed(1), packed(2)});
  const auto four = array_of({packed(1), packed(2), packed(3), packed(4)});
  const raw_fields columns{{"tokens", ids}, {"logprobs", two}, {"ranks", ids}};
  BOOST_TEST(decode_server(map_of(with_logprobs(columns))).has_value());
  check_server_refused(with_logprobs({columns[0], columns[1]}), errc::invalid_argument,
                       "'logprobs.ranks' is missing");
  check_server_refused(with_logprobs({columns[0], {"logprobs", array_of({packed(-0.5)})}, columns[2]}),
                       errc::invalid_argument, "'logprobs.tokens' has 2 values");
  check_server_refused(with_logprobs(with(columns, {{"top_tokens", four}, {"top_logprobs", two}})),
                       errc::invalid_argument, "'logprobs.tokens'");
  check_server_refused(
    with_logprobs({{"tokens", four}, {"logprobs", array_of(std::vector(4, packed(-0.5)))}, {"ranks", four}}),
    errc::invalid_argument, "'logprobs' is about 4 tokens, but there are 2");
  const raw_fields bad_delta{{"position", packed(1)}};
  check_server_refused({{"type", packed("step_deltas")}, {"deltas", array_of({map_of(bad_delta)})}},
                       errc::invalid_argument, "'deltas[0].id' is missing from deltas[0]");
  check_server_refused({{"type", packed("step_deltas")}, {"ends", packed("x")}}, errc::invalid_argument,
                       "'ends' must be an array of maps");
  check_server_refused({{"type", packed("admin_reply")}, {"nonce", packed(1)}, {"ok", packed(false)}},
                       errc::invalid_argument, "'code' is missing");
  check_server_refused({{"type", packed("admin_reply")},
                        {"nonce", packed(1)},
                        {"ok", packed(true)},
                        {"status", map_of({{"waiting", packed(1)}})}},
                       errc::invalid_argument, "'status.open_requests' is missing from status");
  check_server_refused({{"type", packed("ping")}, {"nonce", packed(1)}}, errc::invalid_argument, "'ping'");
  raw_fields early = end;
  early[5].second = packed(-1.0);
  check_server_refused(with(early, {{"reason", packed("stop")}}), errc::invalid_argument, "'first_token_ms' is -1");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
