// `troupe bench startup`: how long a server takes from exec until it is ready, and to its first token.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/child_server.hpp"
#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/page_cache.hpp"
#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/bench/statistics.hpp"
#include "tools/troupe/progress.hpp"
#include "tools/troupe/serve_options.hpp"

namespace troupe::cli {

namespace {

struct startups {
  std::vector<double> cached;             ///< Shares of the model's file, before each.
  std::vector<double> ready_ms, token_ms; ///< Since exec.
};

double ms_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

expected<void> measure_one(const startup_flags& flags, const std::filesystem::path& model, const stop_signal& stop,
                           startups& out) {
  if (flags.cold)
    if (auto forgotten = forget_cached(model); !forgotten)
      return forgotten;
  const auto cached = cached_share(model);
  if (!cached)
    return tl::unexpected(cached.error());
  auto child = child_server::start(flags.serve, stop);
  if (!child)
    return tl::unexpected(child.error());
  if (auto ready = (*child)->wait_until_ready(); !ready)
    return ready;
  out.ready_ms.push_back(ms_since((*child)->started()));
  const auto answer = exchange_json((*child)->access(), "/v1/completions", R"({"prompt": "Hello", "max_tokens": 1})");
  if (!answer)
    return tl::unexpected(answer.error());
  out.token_ms.push_back(ms_since((*child)->started()));
  out.cached.push_back(*cached);
  return {};
}

std::string lines_of(const char* name, const std::vector<double>& ms) {
  return fmt::format("{:<40} {:<10.1f}\n{:<40} {:<10.1f}\n{:<40} {:<10.1f}\n", fmt::format("Median {} (ms):", name),
                     median_of(ms), fmt::format("Min {} (ms):", name), percentile_of(ms, 0),
                     fmt::format("Max {} (ms):", name), percentile_of(ms, 100));
}

std::string text_of(const startup_flags& flags, const startups& seen) {
  auto out = fmt::format("{}\nserver: troupe serve {}\n", machine_name(), fmt::join(flags.serve, " "));
  out +=
    fmt::format("{} starts. The model's file was {:.0f} to {:.0f} % in the page cache before each ({}); the program "
                "and its libraries are there from the first start on.\n",
                seen.cached.size(), 100 * percentile_of(seen.cached, 0), 100 * percentile_of(seen.cached, 100),
                flags.cold ? "cold: the system was asked to forget it" : "warm: as it was");
  return out + lines_of("exec to ready", seen.ready_ms) + lines_of("exec to first token", seen.token_ms);
}

nlohmann::ordered_json json_of(const startup_flags& flags, const startups& seen) {
  return {{"machine", machine_name()},
          {"serve", flags.serve},
          {"cold", flags.cold},
          {"cached_shares", seen.cached},
          {"ready_ms", seen.ready_ms},
          {"first_token_ms", seen.token_ms},
          {"median_ready_ms", median_of(seen.ready_ms)},
          {"median_first_token_ms", median_of(seen.token_ms)}};
}

std::string page_of(const std::string& text, const startups& seen) {
  const auto series = [](const char* name, const std::vector<double>& ms) {
    plot_series out{name, {}, true};
    for (std::size_t i = 0; i < ms.size(); ++i)
      out.points.push_back({static_cast<double>(i + 1), ms[i], ""});
    return out;
  };
  return html_page("troupe bench startup", text,
                   {to_svg({"Each start",
                            "start",
                            "ms since exec",
                            {series("ready", seen.ready_ms), series("first token", seen.token_ms)}})});
}

} // namespace

int bench_startup(const startup_flags& flags) {
  if (auto writable = flags.files.check(); !writable)
    return report(writable.error());
  const auto serve = serve_flags_of(flags.serve);
  if (!serve)
    return report(serve.error());
  const auto model = find_model(serve->engine.model);
  if (!model)
    return report(model.error());
  const stop_signal stop;
  startups seen;
  progress bar("starts", flags.repeat);
  for (std::uint32_t i = 0; i < flags.repeat; ++i) {
    bar.show(i);
    if (auto measured = measure_one(flags, *model, stop, seen); !measured)
      return end_with(measured.error());
  }
  const auto text = text_of(flags, seen);
  if (auto written = flags.files.write(json_of(flags, seen), page_of(text, seen)); !written)
    return report(written.error());
  return print_result(text);
}

} // namespace troupe::cli
