#include "serve/observe/views.hpp"

#include <charconv>

#include "page_html.hpp"
#include "serve/api/errors.hpp"
#include "serve/http/errors.hpp"

namespace troupe::serve {

namespace {

constexpr unsigned not_now = 503;

/// The number after "since=" in a query; 0 where there is none.
std::uint64_t since_of(std::string_view query) {
  constexpr std::string_view name = "since=";
  std::uint64_t result = 0;
  if (const auto at = query.find(name); at != std::string_view::npos)
    std::from_chars(query.data() + at + name.size(), query.data() + query.size(), result);
  return result;
}

} // namespace

void add_views(route_table& routes, status_board& board, const views& what) {
  routes.get("/", false, [](const http_request&) {
    return http_answer{200, "text/html; charset=utf-8", std::string(page_html), 0};
  });
  routes.get_later(
    "/stage", true,
    [&board, stage = what.stage](const http_request& request, std::function<void(http_answer)> answer) {
      board.ask(
        [=, since = since_of(request.query), path = request.path,
         answer = std::move(answer)](const expected<engine_report>& report) {
          if (!report)
            return answer(error_answer(path, not_now, report.error()));
          answer({200, "application/json", stage->json(report->status, report->actors, since), 0});
        },
        true);
    });
  routes.get_later("/metrics", true,
                   [&board, counts = what.counts](const http_request&, std::function<void(http_answer)> answer) {
                     board.ask([=, answer = std::move(answer)](const expected<engine_report>& report) {
                       // Counters go on where the engine does not answer; its gauges are 0 then.
                       answer({200, metrics::content_type, counts->text(report ? &report->status : nullptr), 0});
                     });
                   });
}

} // namespace troupe::serve
