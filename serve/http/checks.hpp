// What is decided of a request when its header is there and its body is not: it costs us little to refuse it now.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "serve/http/core.hpp"

namespace troupe::serve {

struct request_head {
  http_request request; ///< All but the body.
  bool http_1_1 = true;
  bool has_host = false;
  std::string host; ///< The field, or nothing.
  std::size_t fields = 0;
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  std::string expect; ///< The field, or nothing.
};

/// An answer with fields of its own, whole lines.
struct full_answer {
  http_answer answer;
  std::string fields;
};

/// Either where the request goes, or what it is answered at once.
struct head_decision {
  const route* found = nullptr;
  full_answer answer; ///< Where `found` is null.
};
head_decision decide(const server_core& core, const request_head& head);

/// Said where `http_limits::max_bodies_bytes` is reached.
extern const error bodies_are_full;

/// Said where a body comes that nobody reads, over `http_limits::max_unread_body_bytes`.
error body_of_no_use(std::string_view path);

/// What a client calls its request, if that is 1 to 128 letters, digits and "-_.:/+=@"; otherwise a new name.
std::string request_id_of(std::string_view sent);

/// "http://host/path?query", and "/path?query", to its parts.
void split_target(std::string_view target, http_request& into);

/// What lets a page of another origin read the answer, where the options allow it to.
std::string cors_fields(const http_options& options, const http_request& request);

} // namespace troupe::serve
