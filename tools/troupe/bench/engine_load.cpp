#include "tools/troupe/bench/engine_load.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cpu/thread_pool.hpp"
#include "model/kv_cache_dtype.hpp"
#include "protocol/limits.hpp"
#include "tools/troupe/bench/machine.hpp"

namespace troupe::cli {

expected<engine_totals> run_requests(local_engine& engine, std::vector<generate_request> requests,
                                     const std::function<void(std::size_t)>& ended) {
  const auto start = std::chrono::steady_clock::now();
  std::size_t sent = 0, done = 0;
  const auto send_next = [&] {
    requests[sent].id = sent + 1;
    engine.submit(std::move(requests[sent++]));
  };
  while (sent < std::min<std::size_t>(requests.size(), max_requests_per_client))
    send_next();
  engine_totals totals;
  std::optional<error> failed;
  const auto received = engine.receive(
    [&](server_message& message) {
      const auto* end = std::get_if<request_end>(&message);
      if (!end)
        return true;
      if (end->reason == finish_reason::error)
        failed = end->failure;
      totals.prompt_tokens += end->usage.prompt_tokens;
      totals.output_tokens += end->usage.completion_tokens;
      ended(++done);
      if (sent < requests.size())
        send_next();
      return !failed && done < requests.size();
    },
    [&] {
      failed = error{errc::cancelled, "A signal came."};
      return false;
    });
  if (!received)
    return tl::unexpected(received.error());
  if (failed)
    return tl::unexpected(*failed);
  totals.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return totals;
}

expected<nlohmann::ordered_json> describe_engine(local_engine& engine, const engine_flags& flags) {
  const auto device = engine.info_or_stop();
  if (!device)
    return tl::unexpected(device.error());
  const auto& settings = flags.settings;
  return nlohmann::ordered_json{{"machine", machine_name()},
                                {"model_id", engine.model().name},
                                {"device", device->device},
                                {"backend", device->backend},
                                {"threads", flags.threads ? flags.threads : cpu::usable_cpus()},
                                {"tensor_parallel_size", flags.tensor_parallel_size},
                                {"pipeline_parallel_size", flags.pipeline_parallel_size},
                                {"data_parallel_size", flags.data_parallel_size},
                                {"kv_tokens", kv_tokens_of(flags, engine.model().program.context_length)},
                                {"kv_cache_dtype", to_string(settings.kv_dtype)},
                                {"max_num_batched_tokens", settings.max_batched_tokens},
                                {"max_num_seqs", max_sequences_of(settings)},
                                {"long_prefill_tokens", settings.long_prefill_tokens},
                                {"prefix_caching", settings.prefix_caching}};
}

std::string engine_line(const nlohmann::ordered_json& described) {
  auto out = described["machine"].get<std::string>() + "\n";
  std::string separator;
  for (const auto& [name, value] : described.items())
    if (name != "machine") {
      out += separator + name + " " + (value.is_string() ? value.get<std::string>() : value.dump());
      separator = ", ";
    }
  return out + "\n";
}

} // namespace troupe::cli
