#include "actors/process/job.hpp"

#include <nlohmann/json.hpp>

namespace troupe {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(row_channel_shape, slots, max_rows, width)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(worker_seat, engine, stage, stages, rank, epoch, group, shards, rows_in, rows_out, channel)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(worker_job, parent, door, port, token, seat, vocabulary, width, kv_groups, reports, times,
                                   device)

std::vector<std::byte> encode(const worker_job& job) {
  const std::string text = nlohmann::json(job).dump();
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

expected<worker_job> decode_job(std::span<const std::byte> bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  try {
    return nlohmann::json::parse(text, text + bytes.size()).get<worker_job>();
  } catch (const nlohmann::json::exception& problem) {
    return fail(errc::malformed, std::string("The worker's job cannot be read: ") + problem.what());
  }
}

} // namespace troupe
