// What a scrape says after requests and steps.
#include <boost/test/unit_test.hpp>

#include "serve/observe/metrics.hpp"

using namespace troupe;
using namespace troupe::serve;

BOOST_AUTO_TEST_SUITE(metrics_page)

namespace {

/// The value of the line that begins with this; nothing where there is none.
std::string value_of(const std::string& text, const std::string& begin) {
  const auto at = text.find("\n" + begin + " ");
  if (at == std::string::npos)
    return "";
  const auto from = at + begin.size() + 2;
  return text.substr(from, text.find('\n', from) - from);
}

const std::string labels = R"({engine="0",model_name="tiny"})";

std::string labels_with(const std::string& more) {
  return R"({engine="0",)" + more + R"(model_name="tiny"})";
}

} // namespace

BOOST_AUTO_TEST_CASE(requests_are_counted_by_their_endings_with_their_times_and_lengths) {
  metrics all;
  all.describe({"tiny", 1000, 16});
  all.first_token(0.03);
  all.next_token(0.02);
  all.next_token(0.06);
  request_record record;
  record.usage = {7, 3, 0};
  record.max_tokens = 100;
  record.queue_s = 0.1;
  record.prefill_s = 0.2;
  record.decode_s = 0.4;
  record.total_s = 0.7;
  record.reason = finish_reason::length;
  all.ended(record);
  record.reason = finish_reason::cancelled;
  all.ended(record);
  record.queue_s = record.prefill_s = record.decode_s = {}; // It was cancelled while it waited.
  record.total_s = 0.01;
  all.ended(record);
  const auto text = all.text(nullptr);
  BOOST_TEST(value_of(text, "vllm:request_queue_time_seconds_count" + labels) == "2");
  BOOST_TEST(value_of(text, "vllm:request_decode_time_seconds_count" + labels) == "2");
  BOOST_TEST(value_of(text, "vllm:e2e_request_latency_seconds_count" + labels) == "3");
  BOOST_TEST(value_of(text, "vllm:time_to_first_token_seconds_count" + labels) == "1");
  BOOST_TEST(value_of(text, "vllm:inter_token_latency_seconds_count" + labels) == "2");
  BOOST_TEST(value_of(text, R"(vllm:inter_token_latency_seconds_bucket{engine="0",model_name="tiny",le="0.025"})") ==
             "1");
  BOOST_TEST(value_of(text, "vllm:generation_tokens_total" + labels) == "3");
  BOOST_TEST(value_of(text, "vllm:prompt_tokens_total" + labels) == "21");
  BOOST_TEST(value_of(text, "vllm:request_success_total" + labels_with(R"(finished_reason="length",)")) == "1");
  BOOST_TEST(value_of(text, "vllm:request_success_total" + labels_with(R"(finished_reason="abort",)")) == "2");
  BOOST_TEST(value_of(text, "vllm:request_success_total" + labels_with(R"(finished_reason="stop",)")) == "0");
  BOOST_TEST(value_of(text, R"(vllm:e2e_request_latency_seconds_bucket{engine="0",model_name="tiny",le="0.8"})") ==
             "3");
  BOOST_TEST(value_of(text, R"(vllm:request_prompt_tokens_bucket{engine="0",model_name="tiny",le="5"})") == "0");
  BOOST_TEST(value_of(text, R"(vllm:request_prompt_tokens_bucket{engine="0",model_name="tiny",le="10"})") == "3");
  BOOST_TEST(text.find(R"(le="2000")") == std::string::npos); // No prompt is longer than the context.
  BOOST_TEST(std::stod(value_of(text, "vllm:request_inference_time_seconds_sum" + labels)) == 1.2,
             boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(gauges_and_totals_are_those_of_the_status) {
  metrics all;
  all.describe({"tiny", 1000, 16});
  server_status status;
  status.running = 3;
  status.waiting = 5;
  status.kv_blocks = 100;
  status.kv_owned = 25; // What is leased or cached can be had.
  status.prefix_query_tokens = 90;
  status.prefix_hit_tokens = 32;
  const auto text = all.text(&status);
  BOOST_TEST(value_of(text, "vllm:num_requests_running" + labels) == "3");
  BOOST_TEST(value_of(text, "vllm:num_requests_waiting" + labels) == "5");
  BOOST_TEST(std::stod(value_of(text, "vllm:kv_cache_usage_perc" + labels)) == 0.25);
  BOOST_TEST(value_of(text, "vllm:prefix_cache_queries_total" + labels) == "90");
  BOOST_TEST(value_of(text, "vllm:prefix_cache_hits_total" + labels) == "32");
}

// A gateway sends requests to whom it takes for idle.
BOOST_AUTO_TEST_CASE(a_server_whose_engine_does_not_answer_does_not_look_idle) {
  metrics all;
  all.describe({"tiny", 1000, 16});
  server_status status;
  status.running = 3;
  status.kv_blocks = 100;
  status.engines = 1;
  BOOST_TEST(value_of(all.text(&status), "troupe:engines_up" + labels) == "1");
  const auto silent = all.text(nullptr);
  BOOST_TEST(value_of(silent, "vllm:num_requests_running" + labels) == "3");
  BOOST_TEST(value_of(silent, "troupe:engines_up" + labels) == "0");
  status.kv_blocks = 50; // One of two engines has gone.
  const auto text = all.text(&status);
  const std::string config = "\nvllm:cache_config_info{";
  BOOST_TEST(text.find(config) != std::string::npos);
  BOOST_TEST(text.find(config) == text.rfind(config));
}

BOOST_AUTO_TEST_CASE(totals_go_on_when_an_engine_begins_anew) {
  metrics all;
  all.describe({"tiny", 1000, 16});
  server_status status;
  status.steps = 100;
  all.text(&status);
  status.steps = 7;
  BOOST_TEST(value_of(all.text(&status), "troupe:steps_total" + labels) == "107");
  status.steps = 9;
  BOOST_TEST(value_of(all.text(&status), "troupe:steps_total" + labels) == "109");
}

BOOST_AUTO_TEST_CASE(what_actors_have_done_only_grows_though_they_come_and_go) {
  metrics all;
  all.describe({"tiny", 1000, 16});
  const server_status status;
  const auto messages = [](const std::string& text, const std::string& actor) {
    return value_of(text, R"(troupe:actor_messages_total{actor=")" + actor + R"(",engine="0",model_name="tiny"})");
  };
  std::vector<actor_row> rows{{.id = 1, .name = "scheduler", .messages = 5, .mailbox = 2, .busy_us = 1e6},
                              {.id = 2, .name = "stream", .messages = 3, .mailbox = 1},
                              {.id = 3, .name = "stream", .messages = 4, .mailbox = 6},
                              {.id = 4, .name = "worker 0", .threaded = true}};
  auto text = all.text(&status, rows);
  BOOST_TEST(messages(text, "scheduler") == "5");
  BOOST_TEST(messages(text, "stream") == "7");
  BOOST_TEST(messages(text, "worker 0") == "");
  BOOST_TEST(value_of(text, R"(troupe:actor_mailbox_messages{actor="stream",engine="0",model_name="tiny"})") == "7");
  BOOST_TEST(value_of(text, R"(troupe:actor_busy_seconds_total{actor="scheduler",engine="0",model_name="tiny"})") ==
             "1");
  rows = {{.id = 1, .name = "scheduler", .messages = 6}, {.id = 5, .name = "stream", .messages = 1}};
  text = all.text(&status, rows);
  BOOST_TEST(messages(text, "scheduler") == "6");
  BOOST_TEST(messages(text, "stream") == "8");
  all.text(nullptr); // The engine does not answer once.
  BOOST_TEST(messages(all.text(&status, rows), "stream") == "8");
}

BOOST_AUTO_TEST_CASE(steps_are_counted_by_their_tokens) {
  metrics all;
  step_record step;
  all.ended(step); // Before the model is known nothing is counted.
  BOOST_TEST(all.text(nullptr) == "");
  all.describe({"tiny", 1000, 16});
  step.prefill_tokens = 30;
  step.decode_tokens = 3;
  step.ended = step.begun + std::chrono::milliseconds(20);
  all.ended(step);
  const auto text = all.text(nullptr);
  BOOST_TEST(value_of(text, R"(vllm:iteration_tokens_total_bucket{engine="0",model_name="tiny",le="32"})") == "0");
  BOOST_TEST(value_of(text, R"(vllm:iteration_tokens_total_bucket{engine="0",model_name="tiny",le="64"})") == "1");
  BOOST_TEST(std::stod(value_of(text, "troupe:step_seconds_sum" + labels)) == 0.02,
             boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_SUITE_END()
