#include <boost/test/unit_test.hpp>

#include <limits>
#include <regex>

#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/bench/serving_report.hpp"

using namespace troupe::cli;

BOOST_AUTO_TEST_SUITE(bench_reports_suite)

namespace {

serving_result some_result() {
  serving_result result;
  result.machine = "A CPU";
  result.server = "http://127.0.0.1:8000";
  result.model = "tiny <model>";
  result.load.dataset.requests = 2;
  request_outcome one;
  one.ttft = 0.25;
  one.itl = {0.5, 0.25};
  one.latency = 1;
  one.prompt_tokens = 7;
  one.output_tokens = 3;
  request_outcome other;
  other.error = "No.";
  result.outcomes = {one, other};
  result.metrics = measure_serving(result.outcomes, 2, result.load.percentiles, {});
  return result;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_lines_are_those_of_vllm) {
  const auto text = serving_text(some_result());
  const std::string wanted = R"(============ Serving Benchmark Result ============
Successful requests:                     1         
Failed requests:                         1         
Benchmark duration (s):                  2.00      
Total input tokens:                      7         
Total generated tokens:                  3         
Request throughput (req/s):              0.50      
Output token throughput (tok/s):         1.50      
Peak output token throughput (tok/s):    2.00      
Peak concurrent requests:                1.00      
Total token throughput (tok/s):          5.00      
---------------Time to First Token----------------
Mean TTFT (ms):                          250.00    
Median TTFT (ms):                        250.00    
P99 TTFT (ms):                           250.00    
-----Time per Output Token (excl. 1st token)------
Mean TPOT (ms):                          375.00    
Median TPOT (ms):                        375.00    
P99 TPOT (ms):                           375.00    
---------------Inter-token Latency----------------
Mean ITL (ms):                           375.00    
Median ITL (ms):                         375.00    
P99 ITL (ms):                            497.50    
----------------End-to-end Latency----------------
Mean E2EL (ms):                          1000.00   
Median E2EL (ms):                        1000.00   
P99 E2EL (ms):                           1000.00   
==================================================
)";
  BOOST_TEST(text.substr(text.find("====")) == wanted);
  BOOST_TEST(text.starts_with("A CPU\n"));
}

BOOST_AUTO_TEST_CASE(what_was_set_is_told) {
  auto result = some_result();
  result.load.max_concurrency = 16;
  result.load.request_rate = 2.5;
  result.load.goodput = {{"ttft", 300}};
  result.load.metrics = {"ttft"};
  result.load.percentiles = {50, 99.9};
  result.metrics = measure_serving(result.outcomes, 2, result.load.percentiles, result.load.goodput);
  const auto text = serving_text(result);
  for (const char* line : {"Maximum request concurrency:             16        \n",
                           "Request rate configured (RPS):           2.50      \n",
                           "Request goodput (req/s):                 0.50      \n",
                           "P99.9 TTFT (ms):                         250.00    \n"})
    BOOST_TEST(text.find(line) != std::string::npos, line);
  BOOST_TEST(text.find("TPOT") == std::string::npos);
  const auto json = serving_json(result, true);
  BOOST_TEST(json["max_concurrency"] == 16);
  BOOST_TEST(json["p99.9_ttft_ms"] == 250);
  BOOST_TEST(json["request_goodput"] == 0.5);
  BOOST_TEST(json["errors"] == nlohmann::json({"", "No."}));
  BOOST_TEST(json["itls"][0] == nlohmann::json({0.5, 0.25}));
  BOOST_TEST(!serving_json(result, false).contains("itls"));
  BOOST_TEST(serving_json(some_result(), false)["request_rate"] == "inf");
}

BOOST_AUTO_TEST_CASE(a_page_needs_nothing_else_and_shows_what_it_is_given_as_text) {
  const auto page = serving_html(some_result());
  BOOST_TEST(page.starts_with("<!DOCTYPE html>"));
  BOOST_TEST(page.find("tiny &lt;model>") != std::string::npos);
  BOOST_TEST(page.find("<script") == std::string::npos);
  const std::regex outside("(src|href)=");
  BOOST_TEST(!std::regex_search(page, outside));
  std::size_t pictures = 0;
  for (auto at = page.find("<svg"); at != page.npos; at = page.find("<svg", at + 1))
    ++pictures;
  BOOST_TEST(pictures == 5u);
}

BOOST_AUTO_TEST_CASE(a_plot_has_its_points_within_its_axes_and_a_gap_where_there_is_none) {
  constexpr double nowhere = std::numeric_limits<double>::quiet_NaN();
  const auto svg =
    to_svg({"t", "x", "y", {{"a", {{0, 0, ""}, {7, 130, "top"}, {nowhere, 1, ""}, {3, 2, ""}}, true}}});
  BOOST_TEST(svg.find("d='M80.0 380.0L") != std::string::npos);
  BOOST_TEST(svg.find("nan") == std::string::npos);
  BOOST_TEST(svg.find(">top</text>") != std::string::npos);
  const std::regex circle("<circle cx='([0-9.]+)' cy='([0-9.]+)'");
  std::size_t dots = 0;
  for (std::sregex_iterator at(svg.begin(), svg.end(), circle), end; at != end; ++at, ++dots) {
    BOOST_TEST(std::stod((*at)[1]) >= 80);
    BOOST_TEST(std::stod((*at)[1]) <= 760);
    BOOST_TEST(std::stod((*at)[2]) >= 50);
    BOOST_TEST(std::stod((*at)[2]) <= 380);
  }
  BOOST_TEST(dots == 3u);
  BOOST_TEST(to_svg({"empty", "x", "y", {}}).find("nan") == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
