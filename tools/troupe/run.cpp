// `troupe run`: one prompt, one answer.
#include <chrono>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "protocol/validate.hpp"
#include "tools/troupe/answer.hpp"
#include "tools/troupe/local_engine.hpp"

namespace troupe::cli {

namespace {

double per_second(std::size_t tokens, double ms) {
  return ms > 0 ? static_cast<double>(tokens) * 1000.0 / ms : 0;
}

/// One line: how long until the first token, and how fast the others came.
std::string summary_of(const request_end& end) {
  const auto tokens = end.usage.completion_tokens;
  const auto decode_ms = end.timings.total_ms - end.timings.first_token_ms;
  return fmt::format(
    "[{} prompt tokens, first token after {:.0f} ms ({:.0f} tokens/s); {} tokens, {:.1f} tokens/s; {}]",
    end.usage.prompt_tokens, end.timings.first_token_ms,
    per_second(end.usage.prompt_tokens, end.timings.first_token_ms), tokens,
    per_second(tokens > 1 ? tokens - 1 : 0, decode_ms), to_string(end.reason));
}

struct outcome {
  cli::answer answer;
  bool output_failed = false;
};

/// Runs request 1 to its end; prints its text as it comes if asked to.
expected<outcome> collect(local_engine& engine, bool print) {
  outcome result;
  auto received = engine.receive(
    [&](server_message& message) {
      if (auto* end = std::get_if<request_end>(&message)) {
        result.answer.end = std::move(*end);
        return false;
      }
      if (auto* delta = std::get_if<token_delta>(&message)) {
        result.answer.take(*delta); // Leaves its text.
        if (print && !result.output_failed && !write_stdout(delta->text)) {
          result.output_failed = true; // The reader has gone: no use in going on.
          engine.cancel(1);
        }
      }
      return true;
    },
    [&] {
      engine.cancel(1);
      return true;
    });
  if (!received)
    return tl::unexpected(received.error());
  return result;
}

std::string json_of(const generate_request& request, const prompt_tokens& prompt_ids, const answer& a,
                    const worker_info& device) {
  nlohmann::ordered_json object;
  object["prompt_ids"] = prompt_ids;
  describe(object, request, a, true);
  object["device"] = device.device;
  object["backend"] = device.backend;
  object["timings"] = {{"first_token_ms", a.end.timings.first_token_ms}, {"total_ms", a.end.timings.total_ms}};
  return object.dump() + "\n";
}

/// Several answers, which cannot be shown while they come.
std::string text_of(const answer& a, std::uint32_t n) {
  std::string text;
  for (std::uint32_t i = 0; i < n; ++i) {
    const auto& choice = a.at(i).text;
    text += fmt::format("[{}]\n{}{}", i, choice, choice.ends_with('\n') ? "" : "\n");
  }
  return text;
}

} // namespace

int run(const run_flags& flags) {
  std::string text;
  if (flags.text) {
    text = *flags.text;
  } else if (auto input = read_stdin()) {
    text = std::move(*input);
  } else {
    return report(input.error());
  }
  const auto& asked = flags.prompt.request;
  if (!flags.json && (asked.sampling.logprobs >= 0 || asked.sampling.prompt_logprobs >= 0)) {
    report({errc::invalid_argument, "--logprobs and --prompt-logprobs go with --json, which has a place for them."});
    return exit_usage;
  }
  if (text.empty())
    return report({errc::invalid_argument, "The prompt is empty: give one as an argument, or on stdin."});
  auto started = local_engine::start(flags.engine);
  if (!started)
    return report(started.error());
  auto& engine = **started;
  generate_request request = asked;
  request.id = 1;
  request.prompt = make_prompt(flags.prompt, std::move(text));
  prompt_tokens prompt_ids;
  if (auto valid = validate(request); !valid) // Here, because with --json the stream gets no text to check.
    return report(valid.error());
  if (flags.json) { // The ids are part of the answer, so they are made here and sent instead of the text.
    auto encoded = engine.encode(request.prompt);
    if (!encoded)
      return report(encoded.error());
    prompt_ids = std::move(*encoded);
    request.prompt = prompt_ids;
  }
  engine.submit(std::move(request));
  auto result = collect(engine, !flags.json && asked.n == 1);
  if (!result)
    return report(result.error());
  if (result->output_failed)
    return report({errc::io, "Cannot write to stdout: it is closed or full."});
  const auto& answer = result->answer;
  if (answer.end.reason == finish_reason::error)
    return report(answer.end.failure);
  std::string rest;
  if (flags.json) {
    auto device = engine.info();
    if (!device)
      return report(device.error());
    rest = json_of(asked, prompt_ids, answer, *device);
  } else if (asked.n > 1) {
    rest = text_of(answer, asked.n);
  } else if (!answer.at(0).text.ends_with('\n')) {
    rest += '\n';
  }
  if (!write_stdout(rest))
    return report({errc::io, "Cannot write to stdout: it is closed or full."});
  std::cerr << summary_of(answer.end) << std::endl;
  return answer.end.reason == finish_reason::cancelled ? 130 : 0;
}

} // namespace troupe::cli
