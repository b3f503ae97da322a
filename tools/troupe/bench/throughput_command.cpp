// `troupe bench throughput`: how much an engine of this process does when it is given all at once.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/engine_load.hpp"
#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/progress.hpp"

namespace troupe::cli {

namespace {

struct figures {
  engine_totals totals;
  std::size_t requests;
  double per_second(double count) const { return count / totals.seconds; }
  double tokens() const { return static_cast<double>(totals.prompt_tokens + totals.output_tokens); }
};

std::string text_of(const figures& f) {
  return fmt::format("Throughput: {:.2f} requests/s, {:.2f} total tokens/s, {:.2f} output tokens/s\n"
                     "Total num prompt tokens:  {}\nTotal num output tokens:  {}\n",
                     f.per_second(static_cast<double>(f.requests)), f.per_second(f.tokens()),
                     f.per_second(static_cast<double>(f.totals.output_tokens)), f.totals.prompt_tokens,
                     f.totals.output_tokens);
}

nlohmann::ordered_json json_of(nlohmann::ordered_json described, const dataset_flags& dataset, const figures& f) {
  described["dataset_name"] = dataset.name;
  described["seed"] = dataset.seed;
  described["elapsed_time"] = f.totals.seconds;
  described["num_requests"] = f.requests;
  described["total_num_tokens"] = f.totals.prompt_tokens + f.totals.output_tokens;
  described["total_output_tokens"] = f.totals.output_tokens;
  described["requests_per_second"] = f.per_second(static_cast<double>(f.requests));
  described["tokens_per_second"] = f.per_second(f.tokens());
  described["output_tokens_per_second"] = f.per_second(static_cast<double>(f.totals.output_tokens));
  return described;
}

} // namespace

int bench_throughput(const throughput_flags& flags) {
  if (auto writable = flags.files.check(); !writable)
    return report(writable.error());
  auto engine = local_engine::start(flags.engine);
  if (!engine)
    return report(engine.error());
  const auto described = describe_engine(**engine, flags.engine);
  if (!described)
    return end_with(described.error());
  const auto codec = make_local_codec((*engine)->model().tokens);
  if (!codec)
    return report(codec.error());
  auto work = [&] {
    progress bar("making prompts", flags.dataset.requests);
    return make_workload(flags.dataset, **codec, [&](std::uint32_t done) {
      bar.show(done);
      return true;
    });
  }();
  if (!work)
    return report(work.error());
  std::vector<generate_request> requests;
  for (auto& each : *work) {
    auto& request = requests.emplace_back();
    request.prompt = std::move(each.front().text);
    request.sampling.max_tokens = each.front().output_tokens;
    request.sampling.ignore_eos = true;
  }
  const auto count = requests.size();
  std::vector<plot_point> ends{{0, 0, ""}};
  progress bar("requests", count);
  const auto start = std::chrono::steady_clock::now();
  const auto totals = run_requests(**engine, std::move(requests), [&](std::size_t done) {
    bar.show(done);
    ends.push_back({std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                    static_cast<double>(done), ""});
  });
  if (!totals)
    return end_with(totals.error());
  const figures measured{*totals, count};
  const auto text =
    engine_line(*described) +
    fmt::format("{} requests of {}, all at once; seed {}\n", count, flags.dataset.name, flags.dataset.seed) +
    text_of(measured);
  const auto page =
    html_page("troupe bench throughput", text,
              {to_svg({"Requests that have ended", "seconds", "requests", {{"ended", ends, false}}})});
  if (auto written = flags.files.write(json_of(*described, flags.dataset, measured), page); !written)
    return report(written.error());
  return print_result(text);
}

} // namespace troupe::cli
