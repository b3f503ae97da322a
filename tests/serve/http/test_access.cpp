// Who may use what: the table of routes, keys, origins.
#include "tests/serve/http/http_fixture.hpp"

#include <set>

#include "tests/support/temporary_file.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(http_access)

namespace {

const auto with_keys = [](http_options& options) {
  BOOST_REQUIRE(options.keys.add_list("first, second", "the test"));
};

temporary_file text_file(std::string_view text) {
  return temporary_file(std::as_bytes(std::span(text)), ".txt");
}

std::string request_for(const route& each, const std::string& fields) {
  auto path = each.path;
  if (path.ends_with('*'))
    path.back() = 'x';
  const std::string body = each.method == "POST" ? "{}" : "";
  return each.method + " " + path +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

unsigned status_of(http_fixture& fixture, const std::string& request) {
  http_client client(fixture.server->port());
  client.send(request);
  return client.read().status;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_route_but_the_probes_and_the_page_needs_a_key) {
  http_fixture fixture(with_keys);
  fixture.engine->stream.reset(); // What the API begins ends at once.
  const std::set<std::string> open{"/", "/live", "/ready", "/health"};
  std::size_t seen = 0;
  for (const auto& each : fixture.server->routes().all()) {
    BOOST_TEST_CONTEXT(each.method << " " << each.path) {
      for (const std::string fields : {"", "Authorization: Bearer wrong\r\n", "Authorization: Basic first\r\n",
                                       "x-api-key: firs\r\n", "x-api-key:\r\n", "Authorization: Bearer\r\n",
                                       "Authorization: first\r\n", "Authorization: Bearer first,second\r\n"})
        BOOST_TEST((status_of(fixture, request_for(each, fields)) == 401) == !open.contains(each.path));
      for (const std::string fields :
           {"Authorization: Bearer first\r\n", "authorization: bearer second\r\n", "X-Api-Key: second\r\n"})
        BOOST_TEST(status_of(fixture, request_for(each, fields)) != 401u);
    }
    seen += open.contains(each.path);
  }
  BOOST_TEST(seen == open.size());
}

BOOST_AUTO_TEST_CASE(a_refusal_for_want_of_a_key_has_the_shape_of_the_api_and_says_what_to_send) {
  http_fixture fixture(with_keys);
  http_client client(fixture.server->port());
  client.post("/v1/echo", "{}");
  const auto refused = client.read();
  BOOST_TEST(refused.status == 401u);
  BOOST_TEST(refused.fields.at("www-authenticate").starts_with("Bearer"));
  const auto body = nlohmann::json::parse(refused.body);
  BOOST_TEST(body["error"]["type"] == "authentication_error");
  BOOST_TEST(body["error"]["code"] == "invalid_api_key");
  BOOST_TEST(body["error"]["param"].is_null());
  client.post("/v1/messages", "{}"); // The connection goes on.
  const auto other = nlohmann::json::parse(client.read().body);
  BOOST_TEST(other["type"] == "error");
  BOOST_TEST(other["error"]["type"] == "authentication_error");
}

BOOST_AUTO_TEST_CASE(without_keys_any_bearer_passes) {
  http_fixture fixture;
  BOOST_TEST(fixture.get("/version").status == 200u);
  BOOST_TEST(fixture.get("/version", "Authorization: Bearer whatever\r\n").status == 200u);
}

BOOST_AUTO_TEST_CASE(a_server_without_keys_answers_only_to_the_names_of_this_machine) {
  const auto status = [](http_fixture& fixture, const std::string& host) {
    return status_of(fixture, "GET /version HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
  };
  http_fixture closed;
  for (const std::string host : {"localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.2:1", "[::1]", "[::1]:8000"})
    BOOST_TEST(status(closed, host) == 200u, host);
  for (const std::string host : {"attacker.example", "attacker.example:8000", "localhost.attacker.example",
                                 "10.0.0.1", "[::2]:80", "127.0.0.1.attacker.example", "["})
    BOOST_TEST(status(closed, host) == 403u, host);
  http_fixture open([](http_options& o) { o.open_access = true; });
  BOOST_TEST(status(open, "name.example") == 200u);
  http_fixture keyed(with_keys);
  BOOST_TEST(status(keyed, "name.example") == 401u);
}

BOOST_AUTO_TEST_CASE(keys_come_from_files_and_lists_and_a_source_without_any_is_an_error) {
  api_keys keys;
  BOOST_TEST(keys.allow("", ""));
  BOOST_REQUIRE(keys.add_list(" a ,,b", "X"));
  BOOST_TEST(!keys.allow("", ""));
  BOOST_TEST(keys.allow("", "a"));
  BOOST_TEST(keys.allow("Bearer b", ""));
  BOOST_TEST(!keys.allow("Bearer a,b", ""));
  const auto file = text_file("one\r\n\n  two \n");
  BOOST_REQUIRE(keys.add_file(file.path()));
  BOOST_TEST(keys.allow("Bearer one", ""));
  BOOST_TEST(keys.allow("Bearer two", "wrong"));
  BOOST_TEST(!keys.add_file(text_file(" \n").path()).has_value());
  const auto large = keys.add_file("/dev/zero");
  BOOST_REQUIRE(!large);
  BOOST_CHECK(large.error().code == errc::limit_exceeded);
  BOOST_TEST(!keys.add_file("/no/such/file").has_value());
  BOOST_TEST(!keys.add_file("/").has_value());
  BOOST_TEST(!keys.add_list("", "X").has_value());
  BOOST_TEST(!keys.add_list("a b", "X").has_value());
  BOOST_TEST(!keys.add(std::string(max_api_key_bytes + 1, 'x')).has_value());
}

BOOST_AUTO_TEST_CASE(without_a_key_other_machines_are_let_in_by_consent_alone) {
  http_options options;
  options.host = "0.0.0.0";
  options.port = 0;
  auto refused = http_server::start(options, {});
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().message.find("--allow-open-access") != std::string::npos);
  options.open_access = true;
  BOOST_TEST(http_server::start(options, {}).has_value());
  options.open_access = false;
  BOOST_REQUIRE(options.keys.add("key"));
  BOOST_TEST(http_server::start(options, {}).has_value());
}

BOOST_AUTO_TEST_CASE(a_taken_port_is_an_error_with_its_number) {
  http_fixture fixture;
  http_options options;
  options.port = fixture.server->port();
  auto second = http_server::start(options, {});
  BOOST_REQUIRE(!second);
  BOOST_TEST(second.error().message.find(std::to_string(options.port)) != std::string::npos);
  BOOST_TEST(fixture.get("/live").status == 200u);
}

BOOST_AUTO_TEST_CASE(an_unknown_path_is_404_and_a_wrong_method_405_with_those_that_are_right) {
  http_fixture fixture;
  BOOST_TEST(fixture.get("/v1/nothing").status == 404u);
  BOOST_TEST(fixture.get("/v1/models/").status == 404u);
  const auto wrong = fixture.get("/v1/echo");
  BOOST_TEST(wrong.status == 405u);
  BOOST_TEST(wrong.fields.at("allow") == "POST, OPTIONS");
  for (const auto& each : fixture.server->routes().all()) {
    http_client client(fixture.server->port());
    auto other = each;
    other.method = "DELETE";
    client.send(request_for(other, ""));
    const auto answer = client.read();
    BOOST_TEST(answer.status == 405u);
    BOOST_TEST(answer.fields.at("allow").find(each.method) != std::string::npos);
    other.method = "OPTIONS";
    client.send(request_for(other, ""));
    BOOST_TEST(client.read(false).status == 204u);
  }
}

BOOST_AUTO_TEST_CASE(head_is_get_without_its_body) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  for (const std::string path :
       {"/live", "/ready", "/health", "/version", "/load", "/v1/models", "/v1/models/tiny"}) {
    const auto whole = fixture.get(path);
    client.send("HEAD " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const auto head = client.read(false);
    BOOST_TEST(head.status == 200u);
    BOOST_TEST(head.fields.at("content-length") == std::to_string(whole.body.size()));
    BOOST_TEST(client.in.empty());
  }
}

BOOST_AUTO_TEST_CASE(no_origin_is_allowed_unless_it_was_named) {
  const std::string page = "Origin: https://page.example\r\n";
  http_fixture closed;
  BOOST_TEST(!closed.get("/live", page).fields.contains("access-control-allow-origin"));
  http_fixture fixture([](http_options& o) { o.cors_origins = {"https://page.example"}; });
  BOOST_TEST(fixture.get("/live", page).fields.at("access-control-allow-origin") == "https://page.example");
  const auto other = fixture.get("/live", "Origin: https://other.example\r\n");
  BOOST_TEST(!other.fields.contains("access-control-allow-origin"));
  BOOST_TEST(other.fields.at("vary") == "Origin");
}

BOOST_AUTO_TEST_CASE(a_preflight_needs_no_key_and_allows_what_was_named) {
  http_fixture fixture([](http_options& o) {
    with_keys(o);
    o.cors_origins = {"https://page.example"};
  });
  http_client client(fixture.server->port());
  const std::string ask = "OPTIONS /v1/echo HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n"
                          "Access-Control-Request-Headers: authorization, x-stainless-os\r\nOrigin: ";
  client.send(ask + "https://page.example\r\n\r\n");
  const auto allowed = client.read(false);
  BOOST_TEST(allowed.status == 204u);
  BOOST_TEST(allowed.fields.at("access-control-allow-methods") == "POST, OPTIONS");
  BOOST_TEST(allowed.fields.at("access-control-allow-headers") == "authorization, x-stainless-os");
  client.send(ask + "https://other.example\r\n\r\n");
  BOOST_TEST(!client.read(false).fields.contains("access-control-allow-methods"));
}

BOOST_AUTO_TEST_SUITE_END()
