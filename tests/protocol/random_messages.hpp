// Random messages that are valid, drawn from a seed.
#pragma once

#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "protocol/messages.hpp"

namespace troupe::test {

class random_messages {
public:
  explicit random_messages(std::uint32_t seed) : random_(seed) {}

  client_message from_client() {
    switch (below(5)) {
      case 0: return hello{static_cast<std::uint32_t>(integer())};
      case 1: return cancel_request{integer()};
      case 2: return credit_grant{integer(), 1 + below(1000)};
      case 3: return ping{integer()};
      default: return generate();
    }
  }

  server_message from_server() {
    switch (below(5)) {
      case 0: return welcome{static_cast<std::uint32_t>(integer()), text(), text(), below(100000)};
      case 1: return token_delta{integer(), below(100000), tokens(), text()};
      case 2: return pong{integer()};
      case 3: return protocol_error{failure()};
      default: return end();
    }
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

  generate_request generate() {
    generate_request request;
    request.id = integer();
    switch (below(3)) {
      case 0: request.prompt = text().append("x"); break;
      case 1: {
        auto ids = tokens();
        ids.push_back(0);
        request.prompt = ids;
        break;
      }
      default: {
        prompt_messages messages;
        for (std::uint32_t i = 1 + below(5); i > 0; --i)
          messages.push_back({below(2) ? "user" : "assistant", text()});
        request.prompt = messages;
      }
    }
    request.sampling.temperature = static_cast<float>(below(100000)) / 1000.0f;
    request.sampling.seed = integer();
    request.sampling.max_tokens = 1 + below(100000);
    request.sampling.ignore_eos = below(2) != 0;
    for (std::uint32_t i = below(4); i > 0; --i)
      request.sampling.stop.push_back(std::to_string(below(100000)).append("€"));
    if (below(2))
      request.credit = below(1000);
    return request;
  }

  error failure() { return {static_cast<errc>(1 + below(14)), text()}; }

  request_end end() {
    request_end result;
    result.id = integer();
    result.reason = static_cast<finish_reason>(below(4));
    result.usage = {below(100000), below(100000)};
    result.timings = {below(1000) / 8.0, below(100000) / 3.0};
    if (result.reason == finish_reason::error)
      result.failure = failure();
    return result;
  }

  std::mt19937_64 random_;
};

} // namespace troupe::test
