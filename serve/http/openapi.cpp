#include "serve/http/openapi.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "serve/api/answer_kinds.hpp"

namespace troupe::serve {

namespace {

json reference(const std::string& schema) {
  return {{"$ref", "#/components/schemas/" + schema}};
}

json content(std::string_view type, json schema) {
  return {{std::string(type), {{"schema", std::move(schema)}}}};
}

bool takes_keys(const route& each, const server_core& core) {
  return each.needs_key && !core.options.keys.empty();
}

/// What can go wrong, by status; `applies` says with which routes.
struct failure {
  unsigned status;
  std::string_view what;
  bool (*applies)(const route& each, const server_core& core);
  bool retry_after = false;
};

constexpr auto always = [](const route&, const server_core&) { return true; };
constexpr auto with_body = [](const route& each, const server_core&) { return each.read != nullptr; };

constexpr failure failures[] = {
  {400, "The request is not as it should be; a field that is to blame is named.", always},
  {401, "An API key is missing, or is none of this server.", takes_keys},
  {403, "The field Host names another machine.",
   [](const route&, const server_core& core) { return core.options.keys.empty() && !core.options.open_access; }},
  {404, "Another model is served.", [](const route& each, const server_core&) { return each.about.needs_model; }},
  {408, "The request did not come in time.", always},
  {413, "The body is too large.", always},
  {414, "Path and query are too long.", always},
  {415, "The body is no JSON, or is compressed.", always},
  {417, "Only 100-continue can be expected.", always},
  {429, "There are too many requests.", with_body, true},
  {431, "The header is too large.", always},
  {500, "A bug of the server's.", always},
  {503, "The model is being loaded, the server is stopping, or the engine does not answer.",
   [](const route& each, const server_core&) {
     return each.read || each.about.needs_model || each.about.asks_engine;
   },
   true},
};

std::string error_schema_of(std::string_view path) {
  return path.starts_with("/v1/messages") ? "AnthropicError" : "Error";
}

json header(json schema, std::string_view what) {
  return {{"description", what}, {"schema", std::move(schema)}};
}

json success_of(const route& each) {
  const auto& about = each.about;
  json contents = content(about.content_type, about.answer ? about.answer() : kind::text());
  if (about.streams)
    contents.update(
      content("text/event-stream", kind::object_of({{"data", kind::text()}, {"event?", kind::text()}})));
  return {{"description", "It went well."},
          {"headers", {{"X-Request-Id", {{"$ref", "#/components/headers/X-Request-Id"}}}}},
          {"content", std::move(contents)}};
}

json responses_of(const route& each, const server_core& core) {
  json all = {{"200", success_of(each)}};
  for (const auto& what : failures) {
    if (!what.applies(each, core))
      continue;
    json headers = {{"X-Request-Id", {{"$ref", "#/components/headers/X-Request-Id"}}}};
    if (what.retry_after)
      headers["Retry-After"] = {{"$ref", "#/components/headers/Retry-After"}};
    all[std::to_string(what.status)] = {
      {"description", what.what},
      {"headers", std::move(headers)},
      {"content", content("application/json", reference(error_schema_of(each.path)))}};
  }
  return all;
}

/// The name in "{...}" at the end of a path.
std::string_view path_parameter(std::string_view path) {
  const auto at = path.find('{');
  return at == path.npos ? std::string_view() : path.substr(at + 1, path.size() - at - 2);
}

json parameters_of(const route& each) {
  auto all = json::array();
  if (const auto name = path_parameter(each.path); !name.empty())
    all.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", kind::filled_text<any_length>()}});
  for (const auto& parameter : each.about.query)
    all.push_back(
      {{"name", parameter.name}, {"in", "query"}, {"description", parameter.note}, {"schema", parameter.kind()}});
  return all;
}

/// "post_v1_chat_completions"
std::string name_of(const route& each) {
  std::string name = each.method == "POST" ? "post" : "get";
  for (const char c : each.path)
    name += c == '/' || c == '.' ? '_' : c == '{' || c == '}' ? '\0' : c;
  std::erase(name, '\0');
  return name;
}

/// Token ids are those of the model.
void bound_token_ids(json& schema, std::size_t vocabulary) {
  if (schema.is_object() && schema.value("title", json()) == "token id")
    schema["maximum"] = vocabulary - 1;
  if (schema.is_structured())
    for (auto& part : schema)
      bound_token_ids(part, vocabulary);
}

json body_of(const route& each, const server_facts& facts) {
  auto schema = each.about.body();
  if (facts.model && facts.model->source)
    bound_token_ids(schema, facts.model->source->tokens->size());
  if (facts.model && schema["properties"].contains("model")) {
    auto names = json::array({facts.model->model_name});
    for (const auto& alias : facts.model->aliases)
      names.push_back(alias);
    names.push_back(nullptr);
    schema["properties"]["model"]["enum"] = std::move(names);
  }
  return {{"required", true}, {"content", content("application/json", std::move(schema))}};
}

json operation_of(const route& each, const server_core& core) {
  json operation = {{"operationId", name_of(each)}, {"summary", each.about.summary}};
  if (takes_keys(each, core))
    operation["security"] = json::array({{{"bearer", json::array()}}, {{"key", json::array()}}});
  if (auto parameters = parameters_of(each); !parameters.empty())
    operation["parameters"] = std::move(parameters);
  if (each.about.body)
    operation["requestBody"] = body_of(each, core.facts);
  operation["responses"] = responses_of(each, core);
  return operation;
}

json components() {
  return {{"schemas", {{"Error", kind::openai_error()}, {"AnthropicError", kind::anthropic_error()}}},
          {"headers",
           {{"X-Request-Id", header(kind::text_within(1, 128), "The client's own, or one that was made for it.")},
            {"Retry-After", header(kind::integer_in<1, any_length>(), "Seconds.")}}},
          {"securitySchemes",
           {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}},
            {"key", {{"type", "apiKey"}, {"in", "header"}, {"name", "x-api-key"}}}}}};
}

} // namespace

json openapi_document(const server_core& core) {
  auto paths = json::object();
  for (const auto& each : core.routes.all())
    paths[each.path][each.method == "POST" ? "post" : "get"] = operation_of(each, core);
  return {
    {"openapi", "3.1.0"},
    {"info",
     {{"title", "Troupe"},
      {"version", core.options.version},
      {"description", "What is not in a body's schema is refused with a 400 that names it; null counts as absent."}}},
    {"servers", json::array({{{"url", "/"}}})},
    {"paths", std::move(paths)},
    {"components", components()}};
}

void add_openapi(server_core& core) {
  operation about;
  about.summary = "This document";
  about.answer = kind::object;
  core.routes.get("/openapi.json", true, about, [&core](const http_request&) {
    http_answer answer;
    answer.body = to_text(openapi_document(core));
    return answer;
  });
}

} // namespace troupe::serve
