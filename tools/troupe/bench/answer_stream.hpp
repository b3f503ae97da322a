// What is asked of a server over OpenAI's API, and what its stream of chunks says of the time that the answer took.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/error.hpp"
#include "tools/troupe/bench/datasets.hpp"
#include "tools/troupe/bench/sse_reader.hpp"

namespace troupe::cli {

enum class api : std::uint8_t { completions, chat };

/// Errors: unsupported, where the path ends with neither "/completions" nor "/chat/completions".
expected<api> api_of(const std::string& path);

struct body_settings {
  api kind = api::completions;
  std::string model;
  bool ignore_eos = false;
  bool continuous_usage = false;     ///< stream_options.continuous_usage_stats
  std::optional<double> temperature; ///< Otherwise the server's own.
};

/// What was said before: each time a user and the answer.
using history = std::vector<std::pair<std::string, std::string>>;

/// The JSON of a request for a stream; bytes that are no UTF-8 become U+FFFD.
std::string request_body(const body_settings& settings, const history& before, const turn& now);

/// What came of one request. Times in seconds.
struct request_outcome {
  std::string error; ///< Empty where it succeeded.
  double start = 0;  ///< Since the benchmark began: when it was sent.
  double queued = 0; ///< Before that, for others of ours, since there is a limit.
  double ttft = 0;
  double latency = 0;                      ///< From `start` to the last chunk with a choice.
  std::vector<double> itl;                 ///< Between each two chunks with a choice.
  std::vector<std::uint32_t> chunk_tokens; ///< Of each chunk; empty where the server did not say with each.
  std::uint32_t prompt_tokens = 0, output_tokens = 0;
  std::string text;
};

/// Reads one answer. A chunk with a choice counts as a token, whatever is in it, as in vLLM's client: of a chat the one
/// that brings the role is the first.
class answer_stream {
public:
  explicit answer_stream(api kind) : kind_(kind) {}

  /// Bytes that came `seconds` after the request was sent.
  void feed(std::string_view bytes, double seconds);
  /// The body has ended: what it was. `output_tokens` is 0 where the server did not say.
  request_outcome end();

private:
  void take(const std::string& data, double seconds);

  const api kind_;
  sse_reader events_;
  request_outcome outcome_;
  double last_ = 0;
  bool has_token_ = false, finished_ = false;
};

/// The sentence of an error's body as OpenAI's API has it, or the body itself, cut.
std::string message_of(std::string_view body);

} // namespace troupe::cli
