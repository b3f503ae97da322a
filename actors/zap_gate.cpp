#include "actors/zap_gate.hpp"

#include <array>
#include <vector>

namespace troupe {

namespace {

constexpr const char* handler_endpoint = "inproc://zeromq.zap.01";
constexpr const char* domain = "troupe";
constexpr std::size_t key_bytes = 32;

enum frame : std::size_t { version, request, domain_name, address, identity, mechanism, credentials, frame_count };

std::string bytes_of(const std::string& key) {
  std::string bytes(key_bytes, '\0');
  zmq_z85_decode(reinterpret_cast<std::uint8_t*>(bytes.data()), key.c_str());
  return bytes;
}

} // namespace

zap_gate::zap_gate(zmq::context_t& context, const zmq_access& access, logger log)
    : questions_(context, zmq::socket_type::rep), secret_key_(access.secret_key), log_(std::move(log)) {
  for (const auto& key : access.client_keys)
    known_.insert(bytes_of(key));
  questions_.set(zmq::sockopt::linger, 0);
  questions_.bind(handler_endpoint);
}

void zap_gate::guard(zmq::socket_t& socket) const {
  socket.set(zmq::sockopt::zap_domain, domain);
  socket.set(zmq::sockopt::curve_server, true);
  socket.set(zmq::sockopt::curve_secretkey, secret_key_);
}

void zap_gate::answer() {
  for (std::vector<zmq::message_t> frames;; frames.clear()) {
    do {
      zmq::message_t frame;
      if (!questions_.recv(frame, zmq::recv_flags::dontwait))
        return;
      frames.push_back(std::move(frame));
    } while (questions_.get(zmq::sockopt::rcvmore));
    const bool may = frames.size() == frame_count && frames[version].to_string_view() == "1.0" &&
                     frames[domain_name].to_string_view() == domain &&
                     frames[mechanism].to_string_view() == "CURVE" &&
                     known_.contains(frames[credentials].to_string());
    if (const auto unsaid = may ? std::nullopt : refusals_.next(std::chrono::steady_clock::now()))
      say(log_, log_level::info, "client_refused", "a ZeroMQ client has no key that is known",
          {{"client", frames.size() > address ? frames[address].to_string() : std::string()}, {"unsaid", *unsaid}});
    const std::array<std::string, 6> reply{"1.0",
                                           frames.size() > request ? frames[request].to_string() : std::string(),
                                           may ? "200" : "400",
                                           may ? "OK" : "This key is not known.",
                                           "",
                                           ""};
    for (std::size_t i = 0; i < reply.size(); ++i)
      questions_.send(zmq::buffer(reply[i]), i + 1 < reply.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
  }
}

} // namespace troupe
