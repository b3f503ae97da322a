// Which paths there are: one table, from which requests are answered and which tests walk.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/call.hpp"
#include "serve/api/operation.hpp"
#include "serve/http/request.hpp"

namespace troupe::serve {

/// Reads a request's body. It is only called while the engine takes requests, and for a large body in a thread of its own;
/// two calls of it may run at once.
using api_handler = std::function<api_outcome(std::string_view body)>;

/// What the API offers by POST, by path.
struct api_entry {
  api_handler read;
  operation about{};
};
using api_table = std::map<std::string, api_entry>;

/// Called in the thread of the sockets: at once, or as soon as the engine has said something.
using answer_now = std::function<http_answer(const http_request&)>;
using answer_later = std::function<void(const http_request&, std::function<void(http_answer)>)>;

struct route {
  std::string method; ///< GET (then HEAD, too) or POST. OPTIONS is answered for every path.
  std::string path;   ///< With a "{name}" at its end: whatever follows, but not nothing.
  bool needs_key = true;
  operation about;
  // One of them.
  answer_now now;
  answer_later later;
  api_handler read;
};

class route_table {
public:
  void get(std::string path, bool needs_key, operation about, answer_now handler);
  void get_later(std::string path, bool needs_key, operation about, answer_later handler);
  /// With a key.
  void post(std::string path, api_handler handler, operation about);

  const std::vector<route>& all() const { return routes_; }

  /// Where `found` is null and `allow` is empty there is no such path; otherwise it has these methods alone.
  struct match {
    const route* found = nullptr;
    std::string allow; ///< As the field Allow has it.
  };
  match find(std::string_view method, std::string_view path) const;

private:
  std::vector<route> routes_;
};

} // namespace troupe::serve
