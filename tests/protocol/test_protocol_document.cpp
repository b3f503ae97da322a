// docs/protocol.md must be true: its hex examples, limits and error codes are compared with the code.
#include <boost/test/unit_test.hpp>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"

namespace troupe::test {
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

} // namespace

BOOST_AUTO_TEST_SUITE(protocol_document)

BOOST_AUTO_TEST_CASE(the_examples_are_what_the_codec_reads) {
  auto examples = hex_examples();
  BOOST_TEST(examples.size() == 6u);
  generate_request generate{.id = 7, .prompt = prompt_messages{{"user", "What is the capital of France?"}}};
  generate.sampling = {.temperature = 0.5f, .seed = 300, .max_tokens = 64, .stop = {"\n\n"}};
  const auto request = decode_client(examples["generate_request"]);
  BOOST_REQUIRE_MESSAGE(request, (request ? "" : request.error().failure.message));
  BOOST_TEST((*request == client_message{generate}));
}

BOOST_AUTO_TEST_CASE(the_examples_are_what_the_codec_writes_byte_for_byte) {
  auto examples = hex_examples();
  BOOST_TEST(examples["hello"] == encode(hello{protocol_version}));
  BOOST_TEST(examples["welcome"] == encode(welcome{1, "troupe 0.1.0", "SmolLM2-135M-Instruct", 8192}));
  BOOST_TEST(examples["token_delta"] == encode(token_delta{7, 0, {504, 3575}, "The capital"}));
  BOOST_TEST(examples["request_end"] == encode(request_end{7, finish_reason::length, {37, 64}, {48.5, 752.25}}));
  const error failure{errc::unknown_field, "generate_request has no field 'top_p'."};
  BOOST_TEST(examples["failed_request_end"] == encode(request_end{7, finish_reason::error, {}, {}, failure}));
}

BOOST_AUTO_TEST_CASE(the_limits_are_those_of_the_code) {
  const std::map<std::string, std::size_t> limits{
    {"max_frame_bytes", max_frame_bytes},
    {"max_frame_nesting", max_frame_nesting},
    {"max_map_fields", max_map_fields},
    {"max_frame_values", max_frame_values},
    {"max_string_bytes", max_string_bytes},
    {"max_prompt_tokens", max_prompt_tokens},
    {"max_chat_messages", max_chat_messages},
    {"max_role_bytes", max_role_bytes},
    {"max_stop_strings", max_stop_strings},
    {"max_stop_bytes", max_stop_bytes},
    {"max_error_bytes", max_error_bytes},
    {"max_requests_per_client", max_requests_per_client},
    {"max_queued_frames", max_queued_frames},
    {"keepalive_ms", keepalive_ms},
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
