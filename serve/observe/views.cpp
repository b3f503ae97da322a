#include "serve/observe/views.hpp"

#include <charconv>
#include <ranges>

#include "page_html.hpp"
#include "serve/api/errors.hpp"
#include "serve/http/errors.hpp"

namespace troupe::serve {

namespace {

constexpr unsigned bad_request = 400;
constexpr unsigned not_now = 503;

/// The number after "since=" in a query; 0 where there is none. Errors: invalid_argument.
expected<std::uint64_t> since_of(std::string_view query) {
  constexpr std::string_view name = "since=";
  std::uint64_t result = 0;
  for (const auto piece : std::views::split(query, '&')) {
    std::string_view number(piece.begin(), piece.end());
    if (!number.starts_with(name))
      continue;
    number.remove_prefix(name.size());
    const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), result);
    if (problem != std::errc() || end != number.data() + number.size())
      return fail(errc::invalid_argument, "Field 'since' must be a step's serial: an integer, 0 or more.");
  }
  return result;
}

operation page() {
  operation about;
  about.summary = "A page that shows the server at work";
  about.content_type = "text/html";
  return about;
}

operation stage_data() {
  operation about;
  about.summary = "What that page shows; it changes with it";
  about.answer = kind::object;
  about.asks_engine = true;
  about.query = {{"since", kind::count, "Only steps after the one with this serial."}};
  return about;
}

operation metrics_text() {
  operation about;
  about.summary = "Metrics for Prometheus";
  about.content_type = "text/plain";
  return about;
}

} // namespace

void add_views(route_table& routes, status_board& board, const views& what) {
  routes.get("/", false, page(), [](const http_request&) {
    return http_answer{200, "text/html; charset=utf-8", std::string(page_html), 0};
  });
  routes.get_later(
    "/stage", true, stage_data(),
    [&board, stage = what.stage](const http_request& request, std::function<void(http_answer)> answer) {
      const auto since = since_of(request.query);
      if (!since)
        return answer(error_answer(request.path, bad_request, since.error()));
      board.ask(
        [=, since = *since, path = request.path, answer = std::move(answer)](const expected<engine_report>& report) {
          if (!report)
            return answer(error_answer(path, not_now, report.error()));
          answer({200, "application/json", stage->json(report->status, report->actors, since), 0});
        },
        true);
    });
  routes.get_later("/metrics", true, metrics_text(),
                   [&board, counts = what.counts](const http_request&, std::function<void(http_answer)> answer) {
                     board.ask(
                       [=, answer = std::move(answer)](const expected<engine_report>& report) {
                         // Counters go on where the engine does not answer; its gauges are 0 then.
                         const auto text =
                           report ? counts->text(&report->status, report->actors) : counts->text(nullptr);
                         answer({200, metrics::content_type, text, 0});
                       },
                       true);
                   });
}

} // namespace troupe::serve
