#include "actors/kv_events.hpp"

#include <chrono>

#include <zmq.hpp>

#include "actors/endpoint.hpp"
#include "actors/event_descriptor.hpp"
#include "actors/zap_gate.hpp"
#include "engine/kv/event_buffer.hpp"

namespace troupe {

namespace {

using namespace std::chrono_literals;

constexpr int replays_a_turn = 16; ///< Before messages of actors are looked at again.
constexpr int linger_ms = 1000;
constexpr std::int64_t max_request_bytes = 1024; ///< A request for a replay has 8.

/// The context outlives its sockets; all belong to the actor's thread once it runs.
struct bound_sockets {
  zmq::context_t context{1};
  std::optional<zap_gate> gate; ///< Where subscribers have keys.
  zmq::socket_t publisher{context, zmq::socket_type::pub};
  zmq::socket_t replay{context, zmq::socket_type::router};
};

/// A frame that shares a payload with the buffer, and with all subscribers to which it is still on its way.
zmq::message_t frame_of(const shared_payload& payload) {
  auto* owner = new shared_payload(payload);
  return {const_cast<char*>(payload->data()), payload->size(),
          [](void*, void* hint) { delete static_cast<shared_payload*>(hint); }, owner};
}

std::uint32_t blocks_of(const kv_event_batch& batch) {
  std::size_t blocks = 1;
  for (const auto& event : batch.events)
    blocks += event.hashes.size();
  return static_cast<std::uint32_t>(blocks);
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class kv_event_publisher : public caf::blocking_actor {
public:
  kv_event_publisher(caf::actor_config& config, kv_events_options options, std::shared_ptr<bound_sockets> sockets)
      : blocking_actor(config), options_(std::move(options)), sockets_(std::move(sockets)),
        buffer_(options_.buffer_steps, options_.buffer_bytes) {}

  /// Runs in the sender's thread.
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* unit) override {
    const auto& content = what->content();
    if (content.match_elements<publish_atom, kv_event_batch>()) {
      const auto blocks = blocks_of(content.get_as<kv_event_batch>(1));
      if (waiting_blocks_.fetch_add(blocks) + blocks > options_.max_waiting_blocks) {
        waiting_blocks_ -= blocks;
        ++lost_;
        return;
      }
    }
    blocking_actor::enqueue(std::move(what), unit);
    mail_.notify();
  }

  void act() override {
    while (running_) {
      auto& gate = sockets_->gate;
      zmq::pollitem_t items[] = {{nullptr, mail_.fd(), ZMQ_POLLIN, 0},
                                 {sockets_->replay.handle(), 0, ZMQ_POLLIN, 0},
                                 {gate ? gate->handle() : nullptr, 0, ZMQ_POLLIN, 0}};
      try {
        zmq::poll(items, gate ? 3 : 2, -1ms); // Idle is idle.
      } catch (const zmq::error_t& problem) {
        if (problem.num() == EINTR)
          continue;
        throw;
      }
      if (items[0].revents != 0)
        take_mail();
      if (gate && items[2].revents != 0)
        gate->answer();
      if (items[1].revents != 0)
        for (int i = 0; i < replays_a_turn && take_request(); ++i) {
        }
    }
    for (const auto& endpoint : {options_.endpoint, options_.replay_endpoint})
      if (const auto file = socket_file_of(endpoint); !file.empty())
        ::unlink(file.c_str()); // While it is still ours: a server that starts now finds nobody who listens.
    sockets_->publisher.close();
    sockets_->replay.close();
    sockets_->gate.reset();
    sockets_->context.close(); // Only then is an endpoint free for a successor.
  }

private:
  void take_mail() {
    mail_.clear();
    bool more = true;
    while (more && running_ && !mailbox().empty())
      receive([&](publish_atom, kv_event_batch& batch) { publish(batch); }, [&](status_atom) { return status(); },
              [&](const caf::exit_msg& exit) {
                fail_state(exit.reason);
                running_ = false;
              },
              caf::after(0ms) >> [&] { more = false; });
  }

  void publish(const kv_event_batch& batch) {
    waiting_blocks_ -= blocks_of(batch);
    auto payload =
      std::make_shared<const std::string>(encode_events(options_.format, seconds_since_1970(), batch.events));
    if (!buffer_.add(batch.sequence, payload))
      return; // A bug of the sender's; subscribers would take it for a new start.
    ++status_.published;
    const auto number = encode_sequence(batch.sequence);
    // A PUB socket drops what a slow subscriber does not take, so these send at once.
    sockets_->publisher.send(zmq::buffer(options_.topic), zmq::send_flags::sndmore);
    sockets_->publisher.send(zmq::buffer(number), zmq::send_flags::sndmore);
    sockets_->publisher.send(frame_of(payload), zmq::send_flags::none);
  }

  kv_events_status status() const {
    auto result = status_;
    result.missing = buffer_.missing();
    result.lost = lost_;
    return result;
  }

  /// False: there was none.
  bool take_request() {
    std::vector<zmq::message_t> frames;
    do {
      zmq::message_t frame;
      if (!sockets_->replay.recv(frame, zmq::recv_flags::dontwait))
        return false;
      if (frames.size() < 4) // What is longer is no request, however long it is.
        frames.push_back(std::move(frame));
    } while (sockets_->replay.get(zmq::sockopt::rcvmore));
    if (frames.size() != 3 || frames[1].size() != 0)
      return true;
    if (const auto start = decode_sequence(frames[2].to_string_view()))
      replay(frames[0].to_string_view(), *start);
    return true;
  }

  void replay(std::string_view identity, std::uint64_t start) {
    bool takes = true;
    buffer_.replay(start, [&](std::uint64_t sequence, const shared_payload& payload) {
      return takes = answer(identity, sequence, frame_of(payload));
    });
    if (takes && answer(identity, end_of_replay, {}))
      ++status_.replays;
  }

  /// False if the subscriber is gone, or its queue is full.
  bool answer(std::string_view identity, std::uint64_t sequence, zmq::message_t payload) {
    constexpr auto part = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
    const auto number = encode_sequence(sequence);
    try {
      return sockets_->replay.send(zmq::buffer(identity), part) && sockets_->replay.send(zmq::message_t{}, part) &&
             sockets_->replay.send(zmq::buffer(number), part) &&
             sockets_->replay.send(std::move(payload), zmq::send_flags::dontwait);
    } catch (const zmq::error_t&) { // EHOSTUNREACH
      return false;
    }
  }

  kv_events_options options_;
  std::shared_ptr<bound_sockets> sockets_;
  event_buffer buffer_;
  event_descriptor mail_;
  std::atomic<std::uint32_t> waiting_blocks_{0};
  std::atomic<std::uint64_t> lost_{0};
  kv_events_status status_;
  bool running_ = true;
};

void configure(bound_sockets& sockets, const kv_events_options& options) {
  const auto most = static_cast<int>(options.max_queued_frames);
  sockets.publisher.set(zmq::sockopt::sndhwm, most);
  sockets.publisher.set(zmq::sockopt::linger, linger_ms);
  sockets.replay.set(zmq::sockopt::sndhwm, std::max(most, static_cast<int>(options.buffer_steps) + 1));
  sockets.replay.set(zmq::sockopt::rcvhwm, replays_a_turn);
  sockets.replay.set(zmq::sockopt::maxmsgsize, max_request_bytes);
  sockets.replay.set(zmq::sockopt::router_mandatory, true);
  sockets.replay.set(zmq::sockopt::linger, linger_ms);
}

expected<std::string> bind_socket(bound_sockets& sockets, zmq::socket_t& socket, const zmq_access& access,
                                  const std::string& endpoint, const std::string& option) {
  if (auto free = check_endpoint(endpoint, option); !free)
    return tl::unexpected(free.error());
  if (auto may = check_access(access, endpoint, option); !may)
    return tl::unexpected(may.error());
  try {
    if (sockets.gate)
      sockets.gate->guard(socket);
    socket.bind(endpoint);
  } catch (const zmq::error_t& problem) {
    return fail(errc::io, "Cannot publish block events on " + endpoint + ": " + problem.what() +
                            ". Choose another endpoint with " + option + ", for example tcp://127.0.0.1:*.");
  }
  return socket.get(zmq::sockopt::last_endpoint);
}

} // namespace

expected<running_kv_events> spawn_kv_events(caf::actor_system& system, kv_events_options options) {
  std::shared_ptr<bound_sockets> sockets;
  try {
    sockets = std::make_shared<bound_sockets>();
    configure(*sockets, options);
    if (options.access.has_keys())
      sockets->gate.emplace(sockets->context, options.access, options.log);
  } catch (const zmq::error_t& problem) {
    return fail(errc::io, std::string("Cannot publish block events: ") + problem.what() + ".");
  }
  running_kv_events result;
  auto published_at = bind_socket(*sockets, sockets->publisher, options.access, options.endpoint, "--kv-events");
  if (!published_at)
    return tl::unexpected(published_at.error());
  result.endpoint = std::move(*published_at);
  if (!options.replay_endpoint.empty()) {
    auto replayed_at =
      bind_socket(*sockets, sockets->replay, options.access, options.replay_endpoint, "--kv-events-replay");
    if (!replayed_at)
      return tl::unexpected(replayed_at.error());
    result.replay_endpoint = std::move(*replayed_at);
  }
  result.actor = caf::actor_cast<kv_events_actor>(
    system.spawn<kv_event_publisher, caf::detached>(std::move(options), std::move(sockets)));
  return result;
}

} // namespace troupe
