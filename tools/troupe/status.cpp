// `troupe status`: asks a running server how it is, or to check itself, to forget its cached prefixes, to drain.
#include <algorithm>
#include <chrono>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <zmq.hpp>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "serve/http/status_json.hpp"
#include "tools/troupe/curve_keys.hpp"
#include "tools/troupe/http_get.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

namespace {

using json = nlohmann::ordered_json;
using clock_type = std::chrono::steady_clock;

/// One connection. A server that has much to do for us is asked by pings whether it is still there.
class server_connection {
public:
  explicit server_connection(const status_flags& flags) : endpoint_(flags.zmq), patience_(flags.timeout_ms) {
    socket_.set(zmq::sockopt::linger, 0);
  }

  /// Errors: those of the keys' files.
  expected<void> connect(const status_flags& flags) {
    if (!flags.curve_key.empty()) {
      const auto secret = read_secret_key(flags.curve_key, "--zmq-curve-key");
      const auto server = read_public_key(flags.curve_server, "--zmq-curve-server");
      if (!secret || !server)
        return tl::unexpected(secret ? server.error() : secret.error());
      const auto ours = public_key_of(*secret);
      if (!ours)
        return tl::unexpected(ours.error());
      socket_.set(zmq::sockopt::curve_serverkey, *server);
      socket_.set(zmq::sockopt::curve_publickey, *ours);
      socket_.set(zmq::sockopt::curve_secretkey, *secret);
    }
    socket_.connect(endpoint_);
    return {};
  }

  expected<void> greet() {
    send(hello{protocol_version});
    auto answer = receive();
    if (!answer)
      return tl::unexpected(answer.error());
    if (auto* refusal = std::get_if<protocol_error>(&*answer))
      return tl::unexpected(refusal->failure);
    if (!std::holds_alternative<welcome>(*answer))
      return fail(errc::malformed, "What listens on " + endpoint_ + " does not say welcome.");
    return {};
  }

  /// Sends a command and waits for its answer, however long the server works on it.
  expected<admin_reply> ask(admin_command command) {
    send(admin_request{++nonce_, command});
    while (true) {
      auto message = receive();
      if (!message)
        return tl::unexpected(message.error());
      if (auto* refusal = std::get_if<protocol_error>(&*message))
        return tl::unexpected(refusal->failure);
      if (auto* reply = std::get_if<admin_reply>(&*message); reply && reply->nonce == nonce_)
        return std::move(*reply);
    }
  }

private:
  /// What cannot be sent (the server has turned us away) is not answered either.
  void send(const client_message& message) { socket_.send(zmq::buffer(encode(message)), zmq::send_flags::dontwait); }

  expected<server_message> receive() {
    const auto interval = std::min(patience_ / 2, std::chrono::milliseconds(ping_interval_ms));
    const auto since = clock_type::now();
    while (true) {
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      zmq::poll(&item, 1, std::max(interval, std::chrono::milliseconds(1)));
      zmq::message_t frame;
      if (socket_.recv(frame, zmq::recv_flags::dontwait))
        return decode_server(frame.to_string_view());
      if (clock_type::now() - since >= patience_)
        return fail(
          errc::unavailable,
          "No answer from " + endpoint_ +
            ": is `troupe serve` running there, and does it want a key (--zmq-curve-key)? Name another with "
            "--zmq.");
      send(ping{1});
    }
  }

  std::string endpoint_;
  std::chrono::milliseconds patience_;
  zmq::context_t context_;
  zmq::socket_t socket_{context_, zmq::socket_type::dealer};
  std::uint64_t nonce_ = 0;
};

/// A line for each count; those of a tier have its name in front.
std::string lines_of(const json& counts, const std::string& prefix = {}) {
  std::string lines;
  for (const auto& [name, value] : counts.items())
    if (value.is_array())
      for (const auto& tier : value)
        lines += lines_of(tier, tier.at("name").get<std::string>() + "_");
    else if (name != "name")
      lines += fmt::format("{:<18} {}\n", prefix + name, value.is_string() ? value.get<std::string>() : value.dump());
  return lines;
}

std::vector<admin_command> commands_of(const status_flags& flags) {
  std::vector<admin_command> commands;
  if (flags.check)
    commands.push_back(admin_command::check);
  if (flags.reset_prefix_cache)
    commands.push_back(admin_command::reset_prefix_cache);
  if (flags.drain)
    commands.push_back(admin_command::drain);
  if (commands.empty())
    commands.push_back(admin_command::status);
  return commands;
}

/// All commands, one after the other, up to the first that is refused.
expected<json> ask_all(const status_flags& flags) {
  server_connection server(flags);
  if (auto connected = server.connect(flags); !connected)
    return tl::unexpected(connected.error());
  if (auto greeted = server.greet(); !greeted)
    return tl::unexpected(greeted.error());
  json said = json::object();
  for (auto command : commands_of(flags)) {
    auto reply = server.ask(command);
    if (!reply)
      return tl::unexpected(reply.error());
    if (!reply->ok())
      return tl::unexpected(reply->failure);
    if (reply->status)
      said.update(serve::status_json(*reply->status));
    else
      said[std::string(to_string(command))] = "ok";
  }
  return said;
}

/// Its counts, over HTTP.
expected<json> ask_load(const status_flags& flags) {
  if (flags.check || flags.reset_prefix_cache || flags.drain)
    return fail(errc::unsupported, "Commands are taken over ZeroMQ alone: start the server with --zmq ENDPOINT (or "
                                   "--admin-zmq), and name that here with --zmq.");
  auto body = http_get(flags.url, "/load", std::chrono::milliseconds(flags.timeout_ms));
  if (!body)
    return tl::unexpected(body.error());
  auto counts = json::parse(*body, nullptr, false);
  if (!counts.is_object())
    return fail(errc::malformed, "What listens on " + flags.url + " is no Troupe.");
  return counts;
}

} // namespace

int status(const status_flags& flags) {
  try {
    auto said = flags.zmq.empty() ? ask_load(flags) : ask_all(flags);
    if (!said)
      return report(said.error());
    if (!write_stdout(flags.json ? said->dump() + "\n" : lines_of(*said)))
      return report({errc::io, "Cannot write to stdout: it is closed or full."});
    return 0;
  } catch (const zmq::error_t& problem) {
    return report({errc::io, "Cannot connect to " + flags.zmq + ": " + problem.what() +
                               ". Name an endpoint with --zmq, for example tcp://127.0.0.1:5555."});
  }
}

} // namespace troupe::cli
