// An HTTP request as its handler sees it, when all of it is there.
#pragma once

#include <string>

namespace troupe::serve {

struct http_request {
  std::string method;
  std::string path; ///< Without the query, as it was sent: nothing is decoded.
  std::string query;
  std::string body;
  std::string id; ///< The client's x-request-id where it is sane, otherwise one of ours; goes back with every answer.
  // Fields, empty where there is none.
  std::string authorization;
  std::string api_key; ///< x-api-key
  std::string content_type;
  std::string content_encoding;
  std::string origin;
  std::string traceparent;   ///< W3C Trace Context; empty where there are several, too.
  std::string asked_method;  ///< Access-Control-Request-Method
  std::string asked_headers; ///< Access-Control-Request-Headers
};

} // namespace troupe::serve
