// The figures of a serving benchmark, each as vLLM's client defines it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/troupe/bench/answer_stream.hpp"

namespace troupe::cli {

/// One of TTFT, TPOT, ITL and E2EL, in milliseconds.
struct latency_summary {
  double mean = 0, median = 0, deviation = 0;
  std::vector<double> percentiles; ///< One for each that was asked for.
};

/// What a request may take to count as good: of "ttft", "tpot" and "e2el" milliseconds.
using goodput_bounds = std::map<std::string, double>;

struct serving_metrics {
  std::uint32_t completed = 0, failed = 0;
  double duration_s = 0;
  std::uint64_t input_tokens = 0, output_tokens = 0; ///< Of those that were completed.
  double requests_per_s = 0, good_requests_per_s = 0;
  double output_tokens_per_s = 0, tokens_per_s = 0;
  double peak_output_tokens_per_s = 0;  ///< Of the best whole second since the first request.
  std::uint32_t peak_requests = 0;      ///< Most that were open in one such second.
  std::vector<double> tokens_by_second; ///< What the peaks are of.
  std::vector<double> requests_by_second;
  latency_summary ttft; ///< From sending a request to its first chunk.
  latency_summary tpot; ///< (E2EL - TTFT) / (tokens - 1), of answers with more than one token.
  latency_summary itl;  ///< Between two chunks of an answer, of all answers together.
  latency_summary e2el; ///< From sending a request to its last chunk.
};

/// (E2EL - TTFT) / (tokens - 1) in seconds; 0 of one token.
double tpot_of(const request_outcome& outcome);

serving_metrics measure_serving(const std::vector<request_outcome>& outcomes, double duration_s,
                                const std::vector<double>& percentiles, const goodput_bounds& bounds);

} // namespace troupe::cli
