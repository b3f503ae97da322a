#include "serve/api/field_rules.hpp"

namespace troupe::serve {

json schema_of(const std::vector<field_row>& rows) {
  json schema = {{"type", "object"}, {"properties", json::object()}, {"additionalProperties", false}};
  for (const auto& row : rows) {
    if (!row.done)
      continue;
    auto& property = schema["properties"][std::string(row.name)] = row.needed ? row.kind() : or_null(row.kind());
    if (!row.note.empty())
      property["description"] = row.note;
    if (row.needed)
      schema["required"].push_back(row.name);
  }
  return schema;
}

} // namespace troupe::serve
