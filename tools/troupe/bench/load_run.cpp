#include "tools/troupe/bench/load_run.hpp"

#include <limits>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer.hpp"
#include "tools/troupe/bench/arrivals.hpp"
#include "tools/troupe/bench/load_client.hpp"
#include "tools/troupe/bench/machine.hpp"
#include "tools/troupe/bench/server_codec.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

namespace {

constexpr std::size_t most_told = 5; ///< Kinds of failures.

expected<std::string> first_model(const server_access& server) {
  const auto list = exchange_json(server, "/v1/models");
  if (!list)
    return tl::unexpected(list.error());
  const nlohmann::json::json_pointer first("/data/0/id");
  if (!list->contains(first) || !list->at(first).is_string())
    return fail(errc::malformed, server.address.url() + "/v1/models names no model: name it with --model.");
  return list->at(first).get<std::string>();
}

expected<std::shared_ptr<text_codec>> codec_of(const server_access& server, const load_flags& flags,
                                               const std::string& model) {
  if (flags.tokenizer.empty())
    return make_server_codec(server, model);
  const auto file = open_model(flags.tokenizer);
  if (!file)
    return tl::unexpected(file.error());
  return tokenizer::from_gguf(**file).and_then([](auto&& tokens) { return make_local_codec(std::move(tokens)); });
}

expected<resolved_address> resolve(const server_access& server) {
  boost::asio::io_context context;
  boost::asio::ip::tcp::resolver resolver(context);
  boost::system::error_code problem;
  auto found = resolver.resolve(server.address.host, server.address.port, problem);
  if (problem)
    return fail(errc::unavailable, "Cannot find " + server.address.host + ": " + problem.message() + ".");
  return found;
}

expected<load_result> send(const server_access& server, const stream_settings& settings, const body_settings& body,
                           const std::vector<conversation>& work, const load_flags& flags, const std::string& what) {
  boost::asio::io_context context;
  progress bar(what, requests_of(work));
  load_client client(context, settings, body, work,
                     arrival_times(work.size(), flags.request_rate, flags.burstiness, flags.dataset.seed),
                     flags.max_concurrency.value_or(std::numeric_limits<std::uint32_t>::max()));
  return client.run(*server.stop, bar);
}

/// Where the server did not say how many tokens an answer has.
expected<void> count_tokens(std::vector<request_outcome>& outcomes, const server_access& server,
                            const prepared_load& load) {
  std::shared_ptr<text_codec> codec;
  for (auto& each : outcomes) {
    if (!each.error.empty() || each.output_tokens > 0)
      continue;
    if (!codec) {
      auto made = codec_of(server, load.flags, load.model);
      if (!made)
        return tl::unexpected(made.error());
      codec = std::move(*made);
    }
    if (server.stop->came())
      return fail(errc::cancelled, "A signal came.");
    const auto tokens = codec->encode(each.text);
    if (!tokens)
      return tl::unexpected(tokens.error());
    each.output_tokens = static_cast<std::uint32_t>(tokens->size());
  }
  return {};
}

} // namespace

expected<prepared_load> prepare_load(const server_access& server, const load_flags& flags) {
  prepared_load out{flags, flags.model, {}};
  if (out.model.empty()) {
    auto model = first_model(server);
    if (!model)
      return tl::unexpected(model.error());
    out.model = std::move(*model);
  }
  const auto codec = codec_of(server, flags, out.model);
  if (!codec)
    return tl::unexpected(codec.error());
  progress bar("making prompts", flags.dataset.requests);
  auto work = make_workload(flags.dataset, **codec, [&](std::uint32_t done) {
    bar.show(done);
    return !server.stop->came();
  });
  if (!work)
    return tl::unexpected(work.error());
  out.work = std::move(*work);
  return out;
}

expected<serving_result> measure_load(const server_access& server, const prepared_load& load,
                                      const std::string& what) {
  const auto& flags = load.flags;
  const auto kind = api_of(flags.endpoint);
  if (!kind)
    return tl::unexpected(kind.error());
  const auto where = resolve(server);
  if (!where)
    return tl::unexpected(where.error());
  const stream_settings settings{
    server.address, *where, flags.endpoint, server.api_key, std::chrono::seconds(flags.timeout_s), *kind};
  const body_settings body{*kind, load.model, flags.ignore_eos, flags.continuous_usage, flags.temperature};
  if (flags.warmups > 0) {
    auto at_once = flags;
    at_once.request_rate = std::numeric_limits<double>::infinity();
    const std::vector<conversation> warm(flags.warmups, {load.work.front().front()});
    if (const auto warmed = send(server, settings, body, warm, at_once, "warming up"); !warmed)
      return tl::unexpected(warmed.error());
  }
  auto came = send(server, settings, body, load.work, flags, what);
  if (!came)
    return tl::unexpected(came.error());
  if (auto counted = count_tokens(came->outcomes, server, load); !counted)
    return tl::unexpected(counted.error());
  serving_result out;
  out.load = flags;
  out.load.dataset.requests = static_cast<std::uint32_t>(came->outcomes.size());
  out.machine = machine_name();
  out.server = server.address.url();
  out.model = load.model;
  out.outcomes = std::move(came->outcomes);
  out.metrics = measure_serving(out.outcomes, came->duration_s, flags.percentiles, flags.goodput);
  return out;
}

std::string failures_of(const serving_result& result) {
  std::map<std::string, std::uint32_t> reasons;
  for (const auto& each : result.outcomes)
    if (!each.error.empty())
      ++reasons[each.error];
  if (reasons.empty())
    return {};
  auto out = fmt::format("{} of {} requests failed:", result.metrics.failed, result.outcomes.size());
  std::size_t told = 0;
  for (const auto& [reason, count] : reasons)
    if (told++ < most_told)
      out += fmt::format("{} {} times: {}", told > 1 ? ";" : "", count, reason);
  if (told > most_told)
    out += fmt::format("; and {} other reasons", told - most_told);
  return out + (out.ends_with('.') ? "" : ".");
}

} // namespace troupe::cli
