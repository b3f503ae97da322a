#include "actors/messages.hpp"

namespace troupe {

expected<worker_info> sum_of(const expected<std::vector<worker_info>>& infos) {
  if (!infos)
    return tl::unexpected(infos.error());
  worker_info sum = infos->front();
  for (std::size_t i = 1; i < infos->size(); ++i) {
    const auto& part = (*infos)[i];
    if (part.fingerprint != sum.fingerprint)
      return fail(errc::version_mismatch, "Workers of one model compute in different ways: \"" + sum.fingerprint +
                                            "\" and \"" + part.fingerprint + "\".");
    sum.memory.weight_bytes += part.memory.weight_bytes;
    sum.memory.kv_bytes += part.memory.kv_bytes;
    sum.memory.workspace_bytes += part.memory.workspace_bytes;
    for (std::size_t group = 0; group < sum.block_bytes.size(); ++group)
      sum.block_bytes[group] += part.block_bytes.at(group);
  }
  return sum;
}

} // namespace troupe
