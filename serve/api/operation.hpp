// What a route does, takes and answers, as /openapi.json tells it.
#pragma once

#include <string_view>
#include <vector>

#include "serve/api/field_kinds.hpp"

namespace troupe::serve {

struct operation {
  struct parameter {
    std::string_view name;
    field_kind kind;
    std::string_view note;
  };

  std::string_view summary;
  field_kind answer = nullptr;                        ///< Of status 200, as JSON; null: it is no JSON.
  field_kind body = nullptr;                          ///< Of a POST.
  std::string_view content_type = "application/json"; ///< Of status 200.
  bool streams = false;                               ///< Server-sent events, where the body has "stream": true.
  bool needs_model = false;                           ///< 404 where another one is named, 503 before it is loaded.
  bool asks_engine = false;                           ///< 503 where it does not answer.
  std::vector<parameter> query{};
};

} // namespace troupe::serve
