#include "tools/troupe/worker_device.hpp"

#include <nlohmann/json.hpp>

#include "actors/process/host.hpp"
#include "cpu/backends.hpp"
#include "gpu/backends.hpp"
#include "model/stages.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(worker_device, model, file, device, reference, kv_blocks, max_rows, max_logit_rows,
                                   threads, graphs, batch_invariant, kv_dtype, arithmetic, ranks, layer_cuts,
                                   shim_memory_mib)

backend_options options_of(const worker_device& device, std::shared_ptr<communicator> group) {
  backend_options options;
  options.kv_blocks = device.kv_blocks;
  options.max_rows = device.max_rows;
  options.max_logit_rows = device.max_logit_rows;
  options.threads = device.threads;
  options.kv_dtype = static_cast<kv_cache_dtype>(device.kv_dtype);
  options.arithmetic = static_cast<cpu_arithmetic>(device.arithmetic);
  options.graphs = device.graphs;
  options.batch_invariant = device.batch_invariant;
  options.group = std::move(group);
  return options;
}

expected<std::unique_ptr<backend>> make_backend(const worker_device& device, std::shared_ptr<const gguf::file> file,
                                                const model_program& part, std::shared_ptr<communicator> group,
                                                [[maybe_unused]] int number) {
  const auto options = options_of(device, std::move(group));
  if (device.device == "cuda-shim")
    return make_shim_backend(std::move(file), part, options,
                             {.memory_bytes = std::size_t{device.shim_memory_mib} << 20});
#ifdef TROUPE_CUDA
  if (device.device == "cuda")
    return make_cuda_backend(std::move(file), part, options, number);
#endif
  return (device.reference ? make_reference_backend : make_cpu_backend)(std::move(file), part, options);
}

expected<model_program> program_of_seat(const worker_device& device, const gguf::file& file,
                                        const model_program& whole, const worker_seat& seat) {
  auto part = whole;
  // The reference backend adds up logical shards, all of which one rank has: the same bits as with more ranks.
  if (device.ranks > 1 || device.reference) {
    auto plan = plan_shards(whole, file, device.ranks);
    if (!plan && device.ranks > 1)
      return tl::unexpected(plan.error());
    if (plan)
      part = program_of_rank(whole, *plan, seat.rank);
  }
  if (const auto& cuts = device.layer_cuts; !cuts.empty())
    part = program_of_stage(part, {cuts.at(seat.stage), cuts.at(seat.stage + 1)});
  return part;
}

expected<std::unique_ptr<backend>> make_part(const worker_device& device, std::shared_ptr<const gguf::file> file,
                                             const model_program& whole, const worker_seat& seat,
                                             std::shared_ptr<communicator> group) {
  const auto part = program_of_seat(device, *file, whole, seat);
  if (!part)
    return tl::unexpected(part.error());
  const auto number = (seat.engine * seat.stages + seat.stage) * device.ranks + seat.rank;
  return make_backend(device, std::move(file), *part, std::move(group), static_cast<int>(number));
}

std::string encode(const worker_device& device) {
  return nlohmann::json(device).dump();
}

namespace {

expected<std::unique_ptr<backend>> make(const std::string& job, const worker_seat& seat,
                                        std::shared_ptr<communicator> group) {
  const auto device = nlohmann::json::parse(job).get<worker_device>();
  auto file = gguf::open(device.model);
  if (!file)
    return tl::unexpected(file.error());
  if ((*file)->identity() != device.file) // Of what was opened: a path may name another one a moment later.
    return fail(errc::version_mismatch, device.model + " is not the file any more that the engine has started with.");
  auto program = make_program(**file);
  if (!program)
    return tl::unexpected(program.error());
  return make_part(device, std::move(*file), *program, seat, std::move(group));
}

} // namespace

int worker() {
  return run_worker_process(make);
}

} // namespace troupe::cli
