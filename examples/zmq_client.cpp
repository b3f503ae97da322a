// A client of `troupe serve` in C++: cppzmq for the socket, protocol/codec for the messages. One request, streamed
// to stdout. examples/zmq_client.py does more (many requests at once, flow control); the protocol is in
// docs/protocol.md.
//
//   zmq_client "What is the capital of France?"
//   zmq_client --raw --max-tokens 20 "The capital of France is"
//   zmq_client --cancel-after 5 "Tell me a long story."
//   zmq_client --n 3 --temperature 1 "Name a city."          Three answers, shown when all have ended.
//   zmq_client --logprobs 2 --top-p 0.9 "Yes or no?"
//   zmq_client --pause-after 5 "Tell me a long story."       Stands still for a second.
//   zmq_client --key me.key --server-key server.pub "Hello."  Encrypted; `troupe keygen me` makes a key.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>
#include <zmq.hpp>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/validate.hpp"

namespace {

using clock_type = std::chrono::steady_clock;

struct options {
  std::string endpoint = "tcp://127.0.0.1:5555";
  std::string prompt;
  bool raw = false;
  std::uint32_t cancel_after = 0; ///< Tokens; 0: never.
  std::uint32_t pause_after = 0;  ///< The same.
  std::uint32_t timeout_ms = 10000;
  std::string key, server_key; ///< Files with our secret key and the server's public one; empty: no CURVE.
  troupe::generate_request request{.id = 1}; ///< But for its prompt.
};

/// The first word of the file: what follows is a note.
std::string key_in(const std::string& file) {
  std::string key;
  std::ifstream(file) >> key;
  return key;
}

/// One connection: it sends and receives whole messages, and pings while it waits.
class connection {
public:
  explicit connection(const options& given) : timeout_(given.timeout_ms) {
    socket_.set(zmq::sockopt::linger, 1000);
    if (!given.key.empty()) {
      const auto secret = key_in(given.key);
      char ours[41] = "";
      zmq_curve_public(ours, secret.c_str());
      socket_.set(zmq::sockopt::curve_secretkey, secret);
      socket_.set(zmq::sockopt::curve_publickey, ours);
      socket_.set(zmq::sockopt::curve_serverkey, key_in(given.server_key));
    }
    socket_.connect(given.endpoint);
  }

  void send(const troupe::client_message& message) {
    // What cannot be sent (the server has turned us away, or takes nothing) is not answered either.
    socket_.send(zmq::buffer(troupe::encode(message)), zmq::send_flags::dontwait);
    last_sent_ = clock_type::now();
  }

  /// The next message, or why there is none.
  troupe::expected<troupe::server_message> receive() {
    const auto waiting_since = clock_type::now();
    // The welcome comes at once. Later the server may have nothing to say but pongs.
    const auto patience = heard_ ? timeout_ + ping_interval : timeout_;
    while (true) {
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      auto wait = std::min(timeout_, ping_interval);
      if (on_time_)
        wait = std::clamp(std::chrono::ceil<std::chrono::milliseconds>(due_ - clock_type::now()), zero, wait);
      zmq::poll(&item, 1, wait);
      keep_alive();
      if (on_time_ && clock_type::now() >= due_)
        std::exchange(on_time_, nullptr)();
      zmq::message_t frame;
      if (socket_.recv(frame, zmq::recv_flags::dontwait)) {
        heard_ = true;
        return troupe::decode_server(frame.to_string_view());
      }
      if (clock_type::now() - waiting_since >= patience)
        return troupe::fail(troupe::errc::unavailable, "The server does not answer. Is `troupe serve` running?");
    }
  }

  /// Calls this once, while it waits for messages.
  void later(std::chrono::milliseconds delay, std::function<void()> what) {
    due_ = clock_type::now() + delay;
    on_time_ = std::move(what);
  }

private:
  static constexpr std::chrono::milliseconds zero{0};
  static constexpr std::chrono::milliseconds ping_interval{troupe::ping_interval_ms};

  /// A server that is there answers, whatever else it has to say; one that has lost us asks for a hello.
  void keep_alive() {
    if (clock_type::now() - last_sent_ >= ping_interval)
      send(troupe::ping{++pings_});
  }

  std::chrono::milliseconds timeout_;
  zmq::context_t context_;
  zmq::socket_t socket_{context_, zmq::socket_type::dealer};
  clock_type::time_point last_sent_ = clock_type::now();
  clock_type::time_point due_;
  std::function<void()> on_time_;
  std::uint64_t pings_ = 0;
  bool heard_ = false;
};

/// What each message means for the one request that we have. True once it has ended well, false if it has not;
/// nothing while it goes on.
class answer_printer {
public:
  answer_printer(connection& server, const options& given) : server_(server), options_(given) {}

  std::optional<bool> operator()(const troupe::welcome& message) {
    std::cerr << message.server << ", " << message.model << ", context " << message.context_length << '\n';
    return {};
  }

  /// A step's frame is what its parts are.
  std::optional<bool> operator()(const troupe::step_deltas& message) {
    for (const auto& delta : message.deltas)
      (*this)(delta);
    for (const auto& end : message.ends)
      return (*this)(end);
    return {};
  }

  std::optional<bool> operator()(const troupe::token_delta& message) {
    if (options_.request.n == 1)
      std::cout << message.text << std::flush;
    else
      texts_[message.choice] += message.text;
    for (const auto& each : message.logprobs)
      logprobs_ += line_of(message.choice, each);
    tokens_ += message.token_ids.size();
    if (options_.cancel_after != 0 && tokens_ >= options_.cancel_after && !cancelled_) {
      cancelled_ = true;
      server_.send(troupe::cancel_request{message.id});
    }
    if (options_.pause_after != 0 && tokens_ >= options_.pause_after && !paused_) {
      paused_ = true;
      server_.send(troupe::pause_request{message.id});
      server_.later(std::chrono::seconds(1), [this, id = message.id] { server_.send(troupe::resume_request{id}); });
    }
    return {};
  }

  std::optional<bool> operator()(const troupe::request_end& message) {
    for (const auto& [choice, text] : texts_)
      std::cout << '[' << choice << "] " << text << '\n';
    if (options_.request.n == 1)
      std::cout << '\n';
    std::cout << std::flush;
    std::cerr << logprobs_;
    if (message.reason == troupe::finish_reason::error) {
      std::cerr << "zmq_client: " << to_string(message.failure.code) << ": " << message.failure.message << '\n';
      if (message.failure.retry_after_ms != 0)
        std::cerr << "zmq_client: try again in " << message.failure.retry_after_ms << " ms\n";
      return false;
    }
    std::cerr << to_string(message.reason) << ": " << message.usage.prompt_tokens << " + "
              << message.usage.completion_tokens << " tokens, first after " << message.timings.first_token_ms
              << " ms, all in " << message.timings.total_ms << " ms\n";
    return true;
  }

  std::optional<bool> operator()(const troupe::admin_reply&) { return {}; }

  std::optional<bool> operator()(const troupe::pong&) { return {}; }

  std::optional<bool> operator()(const troupe::protocol_error& message) {
    std::cerr << "zmq_client: " << to_string(message.failure.code) << ": " << message.failure.message << '\n';
    return false;
  }

private:
  static std::string line_of(std::uint32_t choice, const troupe::token_logprob& each) {
    std::ostringstream line;
    line << "answer " << choice << ": token " << each.token << ": " << each.logprob << ", rank " << each.rank;
    for (const auto& other : each.top)
      line << (&other == &each.top.front() ? ", likeliest " : ", ") << other.token << ' ' << other.logprob;
    line << '\n';
    return line.str();
  }

  connection& server_;
  const options& options_;
  std::map<std::uint32_t, std::string> texts_; ///< Of several answers, by their choice.
  std::string logprobs_;
  std::size_t tokens_ = 0;
  bool cancelled_ = false;
  bool paused_ = false;
};

troupe::generate_request request_of(const options& given) {
  troupe::generate_request request = given.request;
  if (given.raw)
    request.prompt = given.prompt;
  else
    request.prompt = troupe::prompt_messages{{"user", given.prompt}};
  return request;
}

int run(const options& given) {
  const auto request = request_of(given);
  // The server checks the same, with the same sentence; here it costs no round trip.
  if (auto valid = troupe::validate(request); !valid) {
    std::cerr << "zmq_client: " << valid.error().message << '\n';
    return 1;
  }
  connection server(given);
  server.send(troupe::hello{troupe::protocol_version});
  server.send(request);
  answer_printer print(server, given);
  while (true) {
    const auto message = server.receive();
    if (!message) {
      std::cerr << "zmq_client: " << message.error().message << '\n';
      return 1;
    }
    if (const auto ended = std::visit(print, *message))
      return *ended ? 0 : 1;
  }
}

} // namespace

int main(int argc, char** argv) {
  options given;
  CLI::App app{"Asks `troupe serve` over ZeroMQ and prints the answer as it comes."};
  app.add_option("prompt", given.prompt, "What to ask")->required();
  app.add_option("--endpoint", given.endpoint, "Where the server is")->capture_default_str();
  auto* key = app.add_option("--key", given.key, "A file with our secret key, where the server wants one");
  auto* server_key = app.add_option("--server-key", given.server_key, "A file with its public key");
  key->needs(server_key);
  server_key->needs(key);
  app.add_flag("--raw", given.raw, "The prompt as it stands, without the chat template");
  app.add_option("--temperature", given.request.sampling.temperature, "0 is greedy")->capture_default_str();
  app.add_option("--seed", given.request.sampling.seed, "Of the noise")->capture_default_str();
  app.add_option("--max-tokens", given.request.sampling.max_tokens, "At most so many")->capture_default_str();
  app.add_option("--stop", given.request.sampling.stop, "End before this string; may be given several times");
  app.add_flag("--ignore-eos", given.request.sampling.ignore_eos, "Go on after an end-of-sequence token");
  app.add_option("--top-k", given.request.sampling.top_k, "Only the so many likeliest tokens; 0: all")
    ->capture_default_str();
  app.add_option("--top-p", given.request.sampling.top_p, "Only the likeliest that together have this probability")
    ->capture_default_str();
  app.add_option("--n", given.request.n, "So many answers")->capture_default_str();
  app.add_option("--logprobs", given.request.sampling.logprobs,
                 "Show each token's logprob and so many of the likeliest");
  app.add_option("--pause-after", given.pause_after, "Pause for a second after so many tokens");
  app.add_option("--cancel-after", given.cancel_after, "Cancel after so many tokens");
  app.add_option("--timeout-ms", given.timeout_ms, "How long to wait for a server that is silent")
    ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return run(given);
  } catch (const zmq::error_t& failure) {
    std::cerr << "zmq_client: " << given.endpoint << ": " << failure.what() << '\n';
    return 1;
  }
}
