// Entries as lines, whatever is in them; and what is said of requests.
#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include "serve/observe/log_text.hpp"
#include "serve/observe/request_log.hpp"

using namespace troupe;
using namespace troupe::serve;
using nlohmann::json;

BOOST_AUTO_TEST_SUITE(log_lines)

namespace {

json object_of(const log_entry& entry) {
  return json::parse("{" + json_members_of(entry) + "}");
}

struct listener {
  std::vector<log_entry> entries;
  logger at(log_level least) {
    return {[this](const log_entry& entry) { entries.push_back(entry); }, least};
  }
};

request_record ended_request() {
  request_record request;
  request.origin.name = "mine";
  request.usage = {10, 20, 4};
  request.queue_s = 0.0015;
  request.prefill_s = 0.002;
  request.total_s = 1.25;
  return request;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_line_has_the_message_and_the_fields) {
  const log_entry entry{
    log_level::info,
    "request_ended",
    "request ended",
    {{"request", "zmq-1-7"}, {"tokens", std::uint64_t{18446744073709551615u}}, {"total_ms", 1.25}}};
  BOOST_TEST(text_of(entry) == "request ended request=zmq-1-7 tokens=18446744073709551615 total_ms=1.2");
  BOOST_TEST(object_of(entry) ==
             json::parse(R"({"event": "request_ended", "message": "request ended", "request": "zmq-1-7",
                             "tokens": 18446744073709551615, "total_ms": 1.25})"));
}

BOOST_AUTO_TEST_CASE(nothing_that_comes_from_elsewhere_ends_a_line_or_looks_like_another_field) {
  const std::string evil = "a b\n2026-01-01T00:00:00.000Z info: you are root\r\x1b[2J\x7f\"=\\ \xc2\x9b \xe2\x80\xa8 "
                           "\xe2\x80\xae \xe2\x81\xa6 \xff\xfe é 猫";
  const log_entry entry{log_level::info, "event", evil, {{"name", evil}, {"empty", ""}}};
  const auto line = text_of(entry);
  for (const unsigned char c : line)
    BOOST_TEST((c >= 0x20 && c != 0x7f));
  for (const auto* control : {"\xc2\x9b", "\xe2\x80\xa8", "\xe2\x80\xae", "\xe2\x81\xa6"})
    BOOST_TEST(line.find(control) == std::string::npos);
  BOOST_TEST(line.starts_with("a b\\n2026-"));
  BOOST_TEST(line.find("\\x1b[2J\\x7f") != std::string::npos);
  BOOST_TEST(line.find(" name=\"a b\\n2026") != std::string::npos);
  BOOST_TEST(line.find("\\\"=\\\\ ") != std::string::npos);
  BOOST_TEST(line.find("é 猫\" empty=\"\"") != std::string::npos);
  const auto members = json_members_of(entry);
  for (const unsigned char c : members)
    BOOST_TEST((c >= 0x20 && c < 0x7f));
  BOOST_TEST(object_of(entry)["name"].get<std::string>().starts_with("a b\n2026"));
}

BOOST_AUTO_TEST_CASE(a_request_that_has_ended_is_one_line_with_tokens_and_times) {
  listener heard;
  request_log log(heard.at(log_level::info), true);
  log.taken({.id = 1, .prompt = prompt_text("secret")}, 1); // Below the level.
  log.ended(ended_request());
  BOOST_REQUIRE(heard.entries.size() == 1u);
  BOOST_TEST(text_of(heard.entries[0]) ==
             "request ended request=mine reason=stop prompt_tokens=10 cached_prompt_tokens=4 completion_tokens=20 "
             "queue_ms=1.5 prefill_ms=2.0 total_ms=1250.0");
  auto refused = ended_request();
  refused.reason = finish_reason::error;
  refused.failure = errc::queue_full;
  log.refused(refused);
  BOOST_TEST(object_of(heard.entries[1])["event"] == "request_refused");
  BOOST_TEST(object_of(heard.entries[1])["error"] == "queue_full");
}

BOOST_AUTO_TEST_CASE(a_prompt_is_said_only_where_that_is_wanted_and_not_all_of_a_long_one) {
  const std::string secret(request_log::most_prompt_bytes, 's');
  for (const auto& prompt : {prompt(prompt_text(secret + "the end")), prompt(prompt_messages{{"user", secret}}),
                             prompt(chat_prompt{secret + "the end"})}) {
    const generate_request request{.id = 1, .prompt = prompt};
    listener quiet, telling;
    request_log(quiet.at(log_level::debug), false).taken(request, 1);
    request_log(telling.at(log_level::debug), true).taken(request, 1);
    BOOST_REQUIRE(quiet.entries.size() == 1u);
    BOOST_TEST(text_of(quiet.entries[0]).find("sss") == std::string::npos);
    const auto shown = object_of(telling.entries.at(0))["prompt"].get<std::string>();
    BOOST_TEST(shown.find("sss") != std::string::npos);
    BOOST_TEST(shown.size() <= request_log::most_prompt_bytes);
    BOOST_TEST(shown.find("the end") == std::string::npos);
  }
  listener telling;
  request_log(telling.at(log_level::debug), true).taken({.id = 1, .prompt = prompt_tokens{5, 6, 7}}, 1);
  BOOST_TEST(object_of(telling.entries.at(0))["prompt"] == "5 6 7");
}

BOOST_AUTO_TEST_CASE(a_logger_is_not_asked_for_what_is_below_its_level) {
  listener heard;
  const auto log = heard.at(log_level::warning);
  for (const auto level : {log_level::debug, log_level::info, log_level::warning, log_level::error})
    say(log, level, "event", std::string(to_string(level)));
  BOOST_REQUIRE(heard.entries.size() == 2u);
  BOOST_TEST(heard.entries[0].message == "warning");
  BOOST_TEST(heard.entries[1].message == "error");
}

BOOST_AUTO_TEST_SUITE_END()
