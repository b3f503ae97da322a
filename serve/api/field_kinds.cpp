#include "serve/api/field_kinds.hpp"

#include <fmt/format.h>

#include "serve/api/limits.hpp"

namespace troupe::serve {
namespace {

template <class Words>
std::string joined(const json& schemas, Words words) {
  std::string all;
  for (const auto& each : schemas)
    all += (all.empty() ? "" : " or ") + words(each);
  return all;
}

std::string plural_of(const json& schema) {
  if (schema.contains("title"))
    return schema["title"].get<std::string>() + "s";
  if (schema.contains("anyOf"))
    return joined(schema["anyOf"], plural_of);
  const auto type = schema.value("type", std::string());
  return type == "array" ? "lists of " + plural_of(schema["items"]) : type + "s";
}

std::string range_of(const json& schema) {
  if (schema.contains("exclusiveMinimum"))
    return fmt::format(", over {}, to {}", to_text(schema["exclusiveMinimum"]), to_text(schema["maximum"]));
  if (!schema.contains("minimum"))
    return {};
  if (schema.value("maximum", any_length) >= std::numeric_limits<std::int32_t>::max()) // The type's own bound.
    return fmt::format(", {} or more", to_text(schema["minimum"]));
  return fmt::format(", {} to {}", to_text(schema["minimum"]), to_text(schema["maximum"]));
}

/// What `or_null` has made of it, undone.
json without_null(json schema) {
  if (schema.contains("type") && schema["type"].is_array())
    schema["type"] = schema["type"][0];
  for (const char* list : {"enum", "anyOf"})
    if (schema.contains(list))
      schema[list].erase(schema[list].size() - 1);
  return schema;
}

} // namespace

std::string words_of(const json& schema) {
  if (schema.contains("title"))
    return schema["title"];
  if (schema.contains("const"))
    return "only " + to_text(schema["const"]);
  if (schema.contains("enum"))
    return (schema["enum"].size() == 1 ? "only " : "") + joined(schema["enum"], to_text);
  if (schema.contains("anyOf"))
    return joined(schema["anyOf"], words_of);
  const auto type = schema.value("type", std::string("anything"));
  if (type == "string" && schema.contains("maxLength"))
    return fmt::format("string of up to {} bytes", to_text(schema["maxLength"]));
  if (type == "array") {
    if (schema.value("maxItems", any_length) == 0)
      return "empty list";
    const auto count = schema.contains("maxItems") ? "up to " + to_text(schema["maxItems"]) + " " : "";
    return schema["items"].empty() ? "list" : "list of " + count + plural_of(schema["items"]);
  }
  if (type == "object" && schema.value("additionalProperties", json()).is_object())
    return "object of " + plural_of(schema["additionalProperties"]) + range_of(schema["additionalProperties"]);
  return type + range_of(schema);
}

json or_null(json schema) {
  if (schema.contains("const")) {
    const auto value = schema["const"];
    schema.erase("const");
    schema["enum"] = json::array({value, nullptr});
  } else if (schema.contains("enum")) {
    schema["enum"].push_back(nullptr);
  } else if (schema.contains("anyOf")) {
    schema["anyOf"].push_back({{"type", "null"}});
  }
  if (schema.contains("type"))
    schema["type"] = json::array({schema["type"], "null"});
  return schema;
}

namespace kind {

json anything() {
  return json::object();
}

json boolean() {
  return {{"type", "boolean"}};
}

json integer() {
  return {{"type", "integer"}};
}

json count() {
  return {{"type", "integer"}, {"minimum", 0}};
}

json text() {
  return {{"type", "string"}};
}

json object() {
  return {{"type", "object"}};
}

json token_id() {
  auto schema = integer_within(0, std::numeric_limits<std::int32_t>::max());
  schema["title"] = "token id";
  return schema;
}

json function_name() {
  auto schema = text();
  schema["pattern"] = fmt::format("^[A-Za-z0-9_-]{{1,{}}}$", max_function_name_bytes);
  return schema;
}

json integer_within(std::int64_t lowest, std::int64_t highest) {
  return {{"type", "integer"}, {"minimum", lowest}, {"maximum", highest}};
}

json number_within(double lowest, double highest, bool without_lowest) {
  const auto plain = [](double value) { // 1 and not 1.0.
    return value == static_cast<std::int64_t>(value) ? json(static_cast<std::int64_t>(value))
                                                     : json::parse(fmt::format("{}", static_cast<float>(value)));
  };
  return {{"type", "number"},
          {without_lowest ? "exclusiveMinimum" : "minimum", plain(lowest)},
          {"maximum", plain(highest)}};
}

json text_within(std::size_t least, std::size_t most) {
  json schema = text();
  if (least > 0)
    schema["minLength"] = least;
  if (most < any_length)
    schema["maxLength"] = most;
  return schema;
}

json list_of(json items, std::size_t most, std::size_t least) {
  json schema = {{"type", "array"}, {"items", std::move(items)}};
  if (least > 0)
    schema["minItems"] = least;
  if (most < any_length)
    schema["maxItems"] = most;
  return schema;
}

json map_of(json values) {
  return {{"type", "object"}, {"additionalProperties", std::move(values)}};
}

json constant(json value) {
  return {{"const", std::move(value)}};
}

json choice_of(std::vector<std::string_view> words) {
  return {{"type", "string"}, {"enum", words}};
}

json any_of(std::vector<json> kinds) {
  return {{"anyOf", std::move(kinds)}};
}

json json_text() {
  return {{"type", "string"}, {"format", "json-object"}, {"contentMediaType", "application/json"}};
}

json variant_of(json object, const variant& how) {
  auto& members = object["properties"];
  if (!how.member.empty())
    members[std::string(how.member)] = how.kind;
  for (const auto name : how.without)
    members.erase(std::string(name));
  for (const auto name : how.needed) {
    members[std::string(name)] = without_null(std::move(members[std::string(name)]));
    object["required"].push_back(name);
  }
  return object;
}

} // namespace kind

} // namespace troupe::serve
