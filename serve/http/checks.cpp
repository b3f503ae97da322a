#include "serve/http/checks.hpp"

#include <algorithm>

#include <boost/asio/ip/address.hpp>
#include <fmt/format.h>

#include "serve/api/identity.hpp"
#include "serve/http/errors.hpp"

namespace troupe::serve {

namespace {

constexpr std::string_view preflight_seconds = "600";

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return result;
}

bool is_json(std::string_view content_type) {
  auto type = content_type.substr(0, content_type.find(';'));
  while (!type.empty() && type.back() == ' ')
    type.remove_suffix(1);
  return lower(type) == "application/json";
}

/// The origin as it may be answered; empty: it may not.
std::string_view allowed_origin(const http_options& options, const http_request& request) {
  if (request.origin.empty())
    return {};
  for (const auto& each : options.cors_origins)
    if (each == "*" || each == request.origin)
      return request.origin;
  return {};
}

/// "host:80", "[::1]:80" and either without the port to the name or address.
std::string_view name_of(std::string_view host) {
  if (host.starts_with('['))
    return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

class head_check {
public:
  head_check(const server_core& core, const request_head& head)
      : core_(core), limits_(core.options.limits), head_(head), request_(head.request) {}

  head_decision decide() {
    if (auto wrong = wrong_form())
      return refuse(std::move(*wrong));
    if (!may_be_named())
      return refuse(
        error(403, "The field Host of this request names another machine. Without an API key this server is for "
                   "this machine alone: ask for localhost, 127.0.0.1, [::1] or what --host says."));
    if (request_.method == "OPTIONS" && request_.path == "*")
      return options_answer("GET, HEAD, POST, OPTIONS");
    const auto match = core_.routes.find(request_.method, request_.path);
    if (match.allow.empty())
      return refuse(error(404, "There is no " + request_.path + " here: the API is at /v1.", errc::not_found));
    if (request_.method == "OPTIONS")
      return options_answer(match.allow);
    if (!match.found)
      return refuse(error(405, request_.path + " takes " + match.allow + ", but not " + request_.method + "."),
                    "Allow: " + match.allow + "\r\n");
    if (match.found->needs_key && !core_.options.keys.allow(request_.authorization, request_.api_key))
      return refuse(
        error(401, request_.authorization.empty() && request_.api_key.empty()
                     ? "This server needs an API key: send it as \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"."
                     : "This is not an API key of this server."),
        "WWW-Authenticate: Bearer realm=\"troupe\"\r\n");
    if (auto wrong = match.found->read ? wrong_for_api() : wrong_for_others())
      return refuse(std::move(*wrong));
    return {match.found, {}};
  }

private:
  http_answer error(unsigned status, std::string message, errc code = errc::invalid_argument) const {
    return error_answer(request_.path, status, {code, std::move(message)});
  }

  head_decision refuse(http_answer answer, std::string fields = {}) const {
    return {nullptr, {std::move(answer), std::move(fields)}};
  }

  std::optional<http_answer> wrong_form() const {
    if (head_.fields > limits_.max_header_fields)
      return error(431, fmt::format("A request may have {} header fields at most.", limits_.max_header_fields),
                   errc::limit_exceeded);
    if (request_.path.size() + request_.query.size() > limits_.max_target_bytes)
      return error(414, fmt::format("A path and its query may have {} bytes at most.", limits_.max_target_bytes),
                   errc::limit_exceeded);
    if (head_.http_1_1 && !head_.has_host)
      return error(400, "A request of HTTP/1.1 must have the field Host.");
    if (!head_.expect.empty() && lower(head_.expect) != "100-continue")
      return error(417, "The only thing that a request may expect is 100-continue.");
    if (!request_.content_encoding.empty() && lower(request_.content_encoding) != "identity")
      return error(415, "Content-Encoding must be identity: bodies are taken as they are, not compressed.",
                   errc::unsupported);
    return std::nullopt;
  }

  std::optional<http_answer> wrong_for_api() const {
    if (!is_json(request_.content_type))
      return error(415, "Content-Type must be application/json.");
    if (const auto why = refusal_in(core_.facts.phase))
      return error_answer(request_.path, 503, *why);
    if (core_.calls.open() >= limits_.max_calls)
      return error_answer(request_.path, 429,
                          {errc::queue_full, "The server has as many requests as it takes: try again soon.", 1000});
    if (core_.bodies_bytes + head_.content_length.value_or(0) > limits_.max_bodies_bytes)
      return error_answer(request_.path, 503, bodies_are_full);
    return std::nullopt;
  }

  /// A page of another origin can have its own name mean this machine: its requests are of the same origin then, for the
  /// browser that sends them, but they bear that name.
  bool may_be_named() const {
    const auto& options = core_.options;
    if (!options.keys.empty() || options.open_access || head_.host.empty())
      return true;
    const auto name = lower(name_of(head_.host));
    boost::system::error_code no_address;
    const auto address = boost::asio::ip::make_address(name, no_address);
    return name == "localhost" || name == lower(options.host) || (!no_address && address.is_loopback());
  }

  /// Nobody reads their bodies.
  std::optional<http_answer> wrong_for_others() const {
    if (head_.content_length.value_or(0) > limits_.max_unread_body_bytes)
      return error_answer(request_.path, 413, body_of_no_use(request_.path));
    return std::nullopt;
  }

  head_decision options_answer(const std::string& allow) const {
    http_answer answer;
    answer.status = 204;
    answer.content_type.clear();
    auto fields = "Allow: " + allow + "\r\n";
    if (!request_.asked_method.empty() && !allowed_origin(core_.options, request_).empty()) {
      fields += "Access-Control-Allow-Methods: " + allow + "\r\n";
      if (!request_.asked_headers.empty()) // Clients send some of their own, and we mind none.
        fields += "Access-Control-Allow-Headers: " + request_.asked_headers + "\r\n";
      fields += fmt::format("Access-Control-Max-Age: {}\r\n", preflight_seconds);
    }
    return refuse(std::move(answer), std::move(fields));
  }

  const server_core& core_;
  const http_limits& limits_;
  const request_head& head_;
  const http_request& request_;
};

} // namespace

const error bodies_are_full{errc::queue_full, "The server is receiving as much as it has memory for: try again soon.",
                            1000};

error body_of_no_use(std::string_view path) {
  return {errc::limit_exceeded, fmt::format("{} has no use for a body: leave it out.", path)};
}

head_decision decide(const server_core& core, const request_head& head) {
  return head_check(core, head).decide();
}

std::string request_id_of(std::string_view sent) {
  constexpr std::size_t most_bytes = 128;
  const bool plain = std::all_of(sent.begin(), sent.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.:/+=@").find(c) != std::string_view::npos;
  });
  return !sent.empty() && sent.size() <= most_bytes && plain ? std::string(sent) : random_id("req_");
}

void split_target(std::string_view target, http_request& into) {
  for (std::string_view scheme : {"http://", "https://"})
    if (target.starts_with(scheme)) {
      const auto slash = target.find('/', scheme.size());
      target = slash == target.npos ? std::string_view("/") : target.substr(slash);
    }
  const auto question = target.find('?');
  into.path = target.substr(0, question);
  into.query = question == target.npos ? std::string_view() : target.substr(question + 1);
}

std::string cors_fields(const http_options& options, const http_request& request) {
  if (options.cors_origins.empty())
    return {};
  std::string fields = "Vary: Origin\r\n";
  if (const auto origin = allowed_origin(options, request); !origin.empty())
    fields += fmt::format(
      "Access-Control-Allow-Origin: {}\r\nAccess-Control-Expose-Headers: Retry-After, X-Request-Id, Request-Id\r\n",
      origin);
  return fields;
}

} // namespace troupe::serve
