// Every limit, and what is said of it.
#include "tests/serve/http/http_fixture.hpp"

#include <future>

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(http_limits_of_the_transport)

namespace {

auto with(std::function<void(http_limits&)> change) {
  return [change = std::move(change)](http_options& options) { change(options.limits); };
}

const std::string json_post = "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

} // namespace

BOOST_AUTO_TEST_CASE(a_body_that_is_too_large_is_413_whether_its_size_was_said_or_not) {
  http_fixture fixture(with([](http_limits& limits) { limits.max_body_bytes = 1 << 20; }));
  http_client said(fixture.server->port());
  said.send(json_post + "Content-Length: 1048577\r\n\r\n");
  BOOST_TEST(said.read().status == 413u);
  BOOST_TEST(said.rest().empty());
  http_client unsaid(fixture.server->port());
  unsaid.send(json_post + "Transfer-Encoding: chunked\r\n\r\n100001\r\n" + std::string(0x100001, ' '));
  BOOST_TEST(unsaid.read().status == 413u);
  http_client messages(fixture.server->port());
  messages.send("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n");
  BOOST_TEST(nlohmann::json::parse(messages.read().body)["error"]["type"] == "request_too_large");
}

BOOST_AUTO_TEST_CASE(a_client_that_sends_too_much_all_at_once_reads_the_refusal) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.send(json_post + "Content-Length: 50000000\r\n\r\n");
  std::thread sender([&] { client.send(std::string(50000000, ' ')); });
  BOOST_TEST(client.read().status == 413u);
  sender.join();
}

BOOST_AUTO_TEST_CASE(a_header_that_is_too_large_or_has_too_many_fields_is_431) {
  http_fixture fixture;
  http_client large(fixture.server->port());
  large.send("GET /live HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(70000, 'x') + "\r\n\r\n");
  BOOST_TEST(large.read().status == 431u);
  http_client many(fixture.server->port());
  std::string fields;
  for (int i = 0; i < 130; ++i)
    fields += "X-" + std::to_string(i) + ": x\r\n";
  many.get("/live", fields);
  BOOST_TEST(many.read().status == 431u);
  http_client endless(fixture.server->port());
  endless.send(std::string(70000, 'G'));
  BOOST_TEST(endless.read().status >= 400u);
}

BOOST_AUTO_TEST_CASE(a_path_that_is_too_long_is_414) {
  http_fixture fixture;
  BOOST_TEST(fixture.get("/" + std::string(9000, 'x')).status == 414u);
}

BOOST_AUTO_TEST_CASE(the_size_of_a_chunk_without_an_end_is_refused) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.send(json_post + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(1 << 20, 'x'));
  BOOST_TEST(client.read().status >= 400u);
}

BOOST_AUTO_TEST_CASE(a_header_that_does_not_end_in_time_is_408_and_so_is_a_body) {
  http_fixture fixture(with([](http_limits& limits) { limits.header_ms = limits.body_ms = 100; }));
  http_client head(fixture.server->port());
  head.send("GET /live HT");
  BOOST_TEST(head.read().status == 408u);
  BOOST_TEST(head.rest().empty());
  http_client body(fixture.server->port());
  body.send(json_post + "Content-Length: 5\r\n\r\n{");
  BOOST_TEST(body.read().status == 408u);
}

BOOST_AUTO_TEST_CASE(a_connection_without_a_request_is_closed_in_time_and_one_that_waits_is_not) {
  http_fixture fixture(with([](http_limits& limits) { limits.idle_ms = 100; }));
  http_client waits(fixture.server->port());
  waits.post("/v1/echo", "{}");
  http_client idle(fixture.server->port());
  idle.get("/live");
  idle.read();
  BOOST_TEST(idle.rest().empty());
  BOOST_TEST(waits.quiet_for(200ms));
  fixture.engine->end(fixture.engine->request(1).id);
  BOOST_TEST(waits.read().status == 200u);
}

BOOST_AUTO_TEST_CASE(one_connection_too_many_is_told_503) {
  http_fixture fixture(with([](http_limits& limits) { limits.max_connections = 2; }));
  http_client first(fixture.server->port()), second(fixture.server->port());
  for (auto* each : {&first, &second}) {
    each->get("/live");
    BOOST_TEST(each->read().status == 200u);
  }
  http_client third(fixture.server->port());
  const auto refused = third.read();
  BOOST_TEST(refused.status == 503u);
  BOOST_TEST(refused.fields.contains("retry-after"));
  BOOST_TEST(third.rest().empty());
  first.close();
  unsigned status = 503; // Until the server has seen that the first one is gone.
  for (int i = 0; i < 3000 && status == 503; ++i) {
    std::this_thread::sleep_for(1ms);
    http_client next(fixture.server->port());
    next.get("/live");
    status = next.read().status;
  }
  BOOST_TEST(status == 200u);
}

BOOST_AUTO_TEST_CASE(one_request_too_many_is_429_with_a_time_to_come_back) {
  http_fixture fixture(with([](http_limits& limits) { limits.max_calls = 2; }));
  http_client first(fixture.server->port()), second(fixture.server->port()), third(fixture.server->port());
  first.post("/v1/echo", "{}");
  second.post("/v1/echo", "{}");
  fixture.engine->request(2);
  third.post("/v1/echo", "{}");
  const auto refused = third.read();
  BOOST_TEST(refused.status == 429u);
  BOOST_TEST(refused.fields.at("retry-after") == "1");
  fixture.engine->end(fixture.engine->request(1).id);
  BOOST_TEST(first.read().status == 200u);
  third.post("/v1/echo", "{}"); // Its connection was kept.
  fixture.engine->end(fixture.engine->request(3).id);
  BOOST_TEST(third.read().status == 200u);
}

BOOST_AUTO_TEST_CASE(all_bodies_together_have_a_limit) {
  http_fixture fixture(with([](http_limits& limits) { limits.max_bodies_bytes = 1000; }));
  http_client first(fixture.server->port());
  first.send(json_post + "Content-Length: 900\r\n\r\n{");
  while (fixture.get("/live").status != 200) // It has come when this one has.
    ;
  http_client second(fixture.server->port());
  second.post("/v1/echo", "{\"prompt\": \"" + std::string(200, 'x') + "\"}");
  BOOST_TEST(second.read().status == 503u);
  http_client chunked(fixture.server->port());
  chunked.send(json_post + "Transfer-Encoding: chunked\r\n\r\n200\r\n" + std::string(0x200, ' '));
  BOOST_TEST(chunked.read().status == 503u);
  first.close();
  for (int i = 0; i < 3000; ++i) {
    http_client third(fixture.server->port());
    third.post("/v1/echo", "[\"" + std::string(200, 'x') + "\"]");
    if (third.read().status == 400)
      return; // It was read.
  }
  BOOST_ERROR("the room of a body that never came is not given back");
}

BOOST_AUTO_TEST_CASE(a_body_that_nobody_reads_is_refused_and_takes_no_room_from_those_that_are) {
  http_fixture fixture(with([](http_limits& limits) { limits.max_bodies_bytes = 1000; }));
  std::vector<std::unique_ptr<http_client>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<http_client>(fixture.server->port()));
    clients.back()->send("GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000\r\n\r\nx");
  }
  http_client large(fixture.server->port());
  large.send("GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554432\r\n\r\n");
  BOOST_TEST(large.read().status == 413u);
  BOOST_TEST(large.rest().empty());
  http_client chunked(fixture.server->port());
  chunked.send("GET /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" +
               std::string(0x4000, ' '));
  BOOST_TEST(chunked.read().status == 413u);
  http_client api(fixture.server->port());
  api.post("/v1/echo", "[\"" + std::string(800, 'x') + "\"]");
  BOOST_TEST(api.read().status == 400u); // It was read.
  clients[0]->send(std::string(7999, 'x'));
  BOOST_TEST(clients[0]->read().status == 200u);
}

BOOST_AUTO_TEST_CASE(a_body_whose_client_has_gone_takes_its_room_until_it_is_read_or_dropped) {
  std::promise<void> begun, gate;
  std::atomic<int> reads = 0;
  while_reading = [&, open = gate.get_future().share()] {
    if (reads++ == 0)
      begun.set_value();
    open.wait();
  };
  http_fixture fixture(with([](http_limits& limits) {
    limits.inline_body_bytes = 10;
    limits.max_bodies_bytes = 1000;
  }));
  const auto body = [](std::size_t bytes) { return "[\"" + std::string(bytes, 'x') + "\"]"; };
  http_client first(fixture.server->port());
  first.post("/v1/echo", body(800));
  begun.get_future().wait();
  http_client second(fixture.server->port()); // Waits for the one thread that reads.
  second.post("/v1/echo", body(100));
  BOOST_TEST(fixture.get("/live").status == 200u);
  first.reset();
  second.reset();
  for (int i = 0; i < 20; ++i) {
    http_client third(fixture.server->port());
    third.post("/v1/echo", body(400));
    BOOST_TEST(third.read().status == 503u);
  }
  gate.set_value();
  unsigned status = 503;
  for (int i = 0; i < 3000 && status == 503; ++i) {
    http_client third(fixture.server->port());
    third.post("/v1/echo", body(400));
    status = third.read().status;
  }
  BOOST_TEST(status == 400u);
  BOOST_TEST(reads == 2); // That of the second client was not.
  fixture.server.reset();
  while_reading = nullptr;
}

BOOST_AUTO_TEST_CASE(who_pipelines_without_end_is_cut) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/echo", "{}");
  fixture.engine->request(1);
  client.send(std::string(1 << 20, 'x'));
  fixture.engine->eventually("its request is cancelled", [&] { return !fixture.engine->cancelled.empty(); });
}

BOOST_AUTO_TEST_SUITE_END()
