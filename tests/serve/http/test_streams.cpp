// Calls that run: streams, clients that go away or do not read, an engine that fails.
#include "tests/serve/http/http_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(http_streams)

namespace {

constexpr char streamed[] = R"({"stream": true})";

} // namespace

BOOST_AUTO_TEST_CASE(a_stream_is_sent_as_it_comes_and_nothing_of_it_is_kept_back) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/echo", streamed);
  const auto id = fixture.engine->request(1).id;
  BOOST_TEST(client.quiet_for(50ms)); // Its head waits for the first bytes.
  fixture.engine->say(id, "one");
  const auto head = client.head();
  BOOST_TEST(head.status == 200u);
  BOOST_TEST(head.fields.at("content-type").starts_with("text/event-stream"));
  BOOST_TEST(head.fields.at("cache-control") == "no-cache");
  client.until("one\r\n");
  fixture.engine->say(id, "two");
  client.until("two\r\n");
  fixture.engine->end(id);
  BOOST_TEST(client.chunks() == "onetwo[DONE]");
}

BOOST_AUTO_TEST_CASE(a_client_of_http_1_0_gets_a_stream_that_ends_with_the_connection) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.send("POST /v1/echo HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 16\r\nConnection: "
              "keep-alive\r\n\r\n" +
              std::string(streamed));
  const auto id = fixture.engine->request(1).id;
  fixture.engine->say(id, "one");
  fixture.engine->end(id);
  BOOST_TEST(!client.head().fields.contains("transfer-encoding"));
  BOOST_TEST(client.rest() == "one[DONE]");
}

BOOST_AUTO_TEST_CASE(an_error_before_the_first_bytes_has_its_status_and_a_time_to_come_back) {
  http_fixture fixture;
  std::size_t number = 0;
  for (const std::string body : {streamed, "{}"}) {
    http_client client(fixture.server->port());
    client.post("/v1/echo", body);
    const auto id = fixture.engine->request(++number).id;
    fixture.engine->end(id, {errc::queue_full, "Too many.", 2001});
    const auto got = client.read();
    BOOST_TEST(got.status == 429u);
    BOOST_TEST(got.fields.at("retry-after") == "3");
  }
}

BOOST_AUTO_TEST_CASE(requests_of_one_call_end_it_together_and_it_is_all_cancelled_with_its_client) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/echo", R"({"n": 3, "stream": true})");
  const auto first = fixture.engine->request(3).id - 2;
  fixture.engine->say(first + 2, "c");
  fixture.engine->end(first + 1);
  fixture.engine->end(first);
  fixture.engine->end(first); // Twice is once.
  client.until("c\r\n");
  BOOST_TEST(client.quiet_for(50ms));
  client.close();
  fixture.engine->eventually("the last one is cancelled", [&] { return fixture.engine->cancelled[first + 2] == 1; });
  BOOST_TEST(fixture.engine->cancelled.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_request_that_fails_ends_its_call_and_the_others_are_cancelled) {
  for (const bool stream : {false, true}) {
    http_fixture fixture;
    http_client client(fixture.server->port());
    client.post("/v1/echo", nlohmann::json{{"n", 3}, {"stream", stream}}.dump());
    const auto last = fixture.engine->request(3).id;
    fixture.engine->end(last - 1, {errc::context_overflow, "It is too long."});
    BOOST_TEST(client.read().status == 400u);
    fixture.engine->eventually("the others are cancelled", [&] {
      return fixture.engine->cancelled == std::map<request_id, int>{{last - 2, 1}, {last, 1}};
    });
    fixture.engine->end(last); // Its end comes all the same.
    client.post("/v1/echo", "{}");
    fixture.engine->end(fixture.engine->request(4).id);
    BOOST_TEST(client.read().status == 200u);
  }
}

BOOST_AUTO_TEST_CASE(a_client_that_goes_away_is_cancelled_while_nothing_is_sent) {
  http_fixture fixture;
  std::size_t number = 0;
  for (const std::string body : {streamed, "{}"})
    for (const bool by_reset : {true, false}) {
      http_client client(fixture.server->port());
      client.post("/v1/echo", body);
      const auto id = fixture.engine->request(++number).id;
      by_reset ? client.reset() : client.close();
      fixture.engine->eventually("it is cancelled", [&] { return fixture.engine->cancelled.contains(id); });
      fixture.engine->say(id, "too late"); // Nobody minds.
      fixture.engine->end(id);
    }
  BOOST_TEST(fixture.get("/live").status == 200u);
}

BOOST_AUTO_TEST_CASE(a_client_that_does_not_read_is_paused_and_goes_on_when_it_reads) {
  http_fixture fixture;
  http_client slow(fixture.server->port(), 4096);
  slow.post("/v1/echo", streamed);
  const auto id = fixture.engine->request(1).id;
  http_client other(fixture.server->port());
  other.post("/v1/echo", streamed);
  const auto others = fixture.engine->request(2).id;
  const std::string piece(64 << 10, 'x');
  std::size_t said = 0;
  for (; said < 200 && fixture.engine->paused.empty(); ++said) {
    fixture.engine->say(id, piece);
    fixture.engine->say(others, "y");
    other.until("y\r\n");
    other.in.clear();
  }
  fixture.engine->eventually("it is paused", [&] { return fixture.engine->paused[id] == 1; });
  BOOST_TEST(said * piece.size() < 2u << 20); // What the limit says, and buffers of the kernel.
  BOOST_TEST(!fixture.engine->paused.contains(others));
  BOOST_TEST(fixture.engine->resumed.empty());
  slow.head();
  std::size_t got = slow.in.size();
  while (got < said * piece.size()) {
    slow.in.clear();
    BOOST_REQUIRE(slow.more());
    got += slow.in.size();
  }
  fixture.engine->eventually("it goes on", [&] { return fixture.engine->resumed[id] == 1; });
  fixture.engine->end(id);
  slow.until("[DONE]");
  BOOST_TEST(fixture.engine->paused[id] == 1);
}

BOOST_AUTO_TEST_CASE(a_client_that_never_reads_is_cut_and_nobody_else) {
  http_fixture fixture([](http_options& o) { o.limits.stalled_ms = 300; });
  http_client slow(fixture.server->port(), 4096), other(fixture.server->port());
  slow.post("/v1/echo", streamed);
  const auto id = fixture.engine->request(1).id;
  other.post("/v1/echo", streamed);
  const auto others = fixture.engine->request(2).id;
  for (int i = 0; i < 32; ++i)
    fixture.engine->say(id, std::string(64 << 10, 'x'));
  fixture.engine->say(others, "y");
  fixture.engine->eventually("it is cut", [&] { return fixture.engine->cancelled[id] == 1; });
  fixture.engine->end(others);
  BOOST_TEST(other.read().body == "y[DONE]"); // It was silent for as long.
}

BOOST_AUTO_TEST_CASE(what_a_lost_stream_carried_fails_and_new_requests_go_on) {
  http_fixture fixture;
  http_client silent(fixture.server->port()), begun(fixture.server->port());
  silent.post("/v1/echo", streamed);
  fixture.engine->request(1);
  begun.post("/v1/echo", streamed);
  fixture.engine->say(fixture.engine->request(2).id, "begun");
  begun.until("begun\r\n");
  fixture.engine->lose_stream();
  BOOST_TEST(silent.read().status == 503u);
  BOOST_TEST(begun.read().body == "begun[DONE]"); // How a stream tells of an error is the API's.
  silent.post("/v1/echo", "{}");
  fixture.engine->end(fixture.engine->request(3).id);
  BOOST_TEST(silent.read().status == 200u);
}

BOOST_AUTO_TEST_CASE(without_a_stream_a_call_ends_at_once) {
  http_fixture fixture;
  fixture.engine->stream.reset();
  http_client client(fixture.server->port());
  client.post("/v1/echo", "{}");
  BOOST_TEST(client.read().status == 503u);
  client.post("/v1/echo", R"({"n": 0})"); // It asks for nothing.
  BOOST_TEST(client.read().status == 200u);
}

BOOST_AUTO_TEST_CASE(a_call_that_throws_is_500_or_cut_and_its_requests_are_cancelled) {
  http_fixture fixture;
  http_client silent(fixture.server->port()), begun(fixture.server->port());
  silent.post("/v1/echo", streamed);
  const auto first = fixture.engine->request(1).id;
  begun.post("/v1/echo", streamed);
  const auto second = fixture.engine->request(2).id;
  fixture.engine->say(second, "begun");
  begun.until("begun\r\n");
  fixture.engine->say(first, "throw");
  fixture.engine->say(second, "throw");
  BOOST_TEST(silent.read().status == 500u);
  begun.rest();
  fixture.engine->eventually("both are cancelled", [&] { return fixture.engine->cancelled.size() == 2; });
}

BOOST_AUTO_TEST_CASE(a_server_that_goes_cancels_what_is_open_and_ends) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/echo", streamed);
  const auto id = fixture.engine->request(1).id;
  fixture.server.reset();
  BOOST_TEST(fixture.engine->cancelled[id] == 1);
  BOOST_TEST(client.rest().empty());
  fixture.engine->say(id, "x"); // To nobody.
}

BOOST_AUTO_TEST_SUITE_END()
