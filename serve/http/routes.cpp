#include "serve/http/routes.hpp"

namespace troupe::serve {

namespace {

bool is_path(const route& each, std::string_view path) {
  if (!each.path.ends_with('}'))
    return each.path == path;
  const auto prefix = std::string_view(each.path).substr(0, each.path.find('{'));
  return path.size() > prefix.size() && path.starts_with(prefix);
}

} // namespace

void route_table::get(std::string path, bool needs_key, operation about, answer_now handler) {
  routes_.push_back({"GET", std::move(path), needs_key, std::move(about), std::move(handler), nullptr, nullptr});
}

void route_table::get_later(std::string path, bool needs_key, operation about, answer_later handler) {
  routes_.push_back({"GET", std::move(path), needs_key, std::move(about), nullptr, std::move(handler), nullptr});
}

void route_table::post(std::string path, api_handler handler, operation about) {
  routes_.push_back({"POST", std::move(path), true, std::move(about), nullptr, nullptr, std::move(handler)});
}

route_table::match route_table::find(std::string_view method, std::string_view path) const {
  const auto wanted = method == "HEAD" ? std::string_view("GET") : method;
  match result;
  for (const auto& each : routes_) {
    if (!is_path(each, path))
      continue;
    if (each.method == wanted)
      result.found = &each;
    result.allow += each.method == "GET" ? "GET, HEAD, " : each.method + ", ";
  }
  if (!result.allow.empty())
    result.allow += "OPTIONS";
  return result;
}

} // namespace troupe::serve
