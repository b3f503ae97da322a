// docs/protocol.md must be true: its hex examples, limits and error codes are compared with the code.
#include <boost/test/unit_test.hpp>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(protocol_document)

namespace {

std::string document() {
  std::ifstream file(TROUPE_PROTOCOL_DOCUMENT);
  std::ostringstream text;
  text << file.rdbuf();
  BOOST_REQUIRE_MESSAGE(!text.str().empty(), "cannot read " TROUPE_PROTOCOL_DOCUMENT);
  return text.str();
}

/// The bytes of each block that begins with "```hex NAME". What follows '#' on a line is a comment.
std::map<std::string, std::string> hex_examples() {
  std::map<std::string, std::string> examples;
  std::istringstream lines(document());
  std::string name;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```hex ")) {
      name = line.substr(7);
    } else if (line == "```") {
      name.clear();
    } else if (!name.empty()) {
      std::istringstream bytes(line.substr(0, line.find('#')));
      for (std::string byte; bytes >> byte;)
        examples[name].push_back(static_cast<char>(std::stoi(byte, nullptr, 16)));
    }
  }
  return examples;
}

/// The rows of tables that begin "| `name` | number |" or "| number | `name` |".
std::map<std::string, std::size_t> rows(const char* pattern, int name, int number) {
  const std::string text = document();
  const std::regex row(pattern);
  std::map<std::string, std::size_t> result;
  for (std::sregex_iterator it(text.begin(), text.end(), row), end; it != end; ++it)
    result[(*it)[name]] = std::stoull((*it)[number]);
  return result;
}

/// What each example says.
std::map<std::string, std::string> encoded_examples() {
  generate_request chat{.id = 7, .prompt = prompt_messages{{"user", "What is the capital of France?"}}};
  chat.sampling = {.temperature = 0.5f, .seed = 300, .max_tokens = 64, .stop = {"\n\n"}};
  generate_request sampled{.id = 8, .prompt = prompt_tokens{504, 3575}, .scheduling = {.priority = -5}, .n = 2};
  sampled.sampling = {.temperature = 0.75f,
                      .top_k = 40,
                      .top_p = 0.875f,
                      .logit_bias = {{198, -100.0f}},
                      .max_tokens = 16,
                      .stop_tokens = {30},
                      .logprobs = 2};
  generate_request embed{.id = 10, .prompt = prompt_text{"Paris"}, .embed = pooling::last};
  step_deltas step;
  step.deltas.push_back({.id = 7, .position = 2, .token_ids = {282}, .text = " of"});
  step.deltas.push_back({.id = 8, .choice = 1, .position = 5, .token_ids = {9625}, .text = " Paris"});
  step.deltas.back().logprobs = {{9625, -0.5f, 1, {{9625, -0.5f}, {260, -2.25f}}}};
  step.deltas.push_back({.id = 9, .position = 6, .token_ids = {2}});
  step.ends.push_back({.id = 9, .usage = {37, 7, 32}, .timings = {48.5, 752.25}, .stopped_by = token_id{2}});
  request_end ended{.id = 8, .reason = finish_reason::length, .usage = {2, 25, 0}, .timings = {48.5, 752.25}};
  ended.choices = {{0, finish_reason::length, 16, -0.75f}, {1, finish_reason::stop, 9, -1.5f, "\n\n"}};
  request_end embedded{.id = 10, .reason = finish_reason::length, .usage = {2, 0, 0}, .timings = {0, 3.5}};
  embedded.embedding = {0.5f, -0.5f, 0.5f, 0.5f};
  request_end failed{.id = 7, .reason = finish_reason::error};
  failed.failure = {errc::queue_full, "There are 4096 open requests, as many as this server takes.", 250};
  return {
    {"hello", encode(hello{protocol_version})},
    {"generate_request", encode(chat)},
    {"sampled_request", encode(sampled)},
    {"embed_request", encode(embed)},
    {"pause_request", encode(pause_request{7})},
    {"admin_request", encode(admin_request{1, admin_command::drain})},
    {"welcome", encode(welcome{protocol_version, "troupe 0.1.0", "SmolLM2-135M-Instruct", 8192})},
    {"token_delta", encode(token_delta{.id = 7, .token_ids = {504, 3575}, .text = "The capital"})},
    {"step_deltas", encode(step)},
    {"request_end", encode(ended)},
    {"failed_request_end", encode(failed)},
    {"embedding_end", encode(embedded)},
    {"admin_reply", encode(admin_reply{.nonce = 1})},
  };
}

/// The names in the first column of the tables between two headings.
std::set<std::string> fields_between(std::string_view from, std::string_view to) {
  const std::string text = document();
  const auto begin = text.find(from);
  const auto end = text.find(to, begin);
  BOOST_REQUIRE(begin != std::string::npos);
  BOOST_REQUIRE(end != std::string::npos);
  const std::regex row(R"(\n\| `([a-z_]+)` \|)");
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin() + begin, text.begin() + end, row), last; it != last; ++it)
    names.insert((*it)[1]);
  return names;
}

/// Every name that the bytes of `message` have as a string: those of its fields, and of the fields in them.
bool has_name(const std::string& frame, const std::string& name) {
  return frame.find(static_cast<char>(0xa0 | name.size()) + name) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_examples_are_what_the_codec_writes_byte_for_byte) {
  auto examples = hex_examples();
  const auto encoded = encoded_examples();
  BOOST_TEST(examples.size() == encoded.size());
  for (const auto& [name, bytes] : encoded)
    BOOST_TEST(examples[name] == bytes, name);
}

BOOST_AUTO_TEST_CASE(the_examples_are_what_the_codec_reads) {
  for (const auto& [name, bytes] : hex_examples())
    BOOST_TEST((decode_client(bytes).has_value() || decode_server(bytes).has_value()), name);
}

BOOST_AUTO_TEST_CASE(every_field_of_a_request_is_documented_and_no_other) {
  generate_request request{.id = 1, .prompt = prompt_text{"x"}, .scheduling = {1, 1, 1, "x"}, .n = 2, .best_of = 2};
  request.echo = true;
  request.embed = pooling::last; // No server takes them all together.
  request.credit = 1;
  request.origin.traceparent = "x";
  request.sampling = {0.5f, 1,     1, 0.5f, 0.5f, 0.5f,  2.0f, 1.0f, 1.0f, {{1, 1.0f}},
                      {1},  {"x"}, 1, 1,    true, {"x"}, {1},  1,    1};
  const std::string frame = encode(request);
  auto documented = fields_between("### generate_request", "### cancel_request");
  for (const char* prompt : {"tokens", "messages", "chat"})
    BOOST_TEST(documented.erase(prompt) == 1u);
  for (const std::string& name : documented)
    BOOST_TEST(has_name(frame, name), name);
  // The map of the frame says how many fields it has; one is the type.
  BOOST_REQUIRE(frame[0] == '\xde');
  BOOST_TEST(documented.size() + 1 == static_cast<std::size_t>(frame[2]));
}

BOOST_AUTO_TEST_CASE(every_count_of_a_status_is_documented_and_no_other) {
  admin_reply reply{.nonce = 1};
  reply.status.emplace();
  const std::string frame = encode(reply);
  const auto documented = fields_between("| count | kind |", "| count of a tier |");
  for (const std::string& name : documented)
    BOOST_TEST(has_name(frame, name), name);
  const auto status = frame.find("status") + 6;
  BOOST_REQUIRE(frame[status] == '\xde');
  BOOST_TEST(documented.size() == static_cast<std::size_t>(frame[status + 2]));
}

BOOST_AUTO_TEST_CASE(every_count_of_a_tier_is_documented_and_no_other) {
  admin_reply reply{.nonce = 1};
  reply.status.emplace().tiers.resize(1);
  const std::string frame = encode(reply);
  const auto documented = fields_between("| count of a tier |", "```hex admin_reply");
  for (const std::string& name : documented)
    BOOST_TEST(has_name(frame, name), name);
  const auto tier = frame.find("tiers") + 6; // After the header of an array of one.
  BOOST_TEST(static_cast<unsigned char>(frame[tier]) == (0x80u | documented.size()));
}

BOOST_AUTO_TEST_CASE(the_limits_are_those_of_the_code) {
  const std::map<std::string, std::size_t> limits{
    {"max_frame_bytes", max_frame_bytes},     {"max_frame_nesting", max_frame_nesting},
    {"max_map_fields", max_map_fields},       {"max_frame_values", max_frame_values},
    {"max_step_bytes", max_step_bytes},       {"max_string_bytes", max_string_bytes},
    {"max_prompt_tokens", max_prompt_tokens}, {"max_chat_messages", max_chat_messages}, {"max_chat_variables", max_chat_variables},
    {"max_role_bytes", max_role_bytes},       {"max_stop_strings", max_stop_strings},
    {"max_stop_bytes", max_stop_bytes},       {"max_stop_tokens", max_stop_tokens},
    {"max_bad_words", max_bad_words},         {"max_bad_word_bytes", max_bad_word_bytes},
    {"max_logit_bias", max_logit_bias},       {"max_allowed_tokens", max_allowed_tokens},
    {"max_logprobs", max_logprobs},           {"max_choices", max_choices},
    {"max_priority", max_priority},           {"max_salt_bytes", max_salt_bytes},
    {"max_error_bytes", max_error_bytes},     {"max_requests_per_client", max_requests_per_client},
    {"max_queued_frames", max_queued_frames}, {"keepalive_ms", keepalive_ms},
    {"ping_interval_ms", ping_interval_ms},
  };
  const auto documented = rows(R"(\n\| `([a-z_]+)` \| ([0-9]+) \|)", 1, 2);
  BOOST_TEST((documented == limits));
}

BOOST_AUTO_TEST_CASE(the_error_codes_are_those_of_the_code) {
  std::map<std::string, std::size_t> codes;
  const auto last = static_cast<std::uint16_t>(errc::internal);
  for (std::uint16_t code = 1; code <= last; ++code)
    codes[std::string{to_string(static_cast<errc>(code))}] = code;
  const auto documented = rows(R"(\n\| ([0-9]+) \| `([a-z_]+)` \|)", 2, 1);
  BOOST_TEST((documented == codes));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
