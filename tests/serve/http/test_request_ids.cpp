// Every answer says which request it is for.
#include "tests/serve/http/http_fixture.hpp"

#include <regex>
#include <set>

#include "serve/http/checks.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(request_ids)

BOOST_AUTO_TEST_CASE(a_clients_id_is_taken_if_it_is_short_and_plain) {
  for (const std::string id : {"a", "01J-x_y.z:/+=@", "0123456789"})
    BOOST_TEST(serve::request_id_of(id) == id);
  BOOST_TEST(serve::request_id_of(std::string(128, 'x')) == std::string(128, 'x'));
  const std::regex ours("req_[0-9a-f]{32}");
  std::set<std::string> made;
  for (const std::string& id : {std::string(), std::string(129, 'x'), std::string("a b"), std::string("a\"b"),
                                std::string("\xc3\xa4"), std::string("a\0b", 3)}) {
    const auto given = serve::request_id_of(id);
    BOOST_TEST(std::regex_match(given, ours), given);
    made.insert(given);
  }
  BOOST_TEST(made.size() == 6u);
}

BOOST_AUTO_TEST_CASE(answers_streams_and_errors_have_it) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  const std::string mine = "X-Request-Id: mine\r\n";
  client.get("/live", mine);
  auto got = client.read();
  BOOST_TEST(got.fields.at("x-request-id") == "mine");
  BOOST_TEST(!got.fields.contains("request-id"));
  client.get("/nowhere", mine);
  BOOST_TEST(client.read().fields.at("x-request-id") == "mine");
  client.get("/live");
  BOOST_TEST(client.read().fields.at("x-request-id").starts_with("req_"));
  client.post("/v1/echo", R"({"stream": true})", mine);
  const auto id = fixture.engine->request(1).id;
  fixture.engine->say(id, "x");
  fixture.engine->end(id);
  BOOST_TEST(client.read().fields.at("x-request-id") == "mine");
  client.send("nonsense\r\n\r\n");
  BOOST_TEST(client.read().fields.at("x-request-id").starts_with("req_"));
}

BOOST_AUTO_TEST_CASE(anthropics_api_has_it_by_its_own_names) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/messages", "[]", "X-Request-Id: mine\r\n"); // Refused by the API,
  auto got = client.read();
  BOOST_TEST(got.fields.at("request-id") == "mine");
  BOOST_TEST(nlohmann::json::parse(got.body)["request_id"] == "mine");
  client.get("/v1/messages", "X-Request-Id: mine\r\n"); // and by the transport.
  got = client.read();
  BOOST_TEST(got.status == 405u);
  BOOST_TEST(nlohmann::json::parse(got.body)["request_id"] == "mine");
  client.post("/v1/messages", "{}", "X-Request-Id: mine\r\n");
  const auto id = fixture.engine->request(1).id;
  fixture.engine->say(id, "whole");
  fixture.engine->end(id);
  got = client.read();
  BOOST_TEST(got.fields.at("request-id") == "mine");
  BOOST_TEST(got.body == "whole");
}

BOOST_AUTO_TEST_SUITE_END()
