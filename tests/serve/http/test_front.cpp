// The whole way from a socket to a fake device: the front actor, its streams and an engine.
#include "model/answer_text.hpp"
#include "serve/http/front.hpp"
#include "tests/actors/engine_fixture.hpp"
#include "tests/serve/http/http_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(http_front)

namespace {

/// Stands in the supervisor's place and knows the streams that it has opened.
struct opened_streams {
  std::mutex mutex;
  std::vector<stream_actor> all;
  std::vector<stream_actor> take() {
    std::lock_guard lock(mutex);
    return std::exchange(all, {});
  }
};

supervisor_actor::behavior_type watched(supervisor_actor::pointer self, const supervisor_actor& real,
                                        std::shared_ptr<opened_streams> streams) {
  self->monitor(real);
  self->set_down_handler([=](const caf::down_msg& down) { self->quit(down.reason); });
  return {
    [=](open_atom, const client_actor& client, connection_id connection, std::uint32_t most) {
      auto promise = self->make_response_promise<stream_actor>();
      self->request(real, 10s, open_atom::value, client, connection, most)
        .then([=](const stream_actor& stream) mutable {
          std::lock_guard lock(streams->mutex);
          streams->all.push_back(stream);
          promise.deliver(stream);
        });
      return promise;
    },
    [](replace_atom, std::uint32_t, const std::string&) {},
    [=](tree_atom) { return self->delegate(real, tree_atom::value); },
    [](up_atom, std::uint32_t, std::uint64_t) {},
    [](fail_atom, std::uint32_t, const error&) {},
    [](stop_atom) {},
  };
}

class front_fixture {
public:
  explicit front_fixture(std::function<void(engine_options&)> change = {}, http_limits limits = {}) : engine(change) {
    http_options options;
    options.port = 0;
    options.limits = limits;
    auto started = http_server::start(std::move(options), echo_api());
    BOOST_REQUIRE(started);
    server = std::move(*started);
    auto link =
      spawn_front(engine.system(), engine.system().spawn(watched, engine.supervisor, streams), server->door());
    BOOST_REQUIRE_MESSAGE(link, (link ? "" : link.error().message));
    server->attach(std::move(*link), {nullptr, "tiny", {}, 512, 1, {}});
  }

  response get(const std::string& path) {
    http_client client(server->port());
    client.get(path);
    return client.read();
  }
  std::string right_text(const std::string& prompt, std::size_t tokens) {
    answer_text text(tiny()->tokens, {});
    std::string shown;
    for (auto token : engine.right_answer(tiny()->tokens->encode({{prompt, false}}), tokens))
      shown += text.feed(token);
    return shown + text.finish();
  }

  std::shared_ptr<opened_streams> streams = std::make_shared<opened_streams>();
  engine_fixture engine;
  std::unique_ptr<http_server> server;
};

} // namespace

BOOST_AUTO_TEST_CASE(hundreds_of_clients_get_the_text_that_each_gets_alone) {
  front_fixture fixture;
  std::vector<std::unique_ptr<http_client>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<http_client>(fixture.server->port()));
    clients.back()->post(
      "/v1/echo",
      nlohmann::json{{"prompt", "prompt " + std::to_string(i)}, {"max_tokens", 20}, {"stream", i % 2 == 0}}.dump());
  }
  for (int i = 0; i < 200; ++i)
    BOOST_TEST(clients[static_cast<std::size_t>(i)]->read().body ==
               fixture.right_text("prompt " + std::to_string(i), 20) + (i % 2 == 0 ? "[DONE]" : ""));
}

BOOST_AUTO_TEST_CASE(the_limit_of_one_connection_is_not_that_of_all_clients_of_http_together) {
  front_fixture fixture([](engine_options& o) { o.limits.max_open_requests = 4 * max_requests_per_client; });
  http_client client(fixture.server->port());
  client.post("/v1/echo",
              nlohmann::json{{"prompt", "a"}, {"max_tokens", 1}, {"n", max_requests_per_client + 100}}.dump());
  BOOST_TEST(client.read().status == 200u);
}

BOOST_AUTO_TEST_CASE(what_the_engine_refuses_has_its_status) {
  front_fixture fixture([](engine_options& o) { o.limits.max_open_requests = 1; });
  fixture.engine.device->steps_gate.shut();
  http_client first(fixture.server->port()), second(fixture.server->port());
  first.post("/v1/echo", R"({"prompt": "a"})");
  fixture.engine.device->steps_gate.wait_for_somebody();
  second.post("/v1/echo", R"({"prompt": "b", "stream": true})");
  const auto refused = second.read();
  BOOST_TEST(refused.status == 429u);
  BOOST_TEST(refused.fields.contains("retry-after"));
  fixture.engine.device->steps_gate.open();
  BOOST_TEST(first.read().status == 200u);
}

BOOST_AUTO_TEST_CASE(a_client_that_goes_away_in_its_prefill_or_while_it_decodes_leaves_no_block) {
  front_fixture fixture;
  for (const std::string prompt : {"short", "long"}) {
    http_client client(fixture.server->port());
    if (prompt == "long")
      fixture.engine.device->steps_gate.shut();
    client.post("/v1/echo", nlohmann::json{{"prompt", prompt == "long" ? std::string(400, 'x') : prompt},
                                           {"max_tokens", 400},
                                           {"stream", true}}
                              .dump());
    if (prompt == "long")
      fixture.engine.device->steps_gate.wait_for_somebody();
    else
      client.until("\r\n\r\n");
    client.reset();
    fixture.engine.eventually("the request has ended", [&] { return fixture.engine.open_requests() == 0; });
    fixture.engine.device->steps_gate.open();
    fixture.engine.eventually("its blocks are free", [&] { return fixture.engine.blocks().owned == 0; });
  }
}

BOOST_AUTO_TEST_CASE(a_client_that_does_not_read_pauses_its_sequence_alone) {
  http_limits limits;
  limits.max_unsent_bytes = 64;
  limits.socket_send_bytes = 4096;
  front_fixture fixture({}, limits);
  fixture.engine.device->step_time = 1ms;
  http_client slow(fixture.server->port(), 2048), other(fixture.server->port());
  const std::string body =
    R"({"prompt": "a", "max_tokens": 480, "stream": true, "n": 64})"; // The kernel takes some of it.
  slow.post("/v1/echo", body);
  fixture.engine.eventually("it is paused and nothing runs", [&] {
    const auto before = fixture.engine.device->steps.load();
    std::this_thread::sleep_for(20ms);
    return fixture.engine.counts().paused > 0 && fixture.engine.device->steps.load() == before;
  });
  other.post("/v1/echo", R"({"prompt": "b", "max_tokens": 100, "stream": true})");
  BOOST_TEST(other.read().body == fixture.right_text("b", 100) + "[DONE]");
  // The kernel takes a little now and then, and it goes on for a moment.
  fixture.engine.eventually("it is paused still", [&] { return fixture.engine.counts().paused > 0; });
  const auto all = slow.read().body;
  BOOST_TEST(all.size() >= 64 * fixture.right_text("a", 480).size());
}

BOOST_AUTO_TEST_CASE(a_stream_that_dies_fails_its_requests_and_is_replaced) {
  front_fixture fixture;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<http_client>> clients;
    for (std::uint32_t i = 0; i < front_streams; ++i) {
      clients.push_back(std::make_unique<http_client>(fixture.server->port()));
      clients.back()->post("/v1/echo", R"({"prompt": "a", "max_tokens": 3})");
      BOOST_TEST(clients.back()->read().status == 200u); // By each of the streams.
    }
    fixture.engine.device->steps_gate.shut();
    for (auto& client : clients)
      client->post("/v1/echo", R"({"prompt": "a", "max_tokens": 3})");
    fixture.engine.eventually("all are admitted", [&] { return fixture.engine.open_requests() == front_streams; });
    for (auto& stream : fixture.streams->take())
      caf::anon_send_exit(stream, caf::exit_reason::kill);
    for (auto& client : clients)
      BOOST_TEST(client->read().status == 503u);
    fixture.engine.device->steps_gate.open();
    fixture.engine.eventually("there are others", [&] {
      std::lock_guard lock(fixture.streams->mutex);
      return fixture.streams->all.size() == front_streams;
    });
    fixture.engine.eventually("they are used", [&] {
      clients.front()->post("/v1/echo", R"({"prompt": "a", "max_tokens": 3})");
      return clients.front()->read().status == 200;
    });
  }
}

BOOST_AUTO_TEST_CASE(a_step_that_is_stuck_makes_the_server_unhealthy_until_it_ends) {
  http_limits limits;
  limits.stuck_step_ms = 50;
  front_fixture fixture({}, limits);
  fixture.engine.eventually("it is healthy", [&] { return fixture.get("/health").status == 200; });
  fixture.engine.device->steps_gate.shut();
  http_client client(fixture.server->port());
  client.post("/v1/echo", R"({"prompt": "a", "max_tokens": 3})");
  fixture.engine.device->steps_gate.wait_for_somebody();
  fixture.engine.eventually("it is not", [&] { return fixture.get("/health").status == 503; });
  BOOST_TEST(fixture.get("/ready").status == 200u);
  fixture.engine.device->steps_gate.open();
  BOOST_TEST(client.read().status == 200u);
  BOOST_TEST(fixture.get("/health").status == 200u);
}

BOOST_AUTO_TEST_CASE(an_engine_that_stops_ends_every_request_and_is_not_ready) {
  front_fixture fixture;
  fixture.engine.expect_failure = true;
  http_client client(fixture.server->port());
  client.post("/v1/echo", R"({"prompt": "a", "max_tokens": 480})");
  fixture.engine.eventually("it runs", [&] { return fixture.engine.open_requests() == 1; });
  fixture.engine.stop();
  client.read();
  fixture.engine.eventually("it is not ready", [&] { return fixture.get("/ready").status == 503; });
  client.post("/v1/echo", "{}");
  BOOST_TEST(client.read().status == 503u);
}

BOOST_AUTO_TEST_SUITE_END()
