// GET /openapi.json: what the server offers, as an OpenAPI document (3.1) that is made of its own tables.
//
// https://spec.openapis.org/oas/v3.1.1.html
#pragma once

#include "serve/api/json_body.hpp"
#include "serve/http/core.hpp"

namespace troupe::serve {

/// All routes of `core`, with the model's names where it is loaded.
json openapi_document(const server_core& core);

/// After all other routes.
void add_openapi(server_core& core);

} // namespace troupe::serve
