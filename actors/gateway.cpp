#include "actors/gateway.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <unordered_map>

#include <zmq.hpp>

#include "actors/admin.hpp"
#include "actors/endpoint.hpp"
#include "actors/event_descriptor.hpp"
#include "actors/zap_gate.hpp"
#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/validate.hpp"

namespace troupe {

namespace {

using namespace std::chrono_literals;

// Taken from the socket before messages of actors are looked at again.
constexpr int frames_a_turn = 256;
constexpr std::size_t bytes_a_turn = 4u << 20;

constexpr int frames_ahead = 16; ///< Received for one client and not looked at yet; each may have `max_frame_bytes`.

/// The context outlives its sockets; both belong to the actor's thread once it runs.
struct bound_socket {
  zmq::context_t context{1};
  std::optional<zap_gate> gate; ///< Where clients have keys.
  zmq::socket_t router{context, zmq::socket_type::router};
};

class gateway : public caf::blocking_actor {
public:
  gateway(caf::actor_config& config, supervisor_actor supervisor, gateway_options options,
          std::shared_ptr<bound_socket> socket)
      : blocking_actor(config), supervisor_(std::move(supervisor)), options_(std::move(options)),
        socket_(std::move(socket)) {}

  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* unit) override {
    blocking_actor::enqueue(std::move(what), unit);
    mail_.notify();
  }

  void act() override {
    self_ = caf::actor_cast<client_actor>(caf::strong_actor_ptr{ctrl()});
    monitor(supervisor_);
    next_keepalive_ = std::chrono::steady_clock::now();
    while (running_) {
      auto& gate = socket_->gate;
      zmq::pollitem_t items[] = {{socket_->router.handle(), 0, ZMQ_POLLIN, 0},
                                 {nullptr, mail_.fd(), ZMQ_POLLIN, 0},
                                 {gate ? gate->handle() : nullptr, 0, ZMQ_POLLIN, 0}};
      try {
        zmq::poll(items, gate ? 3 : 2, wait_time());
      } catch (const zmq::error_t& problem) {
        if (problem.num() == EINTR)
          continue;
        throw;
      }
      if (gate && items[2].revents != 0)
        gate->answer();
      if (items[1].revents != 0)
        take_mail();
      if (items[0].revents != 0)
        take_frames();
      keep_alive();
    }
    for (auto& [id, connection] : connections_)
      send(connection.stream, stop_atom::value);
    if (const auto file = socket_file_of(options_.endpoint); !file.empty())
      ::unlink(file.c_str()); // While it is still ours: a server that starts now finds nobody who listens.
    socket_->router.close();
    self_ = nullptr;
  }

private:
  struct connection {
    std::string identity;
    stream_actor stream;
    std::chrono::steady_clock::time_point last_heard;
  };

  std::chrono::milliseconds wait_time() const {
    if (connections_.empty())
      return -1ms; // Idle is idle.
    const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(next_keepalive_ - std::chrono::steady_clock::now());
    return std::clamp(left, 0ms, std::chrono::milliseconds(keepalive_ms));
  }

  void take_mail() {
    mail_.clear();
    bool more = true;
    while (more && running_ && !mailbox().empty())
      receive([&](deliver_atom, delivery& messages) { deliver(messages); },
              [&](const caf::down_msg& down) {
                if (down.source != supervisor_.address())
                  return stream_died(down.source);
                fail_state(down.reason); // Whoever watches us may hear of this first.
                running_ = false;
              },
              [&](const caf::exit_msg& exit) {
                fail_state(exit.reason);
                running_ = false;
              },
              caf::after(0ms) >> [&] { more = false; });
  }

  void stream_died(const caf::actor_addr& stream) {
    auto found = std::find_if(connections_.begin(), connections_.end(),
                              [&](const auto& entry) { return entry.second.stream.address() == stream; });
    if (found == connections_.end())
      return;
    refuse(found->second.identity, {errc::not_found, "The server has ended this connection: say `hello` again."});
    ids_.erase(found->second.identity);
    connections_.erase(found);
  }

  void deliver(const delivery& messages) {
    auto found = connections_.find(messages.connection);
    if (found == connections_.end())
      return; // Cut off while these were on their way.
    encoder_.begin(messages.messages);
    while (auto frame = encoder_.next())
      if (!send_frame(found->second.identity, *frame))
        return cut(found->first);
  }

  /// False when the client is gone, or so far behind that its queue is full.
  bool send_frame(const std::string& identity, std::string_view frame) {
    try {
      return socket_->router.send(zmq::buffer(identity), zmq::send_flags::sndmore | zmq::send_flags::dontwait) &&
             socket_->router.send(zmq::buffer(frame), zmq::send_flags::dontwait);
    } catch (const zmq::error_t&) { // EHOSTUNREACH
      return false;
    }
  }

  bool send_message(const std::string& identity, const server_message& message) {
    return send_frame(identity, encode(message));
  }

  void take_frames() {
    std::size_t bytes = 0;
    for (int i = 0; i < frames_a_turn && bytes < bytes_a_turn; ++i) {
      zmq::message_t identity;
      if (!socket_->router.recv(identity, zmq::recv_flags::dontwait))
        return;
      zmq::message_t body;
      bool one_frame = identity.more() && socket_->router.recv(body, zmq::recv_flags::none).has_value();
      while (body.more()) {
        one_frame = false;
        if (!socket_->router.recv(body, zmq::recv_flags::none))
          break;
      }
      bytes += body.size();
      try {
        take_frame(identity.to_string(), one_frame, body);
      } catch (const std::bad_alloc&) {
        refuse(identity.to_string(),
               {errc::out_of_memory, "The server has no memory for this frame: try again later."});
      }
    }
  }

  void take_frame(const std::string& identity, bool one_frame, const zmq::message_t& body) {
    if (!one_frame)
      return refuse(
        identity, {errc::malformed, "A message must be one frame: multipart messages are not part of the protocol."});
    auto message = decode_client(body.to_string_view());
    auto known = ids_.find(identity);
    if (known != ids_.end())
      connections_.at(known->second).last_heard = std::chrono::steady_clock::now();
    if (!message) {
      auto& [failure, id] = message.error();
      if (known != ids_.end() && id)
        return send(connections_.at(known->second).stream, fail_atom::value, *id, std::move(failure));
      return refuse(identity, std::move(failure));
    }
    if (auto* first = std::get_if<hello>(&*message))
      return greet(identity, *first);
    if (known == ids_.end())
      return refuse(identity, {errc::not_found, "The first message of a connection must be `hello`."});
    auto& connection = connections_.at(known->second);
    std::visit([&](auto& body) { take(connection, body); }, *message);
  }

  void refuse(const std::string& identity, error failure) {
    send_message(identity, protocol_error{std::move(failure)});
  }

  void greet(const std::string& identity, const hello& first) {
    if (auto same = check_version(first); !same)
      return refuse(identity, same.error());
    if (auto known = ids_.find(identity); known != ids_.end())
      drop(
        known->second); // The client has begun anew, with a routing id of its own: it knows nothing of what was open.
    if (connections_.size() >= options_.max_connections)
      return refuse(identity,
                    {errc::limit_exceeded, "This server has as many connections as it takes: try again later."});
    const auto id = ++last_id_;
    auto stream = open_stream(id);
    if (!stream)
      return refuse(identity, {errc::unavailable, "The server is stopping."});
    monitor(*stream);
    connections_.emplace(id, connection{identity, *stream, std::chrono::steady_clock::now()});
    ids_.emplace(identity, id);
    say(options_.log, log_level::debug, "client_came", "a ZeroMQ client has said hello", {{"connection", id}});
    send_message(identity,
                 welcome{protocol_version, options_.server_name, options_.model_name, options_.context_length});
  }

  std::optional<stream_actor> open_stream(connection_id id) {
    std::optional<stream_actor> result;
    request(supervisor_, 10s, open_atom::value, self_, id, max_requests_per_client)
      .receive([&](stream_actor& stream) { result = std::move(stream); }, [](const caf::error&) {});
    return result;
  }

  void take(connection&, const hello&) {}
  void take(connection& from, generate_request& request) {
    request.origin.name = "zmq-" + std::to_string(ids_.at(from.identity)) + "-" + std::to_string(request.id);
    send(from.stream, submit_atom::value, std::move(request));
  }
  void take(connection& from, const cancel_request& request) { send(from.stream, cancel_atom::value, request.id); }
  void take(connection& from, const credit_grant& grant) { send(from.stream, credit_atom::value, grant); }
  void take(connection& from, const pause_request& request) { send(from.stream, pause_atom::value, request.id); }
  void take(connection& from, const resume_request& request) { send(from.stream, resume_atom::value, request.id); }
  void take(connection& from, const ping& request) { send_message(from.identity, pong{request.nonce}); }
  void take(connection& from, const admin_request& request) {
    if (!options_.takes_commands)
      return void(send_message(
        from.identity, admin_reply{request.nonce,
                                   {errc::unsupported,
                                    "This endpoint takes no operator's commands, since other machines can reach it: "
                                    "use that of the server's --admin-zmq."}}));
    answer_admin(system(), supervisor_, self_, ids_.at(from.identity), request);
  }

  /// ZeroMQ tells nobody that a client is gone until something is sent to it.
  void keep_alive() {
    const auto now = std::chrono::steady_clock::now();
    if (connections_.empty() || now < next_keepalive_)
      return;
    const auto interval = std::chrono::milliseconds(keepalive_ms);
    next_keepalive_ = now + interval;
    std::vector<connection_id> gone;
    for (const auto& [id, connection] : connections_)
      if (now - connection.last_heard > interval && !send_message(connection.identity, pong{0}))
        gone.push_back(id);
    for (auto id : gone)
      cut(id);
  }

  void cut(connection_id id) {
    say(options_.log, log_level::info, "client_gone", "a ZeroMQ client is gone, or does not read",
        {{"connection", id}});
    drop(id);
  }

  void drop(connection_id id) {
    auto found = connections_.find(id);
    send(found->second.stream, stop_atom::value);
    ids_.erase(found->second.identity);
    connections_.erase(found);
  }

  supervisor_actor supervisor_;
  gateway_options options_;
  std::shared_ptr<bound_socket> socket_;
  event_descriptor mail_;
  client_actor self_;
  delivery_encoder encoder_;
  std::unordered_map<connection_id, connection> connections_;
  std::unordered_map<std::string, connection_id> ids_;
  connection_id last_id_ = 0;
  std::chrono::steady_clock::time_point next_keepalive_;
  bool running_ = true;
};

} // namespace

expected<running_gateway> spawn_gateway(caf::actor_system& system, supervisor_actor supervisor,
                                        gateway_options options) {
  if (auto free = check_endpoint(options.endpoint, options.option); !free)
    return tl::unexpected(free.error());
  if (auto may = check_access(options.access, options.endpoint, options.option); !may)
    return tl::unexpected(may.error());
  auto socket = std::make_shared<bound_socket>();
  auto& router = socket->router;
  try {
    if (options.access.has_keys())
      socket->gate.emplace(socket->context, options.access, options.log).guard(router);
    router.set(zmq::sockopt::linger, 1000);
    router.set(zmq::sockopt::router_mandatory, true);
    router.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(max_frame_bytes));
    router.set(zmq::sockopt::sndhwm, static_cast<int>(max_queued_frames));
    router.set(zmq::sockopt::rcvhwm, frames_ahead);
    router.set(zmq::sockopt::heartbeat_ivl, 5000);
    router.set(zmq::sockopt::heartbeat_timeout, 20000);
    router.bind(options.endpoint);
  } catch (const zmq::error_t& problem) {
    return fail(errc::io, "Cannot listen on " + options.endpoint + ": " + problem.what() +
                            ". Choose another endpoint with " + options.option + ", for example tcp://127.0.0.1:*.");
  }
  auto endpoint = router.get(zmq::sockopt::last_endpoint);
  auto actor = system.spawn<gateway, caf::detached>(std::move(supervisor), std::move(options), std::move(socket));
  return running_gateway{caf::actor_cast<client_actor>(actor), std::move(endpoint)};
}

} // namespace troupe
