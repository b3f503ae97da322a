#include "tools/troupe/bench/tune_report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/bench/serving_report.hpp"

namespace troupe::cli {

namespace {

std::string line_of(const std::string& name, const std::vector<measurement>& runs) {
  const auto score = score_of(runs);
  const auto used = score.excess == 0 || std::isinf(score.excess) ? "-" : fmt::format("{:.2f}", score.excess);
  return fmt::format("{:>12.1f}{:>14}{:>7}  {}\n", score.throughput, used, runs.size(), name);
}

/// As a POSIX shell reads it back.
std::string quoted(const std::string& word) {
  const auto is_plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("_-+=./,:@%").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, is_plain))
    return word;
  std::string out = "'";
  for (const char c : word)
    out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

} // namespace

std::string tune_report::command() const {
  std::vector<std::string> words{"troupe", "serve"};
  for (const auto& each : serve)
    words.push_back(quoted(each));
  for (const auto& each : search.arguments_of(search.best()))
    words.push_back(quoted(each));
  return fmt::format("{}", fmt::join(words, " "));
}

std::string tune_report::text() const {
  const auto name_of = [&](const setting& which) {
    return fmt::format("{}", fmt::join(search.arguments_of(which), " "));
  };
  auto out =
    fmt::format("{}\nserver: troupe serve {}\nload: {}\nbounds: {}\n\n{:>12}{:>14}{:>7}  {}\n", machine,
                fmt::join(serve, " "), describe(load), bounds, "out tok/s", "of the bounds", "runs", "settings");
  for (const auto& each : search.tried())
    out += line_of(name_of(each) + (each == search.best() ? "  <- best" : ""), search.runs_of(each));
  if (!search.confirmed(search.found()).empty())
    out += "\nmeasured again, in turns:\n" +
           line_of(name_of(search.start()) + "  (begun with)", search.confirmed(search.start())) +
           line_of(name_of(search.found()) + "  (found)", search.confirmed(search.found()));
  if (search.best() != search.found())
    out += "\nMeasured again, what was found does not beat what was begun with: that stays.\n";
  if (!search.score_of_best().within_bounds())
    out += score_of(search.runs_of(search.best())).within_bounds()
             ? "\nMeasured again, the best does not keep the bounds.\n"
             : "\nNo setting that was tried keeps the bounds; the best is that which exceeds them least.\n";
  return out + "\n" + command() + "\n";
}

nlohmann::ordered_json tune_report::json() const {
  using json = nlohmann::ordered_json;
  const auto list_of = [](const std::vector<measurement>& runs) {
    json list = json::array();
    for (const auto& run : runs)
      list.push_back(
        {{"output_throughput", run.throughput}, {"of_bounds", std::isinf(run.excess) ? json() : json(run.excess)}});
    return list;
  };
  json out{{"machine", machine}, {"serve", serve}, {"load", describe(load)}, {"bounds", bounds}};
  out["settings"] = json::array();
  for (const auto& each : search.tried()) {
    const auto score = score_of(search.runs_of(each));
    out["settings"].push_back({{"arguments", search.arguments_of(each)},
                               {"output_throughput", score.throughput},
                               {"within_bounds", score.within_bounds()},
                               {"runs", list_of(search.runs_of(each))}});
  }
  out["start"] = search.arguments_of(search.start());
  out["found"] = search.arguments_of(search.found());
  out["best"] = search.arguments_of(search.best());
  out["best_within_bounds"] = search.score_of_best().within_bounds();
  out["confirmed"] = {{"start", list_of(search.confirmed(search.start()))},
                      {"found", list_of(search.confirmed(search.found()))}};
  out["command"] = command();
  return out;
}

std::string tune_report::html() const {
  plot_series tried{"settings", {}, true};
  std::size_t number = 0;
  for (const auto& each : search.tried())
    tried.points.push_back({static_cast<double>(++number), score_of(search.runs_of(each)).throughput,
                            each == search.best() ? "best" : ""});
  return html_page(
    "troupe bench tune", text(),
    {to_svg({"Each setting, in the order of the search", "setting", "output tokens a second", {tried}})});
}

} // namespace troupe::cli
