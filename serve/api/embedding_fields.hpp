// What the fields of a body for /v1/embeddings come to.
#pragma once

#include "serve/api/call_fields.hpp"

namespace troupe::serve {

struct embedding_fields {
  call_fields call;    ///< model, inputs as prompts, and how they are pooled and scheduled.
  bool base64 = false; ///< Embeddings are told as base64 of float32, the lowest byte first; otherwise as numbers.
};

field_table<embedding_fields> embedding_table();

namespace kind {

json embedding_body();

} // namespace kind

} // namespace troupe::serve
