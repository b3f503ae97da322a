// Asks a server without a pause: so many connections, on each so many requests open, each with 16 prompt tokens and
// 16 tokens to be generated. Prints requests/s and what the client and the server used of a core, a request.
//
//   build/bench/mock_client ENDPOINT --server-pid PID [--connections 16] [--open 16] [--seconds 5] [--json]
//   build/bench/mock_client ... --idle 20     the server's CPU while a client is connected and asks nothing
//
// To leave the server the time, frames are not decoded but searched for endings; --check decodes them and counts
// tokens.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>
#include <unordered_map>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <zmq.hpp>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"

namespace {

using namespace troupe;
using clock_type = std::chrono::steady_clock;

constexpr std::uint32_t prompt_length = 16, answer_length = 16;

[[noreturn]] void give_up(const std::string& why) {
  std::cerr << "mock_client: " << why << "\n";
  std::exit(1);
}

double own_cpu_seconds() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](timeval t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Of all threads of a process, to the nanosecond.
double cpu_seconds_of(int pid) {
  double sum = 0;
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::ifstream file(thread.path() / "schedstat");
    double nanoseconds = 0;
    file >> nanoseconds;
    sum += nanoseconds * 1e-9;
  }
  if (gone)
    give_up("there is no process " + std::to_string(pid));
  return sum;
}

class connection {
public:
  connection(zmq::context_t& context, const std::string& endpoint, std::uint32_t seed)
      : socket_(context, zmq::socket_type::dealer), seed_(seed) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.set(zmq::sockopt::rcvtimeo, 10000);
    socket_.connect(endpoint);
    send(hello{protocol_version});
    zmq::message_t frame;
    if (!socket_.recv(frame))
      give_up("the server does not answer");
    auto message = decode_server(frame.to_string_view());
    if (!message || !std::holds_alternative<welcome>(*message))
      give_up("the server does not welcome us");
  }

  void ask() {
    generate_request request;
    request.id = ++last_id_;
    prompt_tokens prompt(prompt_length);
    for (auto& token : prompt) {
      seed_ = seed_ * 1664525u + 1013904223u;
      token = static_cast<token_id>(100 + (seed_ >> 16) % 100);
    }
    request.prompt = std::move(prompt);
    request.sampling.max_tokens = answer_length;
    request.sampling.ignore_eos = true;
    send(request);
  }

  /// How many requests have ended, by what is there to read.
  std::uint32_t take(bool check) {
    std::uint32_t ended = 0;
    zmq::message_t frame;
    while (socket_.recv(frame, zmq::recv_flags::dontwait)) {
      ++frames;
      bytes += frame.size();
      ended += check ? decode(frame.to_string_view()) : search(frame.to_string_view());
    }
    return ended;
  }

  zmq::socket_t& socket() { return socket_; }
  std::uint64_t frames = 0, bytes = 0;

private:
  void send(const client_message& message) { socket_.send(zmq::buffer(encode(message)), zmq::send_flags::none); }

  /// Only an end has this key: its length is the byte before it.
  static std::uint32_t search(std::string_view frame) {
    constexpr std::string_view key = "\xa6reason";
    std::uint32_t found = 0;
    for (auto at = frame.find(key); at != frame.npos; at = frame.find(key, at + key.size()))
      ++found;
    if (found == 0 && frame.find("protocol_error") != frame.npos)
      give_up("the server refuses: " + std::string(frame));
    return found;
  }

  std::uint32_t decode(std::string_view frame) {
    auto message = decode_server(frame);
    if (!message)
      give_up(message.error().message);
    if (auto* delta = std::get_if<token_delta>(&*message))
      return take(*delta), 0;
    if (auto* end = std::get_if<request_end>(&*message))
      return take(*end), 1;
    if (auto* refusal = std::get_if<protocol_error>(&*message))
      give_up(refusal->failure.message);
    auto* step = std::get_if<step_deltas>(&*message);
    if (!step)
      return 0;
    for (const auto& delta : step->deltas)
      take(delta);
    for (const auto& end : step->ends)
      take(end);
    return static_cast<std::uint32_t>(step->ends.size());
  }

  void take(const token_delta& delta) { tokens_[delta.id] += delta.token_ids.size(); }

  void take(const request_end& end) {
    if (end.reason != finish_reason::length || tokens_[end.id] != answer_length)
      give_up("a request ended after " + std::to_string(tokens_[end.id]) + " tokens: " + end.failure.message);
    tokens_.erase(end.id);
  }

  zmq::socket_t socket_;
  std::uint32_t seed_;
  request_id last_id_ = 0;
  std::unordered_map<request_id, std::size_t> tokens_;
};

} // namespace

int main(int argc, char** argv) {
  CLI::App app("Requests without a pause");
  std::string endpoint;
  int server = 0;
  std::uint32_t connections = 16, open = 16;
  double seconds = 5, idle = 0;
  bool check = false, json = false;
  app.add_option("ENDPOINT", endpoint)->required();
  app.add_option("--server-pid", server)->required();
  app.add_option("--connections", connections)->check(CLI::Range(1, 1024));
  app.add_option("--open", open, "requests on each connection at once")->check(CLI::Range(1, 1024));
  app.add_option("--seconds", seconds);
  app.add_option("--idle", idle, "seconds in which nothing is asked");
  app.add_flag("--check", check);
  app.add_flag("--json", json);
  CLI11_PARSE(app, argc, argv);
  zmq::context_t context;
  std::vector<std::unique_ptr<connection>> all;
  std::vector<zmq::pollitem_t> items;
  for (std::uint32_t i = 0; i < connections; ++i) {
    all.push_back(std::make_unique<connection>(context, endpoint, i * 7919 + 1));
    items.push_back({all.back()->socket().handle(), 0, ZMQ_POLLIN, 0});
  }
  if (idle > 0) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const auto before = cpu_seconds_of(server);
    std::this_thread::sleep_for(std::chrono::duration<double>(idle));
    nlohmann::json out{{"idle_percent_of_a_core", 100 * (cpu_seconds_of(server) - before) / idle}};
    std::cout << out.dump() << "\n";
    return 0;
  }
  for (auto& c : all)
    for (std::uint32_t i = 0; i < open; ++i)
      c->ask();
  const auto poll = [&] {
    zmq::poll(items.data(), items.size(), std::chrono::milliseconds(10000));
    std::uint64_t ended = 0;
    for (std::size_t i = 0; i < all.size(); ++i)
      if (items[i].revents != 0) {
        const auto count = all[i]->take(check);
        for (std::uint32_t j = 0; j < count; ++j)
          all[i]->ask();
        ended += count;
      }
    return ended;
  };
  const auto warm = clock_type::now() + std::chrono::milliseconds(500);
  while (clock_type::now() < warm)
    poll();
  const auto server_before = cpu_seconds_of(server), own_before = own_cpu_seconds();
  const auto start = clock_type::now();
  std::uint64_t ended = 0, frames = 0, bytes = 0;
  for (auto& c : all)
    c->frames = c->bytes = 0;
  const auto until = start + std::chrono::duration_cast<clock_type::duration>(std::chrono::duration<double>(seconds));
  while (clock_type::now() < until)
    ended += poll();
  const auto spent = std::chrono::duration<double>(clock_type::now() - start).count();
  const auto requests = static_cast<double>(std::max<std::uint64_t>(ended, 1));
  for (auto& c : all) {
    frames += c->frames;
    bytes += c->bytes;
  }
  nlohmann::json out{{"requests_per_s", static_cast<double>(ended) / spent},
                     {"server_us_a_request", 1e6 * (cpu_seconds_of(server) - server_before) / requests},
                     {"client_us_a_request", 1e6 * (own_cpu_seconds() - own_before) / requests},
                     {"frames_a_request", static_cast<double>(frames) / requests},
                     {"bytes_a_request", static_cast<double>(bytes) / requests}};
  std::cout << (json ? out.dump(2) : out.dump()) << "\n";
}
