#include "tools/troupe/bench/serving_metrics.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>

#include "tools/troupe/bench/arrivals.hpp"
#include "tools/troupe/bench/statistics.hpp"

using namespace troupe::cli;

BOOST_AUTO_TEST_SUITE(serving_metrics_suite)

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

request_outcome outcome(double start, double ttft, std::vector<double> itl, std::uint32_t tokens) {
  request_outcome out;
  out.start = start;
  out.ttft = out.latency = ttft;
  for (double gap : itl)
    out.latency += gap;
  out.itl = std::move(itl);
  out.prompt_tokens = 10;
  out.output_tokens = tokens;
  return out;
}

request_outcome failure() {
  auto out = outcome(0, 50, {50}, 1000);
  out.error = "It failed.";
  return out;
}

} // namespace

// The figures of numpy 1.26 for the same values: mean, std, percentile.
BOOST_AUTO_TEST_CASE(statistics_are_those_of_numpy) {
  const std::vector<double> values{7, 1, 4, 10};
  BOOST_TEST(mean_of(values) == 5.5);
  BOOST_TEST(deviation_of(values) == 3.3541019662496847, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(percentile_of(values, 0) == 1);
  BOOST_TEST(percentile_of(values, 25) == 3.25);
  BOOST_TEST(median_of(values) == 5.5);
  BOOST_TEST(percentile_of(values, 99) == 9.91, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(percentile_of(values, 100) == 10);
  BOOST_TEST(percentile_of({3}, 99) == 3);
  BOOST_TEST(mean_of({}) + deviation_of({}) + percentile_of({}, 50) == 0);
  BOOST_TEST(percent_name(99) == "99");
  BOOST_TEST(percent_name(99.9) == "99.9");
}

BOOST_AUTO_TEST_CASE(each_figure_is_as_vllm_defines_it_and_failures_count_for_none) {
  // The third chunk of the first has two tokens, of which its client knows only from the total.
  const auto m = measure_serving({outcome(0, 1, {0.5, 0.5}, 4), failure(), outcome(1, 2, {}, 1)}, 4, {50, 99}, {});
  BOOST_TEST(m.completed == 2u);
  BOOST_TEST(m.failed == 1u);
  BOOST_TEST(m.input_tokens == 20u);
  BOOST_TEST(m.output_tokens == 5u);
  BOOST_TEST(m.requests_per_s == 0.5);
  BOOST_TEST(m.output_tokens_per_s == 1.25);
  BOOST_TEST(m.tokens_per_s == 6.25);
  BOOST_TEST(m.ttft.mean == 1500);
  BOOST_TEST(m.ttft.median == 1500);
  BOOST_TEST(m.ttft.percentiles[1] == 1990);
  BOOST_TEST(m.tpot.mean == 1000.0 / 3,
             boost::test_tools::tolerance(1e-12)); // (2 - 1) / (4 - 1), of the one with several.
  BOOST_TEST(m.itl.mean == 500);
  BOOST_TEST(m.itl.deviation == 0);
  BOOST_TEST(m.e2el.mean == 2000);
}

BOOST_AUTO_TEST_CASE(peaks_are_of_whole_seconds_since_the_first_request) {
  const auto m = measure_serving({outcome(10, 0.5, {0.25, 1}, 3), outcome(11, 0.5, {}, 1)}, 3, {}, {});
  BOOST_TEST(m.tokens_by_second == (std::vector<double>{2, 2, 0}), boost::test_tools::per_element());
  BOOST_TEST(m.requests_by_second == (std::vector<double>{1, 2, 0}), boost::test_tools::per_element());
  BOOST_TEST(m.peak_output_tokens_per_s == 2);
  BOOST_TEST(m.peak_requests == 2u);
  auto counted = outcome(10, 0.5, {0.25, 1}, 9);
  counted.chunk_tokens = {1, 6, 2};
  BOOST_TEST(measure_serving({counted}, 3, {}, {}).peak_output_tokens_per_s == 7);
}

BOOST_AUTO_TEST_CASE(good_are_those_that_keep_every_bound) {
  const std::vector<request_outcome> outcomes{outcome(0, 1, {0.5, 0.5}, 3), outcome(0, 2, {0.1}, 2),
                                              outcome(0, 2, {}, 1)};
  const auto good = [&](const goodput_bounds& bounds) {
    return measure_serving(outcomes, 1, {}, bounds).good_requests_per_s;
  };
  BOOST_TEST(good({{"ttft", 1000}}) == 1);
  BOOST_TEST(good({{"tpot", 200}}) == 2);
  BOOST_TEST(good({{"e2el", 2000}}) == 2);
  BOOST_TEST(good({{"ttft", 2000}, {"tpot", 500}, {"e2el", 2100}}) == 3);
  BOOST_TEST(good({{"ttft", 1500}, {"tpot", 200}}) == 0);
}

BOOST_AUTO_TEST_CASE(without_a_success_all_figures_are_0) {
  const auto m = measure_serving({failure()}, 1, {99}, {{"ttft", 1}});
  BOOST_TEST(m.failed == 1u);
  BOOST_TEST(
    m.tokens_per_s + m.peak_output_tokens_per_s + m.ttft.mean + m.itl.percentiles[0] + m.good_requests_per_s == 0);
}

BOOST_AUTO_TEST_CASE(arrivals_come_at_their_rate_and_as_unevenly_as_they_should) {
  for (const double burstiness : {0.2, 1.0, 5.0, infinite}) {
    const auto times = arrival_times(4000, 20, burstiness, 3);
    BOOST_TEST(times.back() == 200, boost::test_tools::tolerance(1e-9));
    std::vector<double> gaps;
    for (std::size_t i = 1; i < times.size(); ++i)
      gaps.push_back(times[i] - times[i - 1]);
    // Of a gamma distribution the variance is the mean squared, divided by the shape.
    const double ratio = deviation_of(gaps) / mean_of(gaps);
    BOOST_TEST(ratio * ratio == 1 / burstiness, boost::test_tools::tolerance(0.15));
  }
  BOOST_TEST(arrival_times(3, infinite, 1, 0) == std::vector<double>(3, 0), boost::test_tools::per_element());
  BOOST_TEST((arrival_times(9, 2, 1, 5) == arrival_times(9, 2, 1, 5)));
  BOOST_TEST((arrival_times(9, 2, 1, 5) != arrival_times(9, 2, 1, 6)));
}

BOOST_AUTO_TEST_SUITE_END()
