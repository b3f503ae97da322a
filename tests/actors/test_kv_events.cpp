// The publisher of block events, as subscribers on its sockets meet it.
#include <boost/test/unit_test.hpp>

#include <zmq.hpp>

#include "actors/kv_events.hpp"
#include "actors/system.hpp"

using namespace troupe;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(kv_event_publishers)

namespace {

constexpr int patience_ms = 30'000;

kv_event_batch batch_of(std::uint64_t sequence, std::size_t blocks = 1) {
  kv_event event;
  for (std::size_t i = 0; i < blocks; ++i)
    event.hashes.push_back({{sequence * 1000 + i, 1, 2, 3}});
  event.tokens.assign(blocks * tokens_per_block, static_cast<token_id>(sequence));
  return {sequence, {event}};
}

/// A publisher, and subscribers in the test's own thread.
struct publisher {
  explicit publisher(std::function<void(kv_events_options&)> change = {}) {
    configure(config);
    system.emplace(config);
    kv_events_options options;
    options.endpoint = "tcp://127.0.0.1:*";
    options.replay_endpoint = "tcp://127.0.0.1:*";
    options.topic = "kv";
    if (change)
      change(options);
    auto made = spawn_kv_events(*system, std::move(options));
    BOOST_REQUIRE_MESSAGE(made, made.error().message);
    running = std::move(*made);
  }
  ~publisher() {
    caf::anon_send_exit(running.actor, caf::exit_reason::user_shutdown);
    running.actor = nullptr;
    system->await_all_actors_done();
  }

  void publish(kv_event_batch batch) { caf::anon_send(running.actor, publish_atom::value, std::move(batch)); }

  kv_events_status status() {
    kv_events_status result;
    caf::scoped_actor self(*system);
    self->request(running.actor, 20s, status_atom::value)
      .receive([&](kv_events_status& answer) { result = answer; },
               [&](const caf::error& e) { BOOST_ERROR("no answer: " << caf::to_string(e)); });
    return result;
  }

  zmq::socket_t connect(zmq::socket_type type, const std::string& endpoint) {
    zmq::socket_t socket(context, type);
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::rcvtimeo, patience_ms);
    if (type == zmq::socket_type::sub)
      socket.set(zmq::sockopt::subscribe, "kv");
    socket.connect(endpoint);
    return socket;
  }

  /// A subscriber that is certain to get what is published from now on: it has seen a batch. `next` is the first
  /// number that may be used after it.
  zmq::socket_t subscribe(std::uint64_t& next) {
    auto socket = connect(zmq::socket_type::sub, running.endpoint);
    socket.set(zmq::sockopt::rcvtimeo, 20);
    for (int tries = 0; tries < 1000; ++tries) {
      publish(batch_of(next++));
      if (zmq::message_t topic; socket.recv(topic)) {
        socket.set(zmq::sockopt::rcvtimeo, patience_ms);
        read_rest(socket);
        // What was sent while the subscription was on its way may be on its own way still.
        while (last_number + 1 < next)
          read(socket);
        return socket;
      }
    }
    BOOST_FAIL("a subscriber gets nothing");
    return socket;
  }

  std::vector<std::string> read(zmq::socket_t& socket) {
    zmq::message_t first;
    BOOST_REQUIRE_MESSAGE(socket.recv(first), "nothing came");
    auto frames = read_rest(socket);
    frames.insert(frames.begin(), first.to_string());
    return frames;
  }

  std::vector<std::string> read_rest(zmq::socket_t& socket) {
    std::vector<std::string> frames;
    while (socket.get(zmq::sockopt::rcvmore)) {
      zmq::message_t frame;
      BOOST_REQUIRE(socket.recv(frame));
      frames.push_back(frame.to_string());
    }
    if (!frames.empty())
      last_number = decode_sequence(frames.front()).value_or(0);
    return frames;
  }

  /// What a REQ gets for a replay from a number on, the end left out.
  std::vector<std::pair<std::uint64_t, std::string>> replay(std::uint64_t start) {
    auto socket = connect(zmq::socket_type::dealer, running.replay_endpoint);
    const auto number = encode_sequence(start);
    socket.send(zmq::message_t{}, zmq::send_flags::sndmore);
    socket.send(zmq::buffer(number), zmq::send_flags::none);
    std::vector<std::pair<std::uint64_t, std::string>> result;
    for (;;) {
      const auto frames = read(socket);
      BOOST_REQUIRE(frames.size() == 3u);
      BOOST_TEST(frames[0].empty());
      const auto sequence = decode_sequence(frames[1]);
      BOOST_REQUIRE(sequence);
      if (*sequence == end_of_replay) {
        BOOST_TEST(frames[2].empty());
        return result;
      }
      result.emplace_back(*sequence, frames[2]);
    }
  }

  std::vector<std::uint64_t> replayed_numbers(std::uint64_t start) {
    std::vector<std::uint64_t> result;
    for (const auto& [number, payload] : replay(start))
      result.push_back(number);
    return result;
  }

  caf::actor_system_config config;
  std::optional<caf::actor_system> system;
  running_kv_events running;
  zmq::context_t context;
  std::uint64_t last_number = 0;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_subscriber_gets_topic_number_and_payload) {
  publisher on;
  std::uint64_t next = 0;
  auto socket = on.subscribe(next);
  on.publish(batch_of(next, 3));
  const auto frames = on.read(socket);
  BOOST_REQUIRE(frames.size() == 3u);
  BOOST_TEST(frames[0] == "kv");
  BOOST_TEST(*decode_sequence(frames[1]) == next);
  const auto right = encode_events({}, 0, batch_of(next, 3).events);
  BOOST_TEST(frames[2].substr(0, 2) == right.substr(0, 2));
  BOOST_TEST(frames[2].substr(10) == right.substr(10)); // Before it is the time.
}

BOOST_AUTO_TEST_CASE(a_replay_brings_the_same_payloads_from_a_number_on_and_an_end) {
  publisher on;
  std::uint64_t next = 0;
  auto socket = on.subscribe(next);
  std::vector<std::pair<std::uint64_t, std::string>> live;
  for (int i = 0; i < 20; ++i) {
    on.publish(batch_of(next + i));
    const auto frames = on.read(socket);
    live.emplace_back(*decode_sequence(frames[1]), frames[2]);
  }
  BOOST_TEST((on.replay(next) == live));
  BOOST_TEST(on.replay(next + 20).empty());
  BOOST_TEST(on.replayed_numbers(next + 18).size() == 2u);
  BOOST_TEST(on.status().replays == 3u);
}

BOOST_AUTO_TEST_CASE(a_replay_has_the_last_batches_in_the_limit_of_the_buffer) {
  publisher on([](auto& options) { options.buffer_steps = 3; });
  for (std::uint64_t number = 0; number < 10; ++number)
    on.publish(batch_of(number));
  BOOST_TEST(on.status().published == 10u);
  BOOST_TEST((on.replayed_numbers(0) == std::vector<std::uint64_t>{7, 8, 9}));
}

BOOST_AUTO_TEST_CASE(a_number_that_was_left_out_stays_left_out_and_is_counted) {
  publisher on;
  for (std::uint64_t number : {0, 1, 4, 5})
    on.publish(batch_of(number));
  BOOST_TEST(on.status().missing == 2u);
  BOOST_TEST((on.replayed_numbers(0) == std::vector<std::uint64_t>{0, 1, 4, 5}));
}

BOOST_AUTO_TEST_CASE(batches_over_the_limit_are_lost_and_leave_a_gap_in_the_numbers) {
  publisher on([](auto& options) { options.max_waiting_blocks = 50; });
  on.publish(batch_of(0));
  on.publish(batch_of(1, 60)); // Would never fit, however fast the publisher is.
  on.publish(batch_of(2));
  const auto status = on.status();
  BOOST_TEST((status.published == 2u && status.lost == 1u && status.missing == 1u));
  BOOST_TEST((on.replayed_numbers(0) == std::vector<std::uint64_t>{0, 2}));
}

BOOST_AUTO_TEST_CASE(what_is_no_request_for_a_replay_gets_no_answer_and_does_no_harm) {
  publisher on;
  on.publish(batch_of(0));
  auto socket = on.connect(zmq::socket_type::dealer, on.running.replay_endpoint);
  const auto send = [&](const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i)
      socket.send(zmq::buffer(frames[i]), i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
  };
  const auto right = encode_sequence(0);
  const std::string number(right.data(), right.size());
  for (const auto& wrong : std::vector<std::vector<std::string>>{{""},
                                                                 {number},
                                                                 {"", "1234567"},
                                                                 {"", number + "9"},
                                                                 {"x", number},
                                                                 {"", number, number},
                                                                 std::vector<std::string>(100, number)})
    send(wrong);
  send({"", number}); // The first that is one is the first that is answered.
  BOOST_TEST((on.read(socket) == std::vector<std::string>{"", number, on.replay(0)[0].second}));
  BOOST_TEST(on.status().replays >= 1u);
}

BOOST_AUTO_TEST_CASE(a_subscriber_that_does_not_read_its_replays_holds_nobody_up) {
  publisher on([](auto& options) {
    options.buffer_steps = 20;
    options.max_queued_frames = 20;
  });
  for (std::uint64_t number = 0; number < 20; ++number)
    on.publish(batch_of(number, 500));
  auto deaf = on.connect(zmq::socket_type::dealer, on.running.replay_endpoint);
  deaf.set(zmq::sockopt::sndtimeo, 100);
  const auto start = encode_sequence(0);
  for (int i = 0; i < 300; ++i) { // 300 times 600 KB, which it does not take.
    deaf.send(zmq::message_t{}, zmq::send_flags::sndmore);
    if (!deaf.send(zmq::buffer(start), zmq::send_flags::none))
      break;
  }
  BOOST_TEST(on.replayed_numbers(0).size() == 20u);
  on.publish(batch_of(20));
  BOOST_TEST(on.status().published == 21u);
}

BOOST_AUTO_TEST_CASE(without_an_endpoint_for_it_nothing_is_replayed) {
  publisher on([](auto& options) { options.replay_endpoint.clear(); });
  BOOST_TEST(on.running.replay_endpoint.empty());
  on.publish(batch_of(0));
  BOOST_TEST(on.status().published == 1u);
}

BOOST_AUTO_TEST_CASE(an_endpoint_that_is_taken_or_wrong_is_an_error_that_names_it) {
  publisher on;
  for (const auto& endpoint : {on.running.endpoint, std::string("tcp://127.0.0.1:99999"), std::string("nonsense")}) {
    kv_events_options options;
    options.endpoint = endpoint;
    const auto made = spawn_kv_events(*on.system, options);
    BOOST_REQUIRE(!made);
    BOOST_TEST(made.error().message.find(endpoint) != std::string::npos, made.error().message);
  }
}

BOOST_AUTO_TEST_SUITE_END()
