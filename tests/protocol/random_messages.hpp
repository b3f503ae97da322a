// Random messages that are valid, drawn from a seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "protocol/messages.hpp"
#include "protocol/utf8.hpp"

namespace troupe::test {

class random_messages {
public:
  explicit random_messages(std::uint32_t seed) : random_(seed) {}

  client_message from_client() {
    switch (below(9)) {
    case 0:
      return hello{static_cast<std::uint32_t>(integer())};
    case 1:
      return cancel_request{integer()};
    case 2:
      return credit_grant{integer(), 1 + below(1000)};
    case 3:
      return ping{integer()};
    case 4:
      return pause_request{integer()};
    case 5:
      return resume_request{integer()};
    case 6:
      return admin_request{integer(), static_cast<admin_command>(below(4))};
    default:
      return generate();
    }
  }

  server_message from_server() {
    switch (below(7)) {
    case 0:
      return welcome{static_cast<std::uint32_t>(integer()), text(), text(), below(100000)};
    case 1:
      return delta();
    case 2:
      return pong{integer()};
    case 3:
      return protocol_error{failure()};
    case 4:
      return step();
    case 5:
      return admin();
    default:
      return end();
    }
  }

  token_delta delta() {
    token_delta result{.id = integer(), .choice = below(3), .position = below(3) * below(50000)};
    result.token_ids = tokens();
    if (below(4))
      result.text = text();
    if (below(4) == 0)
      result.logprobs = logprobs(result.token_ids.size());
    if (below(8) == 0)
      result.prompt_logprobs = logprobs(1 + below(10));
    return result;
  }

  request_end end() {
    request_end result;
    result.id = integer();
    result.reason = static_cast<finish_reason>(below(4));
    result.usage = {below(100000), below(100000), below(100000)};
    result.timings = {below(1000) / 8.0, below(100000) / 3.0};
    if (result.reason == finish_reason::error)
      result.failure = failure();
    for (std::uint32_t i = below(3) ? 0 : below(5); i > 0; --i) {
      result.choices.push_back({below(128), static_cast<finish_reason>(below(4)), below(100000)});
      if (below(2))
        result.choices.back().mean_logprob = logprob();
    }
    return result;
  }

  step_deltas step() {
    step_deltas result;
    for (std::uint32_t i = below(6); i > 0; --i)
      result.deltas.push_back(delta());
    for (std::uint32_t i = below(4); i > 0; --i)
      result.ends.push_back(end());
    return result;
  }

  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }

  std::string bytes(std::size_t count) {
    std::string result(count, '\0');
    for (char& c : result)
      c = static_cast<char>(below(256));
    return result;
  }

private:
  /// Of any length in bits, so that every integer form of msgpack occurs.
  std::uint64_t integer() { return random_() >> below(64); }

  std::string text() {
    static constexpr const char* pieces[] = {"a", "Paris", " ", "\n", "\"", "é", "€", "𝄞", "\x01", "<|im_end|>"};
    std::string result;
    for (std::uint32_t i = below(40); i > 0; --i)
      result += pieces[below(std::size(pieces))];
    return result;
  }

  std::vector<token_id> tokens() {
    std::vector<token_id> result(below(20));
    for (token_id& token : result)
      token = static_cast<token_id>(integer() & 0x7fffffff);
    return result;
  }

  float logprob() { return -static_cast<float>(below(100000)) / 1000.0f; }

  /// A number with few bits, from 0 to 1.
  float share() { return static_cast<float>(below(257)) / 256.0f; }

  std::vector<token_logprob> logprobs(std::size_t count) {
    const std::uint32_t width = below(4);
    std::vector<token_logprob> result(count);
    for (token_logprob& each : result) {
      each = {token(), logprob(), below(100000), {}};
      for (std::uint32_t i = 0; i < width; ++i)
        each.top.push_back({token(), logprob()});
    }
    return result;
  }

  token_id token() { return static_cast<token_id>(integer() & 0x7fffffff); }

  prompt some_prompt() {
    switch (below(4)) {
    case 0:
      return text().append("x");
    case 2:
      return chat_prompt{text().append("{}")};
    case 1: {
      auto ids = tokens();
      ids.push_back(0);
      return ids;
    }
    default: {
      prompt_messages messages;
      for (std::uint32_t i = 1 + below(5); i > 0; --i)
        messages.push_back({below(2) ? "user" : "assistant", text()});
      return messages;
    }
    }
  }

  /// Each field has its default half of the time.
  sampling_parameters sampling() {
    sampling_parameters result;
    auto set = [&](auto& field, auto value) {
      if (below(2))
        field = value;
    };
    set(result.temperature, static_cast<float>(below(100000)) / 1000.0f);
    set(result.seed, integer());
    set(result.top_k, below(100000));
    set(result.top_p, (1 + share()) / 2);
    set(result.min_p, share());
    set(result.typical_p, (1 + share()) / 2);
    set(result.repetition_penalty, 0.5f + share());
    set(result.presence_penalty, 4 * share() - 2);
    set(result.frequency_penalty, 4 * share() - 2);
    for (std::uint32_t i = below(2) * below(5); i > 0; --i)
      result.logit_bias.push_back({static_cast<token_id>(i * (1 + below(1000)) * 8 + i), 200 * share() - 100});
    std::sort(result.logit_bias.begin(), result.logit_bias.end(),
              [](const auto& a, const auto& b) { return a.token < b.token; });
    result.logit_bias.erase(std::unique(result.logit_bias.begin(), result.logit_bias.end(),
                                        [](const auto& a, const auto& b) { return a.token == b.token; }),
                            result.logit_bias.end());
    set(result.allowed_tokens, tokens());
    for (std::uint32_t i = below(2) * below(4); i > 0; --i)
      result.bad_words.push_back(text().append("."));
    set(result.max_tokens, 1 + below(100000));
    set(result.min_tokens, below(std::min(result.max_tokens, 1000u)));
    set(result.ignore_eos, true);
    for (std::uint32_t i = below(2) * below(4); i > 0; --i)
      result.stop.push_back(std::to_string(below(100000)).append("€"));
    set(result.stop_tokens, tokens());
    set(result.logprobs, static_cast<std::int32_t>(below(21)));
    set(result.prompt_logprobs, static_cast<std::int32_t>(below(21)));
    return result;
  }

  generate_request generate() {
    generate_request request;
    request.id = integer();
    request.prompt = some_prompt();
    request.sampling = sampling();
    if (below(2))
      request.scheduling = {static_cast<std::int32_t>(below(2001)) - 1000, below(1000), below(1000),
                            text().substr(0, 4)};
    if (!is_valid_utf8(request.scheduling.cache_salt))
      request.scheduling.cache_salt.clear();
    request.n = 1 + below(2) * below(64);
    if (below(2))
      request.best_of = request.n + below(2) * below(64);
    request.echo = below(2) != 0;
    if (below(2) && request.best_of <= request.n)
      request.credit = below(1000);
    if (below(2))
      request.origin.traceparent =
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0" + std::to_string(below(2));
    return request;
  }

  error failure() { return {static_cast<errc>(1 + below(14)), text(), below(2) * below(100000)}; }

  admin_reply admin() {
    admin_reply reply{.nonce = integer()};
    if (below(3) == 0)
      reply.failure = failure();
    else if (below(2))
      reply.status = server_status{below(9),       below(9),       below(9),       below(9),       integer(),
                                   below(1 << 20), below(1 << 20), below(1 << 20), below(1 << 20), below(1 << 20),
                                   integer(),      integer(),      integer(),      integer(),      below(2) != 0,
                                   below(9),       integer(),      integer(),      integer(),      {}};
    if (reply.status)
      for (auto tiers = below(3); tiers > 0; --tiers)
        reply.status->tiers.push_back({text(), integer(), integer(), integer(), integer(), integer(), integer(),
                                       integer(), integer(), below(2) != 0});
    return reply;
  }

  std::mt19937_64 random_;
};

} // namespace troupe::test
