// The document that is made of the routes; tests/e2e/test_openapi.py compares it with what a server does.
#include "tests/serve/http/http_fixture.hpp"

#include <set>

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(openapi)

namespace {

nlohmann::json document_of(http_fixture& fixture) {
  http_client client(fixture.server->port());
  client.get("/openapi.json");
  const auto got = client.read();
  BOOST_REQUIRE(got.status == 200u);
  return nlohmann::json::parse(got.body);
}

} // namespace

BOOST_AUTO_TEST_CASE(each_route_is_there_by_its_path_and_method) {
  http_fixture fixture;
  const auto document = document_of(fixture);
  std::size_t operations = 0;
  for (const auto& route : fixture.server->routes().all()) {
    const auto& operation = document["paths"][route.path][route.method == "POST" ? "post" : "get"];
    BOOST_TEST(operation.is_object(), route.path);
    BOOST_TEST(operation["responses"].contains("200"), route.path);
    BOOST_TEST(operation["responses"].contains("503") ==
                 (route.read || route.about.needs_model || route.about.asks_engine),
               route.path);
    BOOST_TEST(!operation["responses"].contains("401"), route.path);
    ++operations;
  }
  BOOST_TEST(operations > 8u);
  const auto model = document["paths"]["/v1/models/{model}"]["get"];
  BOOST_TEST(model["parameters"][0]["name"] == "model");
  BOOST_TEST(model["parameters"][0]["in"] == "path");
}

BOOST_AUTO_TEST_CASE(names_of_operations_are_their_own) {
  http_fixture fixture;
  std::set<std::string> names;
  const auto document = document_of(fixture);
  for (const auto& [path, methods] : document["paths"].items())
    for (const auto& [method, operation] : methods.items())
      BOOST_TEST(names.insert(operation["operationId"]).second, path);
}

BOOST_AUTO_TEST_CASE(messages_have_errors_of_their_own) {
  http_fixture fixture;
  const auto document = document_of(fixture);
  const auto schema_of = [&](const char* path) {
    return document["paths"][path]["post"]["responses"]["400"]["content"]["application/json"]["schema"]["$ref"];
  };
  BOOST_TEST(schema_of("/v1/echo") == "#/components/schemas/Error");
  BOOST_TEST(schema_of("/v1/messages") == "#/components/schemas/AnthropicError");
  for (const char* name : {"Error", "AnthropicError"})
    BOOST_TEST(document["components"]["schemas"].contains(name));
}

BOOST_AUTO_TEST_SUITE_END()
