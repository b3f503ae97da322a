#include "model/jinja/json.hpp"

#include "model/bounded_json.hpp"
#include "model/jinja/builtins.hpp"

namespace troupe::jinja {

namespace {

value convert(workspace& ws, const nlohmann::ordered_json& json, bool trusted, std::size_t depth) {
  ws.step();
  if (depth > ws.bounds().max_value_nesting)
    refuse_limit("the variables are nested more than " + std::to_string(ws.bounds().max_value_nesting) + " deep");
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::null: return value::none();
    case nlohmann::ordered_json::value_t::boolean: return value::boolean(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer: return value::integer(json.get<std::int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
        refuse_limit("the number " + json.dump() + " does not fit 64 bits with a sign");
      return value::integer(json.get<std::int64_t>());
    case nlohmann::ordered_json::value_t::number_float: return value::real(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return make_string(ws, json.get_ref<const std::string&>(), trusted);
    case nlohmann::ordered_json::value_t::array: {
      value out = make_sequence(ws);
      for (const auto& item : json)
        out.as_sequence().push(convert(ws, item, trusted, depth + 1));
      return out;
    }
    case nlohmann::ordered_json::value_t::object: {
      value out = make_mapping(ws);
      for (const auto& [key, item] : json.items())
        out.as_mapping().set(make_string(ws, key, trusted), convert(ws, item, trusted, depth + 1));
      return out;
    }
    default: refuse("the variables hold something that is no JSON");
  }
}

} // namespace

value from_json(workspace& ws, const nlohmann::ordered_json& json, bool trusted) {
  return convert(ws, json, trusted, 0);
}

value parse_json(workspace& ws, const value& source) {
  const string_object& s = source.as_string();
  ws.charge(16 * s.bytes().size()); // About what the parsed form takes beside the values.
  const auto json = parse_bounded_json(s.bytes(), ws.bounds().max_value_nesting);
  value out;
  if (json)
    out = from_json(ws, *json, s.content.all_trusted());
  ws.refund(16 * s.bytes().size());
  if (!json && json.error().code == errc::limit_exceeded)
    refuse_limit("a string of JSON is nested more than " + std::to_string(ws.bounds().max_value_nesting) + " deep");
  if (out.is_undefined())
    refuse("'from_json' needs a string of JSON");
  return out;
}

} // namespace troupe::jinja
