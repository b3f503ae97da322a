// HTTP as the wire has it: one request after the other, whole bodies, and what is no HTTP.
#include "tests/serve/http/http_fixture.hpp"

#include <random>

#include "tests/support/number_from.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(http_connection)

namespace {

/// Answers the request with this number, which asked for a whole answer.
void answer(http_fixture& fixture, std::size_t number, const std::string& text) {
  const auto id = fixture.engine->request(number).id;
  fixture.engine->say(id, text);
  fixture.engine->end(id);
}

} // namespace

BOOST_AUTO_TEST_CASE(many_requests_share_one_connection) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  for (std::size_t i = 1; i <= 20; ++i) {
    client.post("/v1/echo", R"({"prompt": "hello"})");
    answer(fixture, i, "answer " + std::to_string(i));
    const auto got = client.read();
    BOOST_TEST(got.status == 200u);
    BOOST_TEST(got.body == "answer " + std::to_string(i));
    BOOST_TEST(got.fields.at("connection") == "keep-alive");
    BOOST_TEST(got.fields.at("content-type") == "application/json");
    client.get("/live");
    BOOST_TEST(client.read().status == 200u);
  }
  BOOST_TEST(std::get<prompt_text>(fixture.engine->request(1).prompt) == "hello");
}

BOOST_AUTO_TEST_CASE(a_client_that_wants_it_closed_gets_it_closed) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.get("/live", "Connection: close\r\n");
  const auto got = client.read();
  BOOST_TEST(got.fields.at("connection") == "close");
  BOOST_TEST(client.rest().empty());
  http_client old(fixture.server->port());
  old.send("GET /live HTTP/1.0\r\n\r\n");
  BOOST_TEST(old.rest().starts_with("HTTP/1.1 200"));
}

BOOST_AUTO_TEST_CASE(pipelined_requests_are_answered_in_their_order) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/echo", R"({"stream": true})");
  client.post("/v1/echo", "{}");
  client.get("/version");
  answer(fixture, 1, "one");
  BOOST_TEST(client.read().body == "one[DONE]");
  answer(fixture, 2, "two");
  BOOST_TEST(client.read().body == "two");
  BOOST_TEST(client.read().body.find("1.2.3") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_request_may_come_byte_by_byte_and_its_body_in_chunks) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  for (char c : std::string(
         "POST http://host/v1/echo?x=1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: "
         "application/json; charset=utf-8\r\n\r\n5;e=1\r\n{\"pro\r\ne\r\nmpt\": \"whole\"}\r\n0\r\nT: x\r\n\r\n"))
    client.send({&c, 1});
  answer(fixture, 1, "x");
  BOOST_TEST(client.read().body == "x");
  BOOST_TEST(std::get<prompt_text>(fixture.engine->request(1).prompt) == "whole");
}

BOOST_AUTO_TEST_CASE(a_large_body_is_read_elsewhere_and_answered_all_the_same) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  const std::string text(3u << 20, 'x');
  client.post("/v1/echo", R"({"prompt": ")" + text + R"("})");
  BOOST_TEST(std::get<prompt_text>(fixture.engine->request(1).prompt).size() == text.size());
  answer(fixture, 1, "read");
  BOOST_TEST(client.read().body == "read");
  client.post("/v1/echo", R"({"throw": ")" + text + R"("})");
  BOOST_TEST(client.read().status == 500u);
}

BOOST_AUTO_TEST_CASE(a_client_that_asks_before_it_sends_is_told_to_go_on_or_not) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  const std::string fields =
    " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: ";
  client.send("POST /v1/echo" + fields + "2\r\n\r\n");
  BOOST_TEST(client.head().status == 100u);
  client.send("{}");
  answer(fixture, 1, "x");
  BOOST_TEST(client.read().body == "x");
  client.send("POST /v1/nothing" + fields + "2\r\n\r\n");
  BOOST_TEST(client.read().status == 404u);
  BOOST_TEST(client.rest().empty());
  http_client other(fixture.server->port());
  other.send("GET /live HTTP/1.1\r\nHost: localhost\r\nExpect: the unexpected\r\n\r\n");
  BOOST_TEST(other.read().status == 417u);
}

BOOST_AUTO_TEST_CASE(what_is_no_http_is_400_and_the_end) {
  http_fixture fixture;
  const std::pair<std::string, unsigned> cases[] = {
    {"hello\r\n\r\n", 400},
    {"GET  /live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
    {"GET /live HTTP/2.0\r\nHost: localhost\r\n\r\n", 400},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
    {"GET /live HTTP/1.1\r\nHost: localhost\r\nbad field\r\n\r\n", 400},
    {"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400},
    {"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400},
    {"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: "
     "chunked\r\n\r\nzz\r\n",
     400},
  };
  for (const auto& [bytes, status] : cases)
    BOOST_TEST_CONTEXT(bytes) {
      http_client client(fixture.server->port());
      client.send(bytes);
      const auto got = client.read();
      BOOST_TEST(got.status == status);
      BOOST_TEST(nlohmann::json::parse(got.body)["error"]["message"].get<std::string>().ends_with("."));
      BOOST_TEST(client.rest().empty());
    }
  http_client nowhere(fixture.server->port());
  nowhere.send("GET /live HTTP/1.1\r\n\r\n"); // It has no Host.
  BOOST_TEST(nowhere.read().status == 400u);
}

BOOST_AUTO_TEST_CASE(a_body_that_is_no_json_by_its_type_or_is_compressed_is_415) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.send("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
  BOOST_TEST(client.read().status == 415u);
  client.send("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}");
  BOOST_TEST(client.read().status == 415u);
  client.post("/v1/echo", "{}", "Content-Encoding: gzip\r\n");
  BOOST_TEST(client.read().status == 415u);
}

BOOST_AUTO_TEST_CASE(what_the_api_throws_is_500_and_the_connection_goes_on) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/echo", R"({"throw": 1})");
  BOOST_TEST(client.read().status == 500u);
  client.get("/live");
  BOOST_TEST(client.read().status == 200u);
}

BOOST_AUTO_TEST_CASE(malformed_requests_never_crash_it_and_are_never_its_own_error) {
  http_fixture fixture(
    [](http_options& o) { o.limits.header_ms = o.limits.body_ms = o.limits.idle_ms = o.limits.linger_ms = 60; });
  fixture.engine->stream.reset(); // What is taken by accident ends at once: with 503, which is right.
  const auto cases = number_from("TROUPE_FUZZ_COUNT", 500);
  std::mt19937 random(7);
  const std::string seeds[] = {
    "GET /live HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    "17\r\n\r\n{\"prompt\": "
    "\"abc\"}",
    "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nOrigin: y\r\nAccess-Control-Request-Method: z\r\n\r\n",
    "GET /v1/models/%2f%zz HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"};
  const std::string pieces[] = {"\r\n",
                                "\n",
                                ":",
                                " ",
                                std::string(1, '\0'),
                                "\xff",
                                "Content-Length: 99999999999999999999\r\n",
                                "Transfer-Encoding: chunked\r\n",
                                "HTTP/1.1",
                                "%",
                                "\t",
                                "0\r\n",
                                ";",
                                "Expect: 100-continue\r\n"};
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  const auto malformed = [&] {
    auto bytes = seeds[below(std::size(seeds))];
    for (auto changes = 1 + below(6); changes > 0; --changes) {
      const auto at = below(bytes.size() + 1);
      switch (below(4)) {
      case 0:
        bytes.insert(at, pieces[below(std::size(pieces))]);
        break;
      case 1:
        bytes.erase(at, below(8));
        break;
      case 2:
        bytes.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 3:
        bytes = bytes.substr(0, at) + bytes.substr(below(bytes.size() + 1));
        break;
      }
    }
    return bytes;
  };
  for (std::uint64_t done = 0; done < cases; done += 50) {
    std::vector<std::pair<std::string, std::unique_ptr<http_client>>> clients(50);
    for (auto& [bytes, client] : clients) {
      bytes = malformed();
      client = std::make_unique<http_client>(fixture.server->port());
      client->send(bytes);
    }
    for (auto& [bytes, client] : clients) {
      const auto all = client->rest();
      BOOST_TEST((all.empty() || all.starts_with("HTTP/1.1 ")), all);
      for (auto at = all.find("HTTP/1.1 5"); at != all.npos; at = all.find("HTTP/1.1 5", at + 1)) {
        const auto status = all.substr(at + 9, 3);
        BOOST_TEST(status == "503", bytes << " got " << all); // 503: there is no stream.
      }
    }
  }
  BOOST_TEST(fixture.get("/live").status == 200u);
}

BOOST_AUTO_TEST_SUITE_END()
