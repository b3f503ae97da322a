// What the page is told: recent steps, quantiles, actors.
#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include "serve/observe/stage_view.hpp"

using namespace troupe;
using namespace troupe::serve;
using nlohmann::json;

BOOST_AUTO_TEST_SUITE(stage_of_the_page)

BOOST_AUTO_TEST_CASE(steps_are_told_once_to_who_says_which_he_has_and_old_ones_are_forgotten) {
  stage_view stage;
  step_record step;
  step.begun = std::chrono::steady_clock::now();
  for (std::uint64_t i = 1; i <= stage_view::most_steps + 10; ++i) {
    step.step = i;
    step.prefill_tokens = static_cast<std::uint32_t>(i);
    step.decode_tokens = 7;
    step.ended = step.begun + std::chrono::milliseconds(5);
    stage.ended(step);
  }
  const auto all = json::parse(stage.json({}, {}, 0));
  BOOST_TEST(all["steps"].size() == stage_view::most_steps);
  BOOST_TEST(all["steps"][0]["serial"] == 11);
  BOOST_TEST(all["steps"][0]["prefill_tokens"] == 11);
  BOOST_TEST(all["steps"][0]["duration_ms"].get<double>() == 5.0);
  const auto last = all["steps"].back()["serial"].get<std::uint64_t>();
  BOOST_TEST(json::parse(stage.json({}, {}, last))["steps"].empty());
  BOOST_TEST(json::parse(stage.json({}, {}, last - 3))["steps"].size() == 3u);
}

BOOST_AUTO_TEST_CASE(quantiles_are_of_the_last_latencies) {
  stage_view stage;
  BOOST_TEST(json::parse(stage.json({}, {}, 0))["ttft_ms"]["count"] == 0);
  for (int i = 1; i <= 100; ++i) {
    stage.first_token(i / 1000.0);
    stage.next_token((101 - i) / 1000.0);
  }
  const auto said = json::parse(stage.json({}, {}, 0));
  for (const auto* name : {"ttft_ms", "itl_ms"}) {
    BOOST_TEST(said[name]["count"] == 100);
    BOOST_TEST(said[name]["p50"].get<double>() == 50.0, boost::test_tools::tolerance(1e-9));
    BOOST_TEST(said[name]["p99"].get<double>() == 99.0, boost::test_tools::tolerance(1e-9));
  }
  for (std::size_t i = 0; i < stage_view::most_latencies; ++i)
    stage.first_token(1);
  BOOST_TEST(json::parse(stage.json({}, {}, 0))["ttft_ms"]["p50"].get<double>() == 1000.0);
}

BOOST_AUTO_TEST_CASE(counts_and_actors_are_passed_on) {
  stage_view stage;
  server_status status;
  status.running = 2;
  status.kv_blocks = 9;
  status.kv_owned = 4;
  const auto said = json::parse(stage.json(status, {{7, "scheduler", 3, false, 12, 1, 34.5}}, 0));
  BOOST_TEST(said["running"] == 2);
  BOOST_TEST(said["kv"]["total"] == 9);
  BOOST_TEST(said["kv"]["owned"] == 4);
  BOOST_TEST(said["actors"][0]["name"] == "scheduler");
  BOOST_TEST(said["actors"][0]["parent"] == 3);
  BOOST_TEST(said["actors"][0]["busy_us"].get<double>() == 34.5);
}

BOOST_AUTO_TEST_SUITE_END()
