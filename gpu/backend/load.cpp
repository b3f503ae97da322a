// What a backend has before its first step: weights, angles, the cache, buffers.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "gpu/backend/gpu_backend.hpp"
#include "gpu/backends.hpp"
#include "gpu/kernels/attention_kernels.hpp"
#include "model/sharding.hpp"

namespace troupe::gpu {

namespace {

constexpr std::uint32_t scratch_count = (most_padding + tokens_per_block - 1) / tokens_per_block;

/// Behind those of sequences.
std::vector<block_id> scratch_blocks(std::uint32_t kv_blocks) {
  std::vector<block_id> out;
  for (std::uint32_t i = 0; i < scratch_count; ++i)
    out.push_back(kv_blocks + i);
  return out;
}

} // namespace

gpu_backend::gpu_backend(std::unique_ptr<runtime> device, std::string kind, std::shared_ptr<const gguf::file> file,
                         const model_program& program, const backend_options& options)
    : device_(std::move(device)), kind_(std::move(kind)), name_(gpu_arithmetic(kind_, options.batch_invariant)),
      file_(std::move(file)), program_(program), options_(options), layout_{program.kv_heads, program.head_size},
      decodes_(std::min(options.max_rows, options.max_logit_rows), static_cast<std::uint32_t>(positions()),
               scratch_blocks(options.kv_blocks)),
      sampling_(program.vocabulary, width_of(device_buffer::logits), options.max_logit_rows),
      graphs_wanted_(options.graphs && !options.group && !program.takes_hidden() && !program.gives_hidden()) {}

namespace {

expected<void> check_kernels(const model_program& program, const backend_options& options) {
  if (options.kv_dtype != kv_cache_dtype::bf16)
    return fail(errc::unsupported, fmt::format("The CUDA backend keeps keys and values in bf16, and not in {}.",
                                               to_string(options.kv_dtype)));
  if (!plan_prefill_attention(program.head_size, 1, program.heads))
    return fail(
      errc::unsupported,
      fmt::format("The CUDA backend has attention for heads of 64 and 128, and not of {}.", program.head_size));
  constexpr auto widest = std::size_t{add_rms_norm::max_threads} * 4 * add_rms_norm::most_parts;
  if (program.width % 8 != 0 || program.width > widest)
    return fail(errc::unsupported,
                fmt::format("The CUDA backend has norms for widths that are multiples of 8 up to {}, and not for {}.",
                            widest, program.width));
  return {};
}

} // namespace

expected<address> gpu_backend::reserve(std::size_t bytes, std::uint64_t& of_account, const std::string& what_for) {
  auto at = device_->allocate(bytes);
  if (at)
    of_account += bytes;
  return at ? at : tl::unexpected(told_with_account(at.error(), what_for));
}

/// Of a want of memory.
error gpu_backend::told_with_account(error failure, const std::string& what_for) const {
  const auto now = device_->memory();
  if (failure.code != errc::out_of_memory || !now)
    return failure;
  failure.message = fmt::format("The device has no memory left for {}: {} MiB of {} are free, and {} MiB have "
                                "weights, {} the KV cache and {} the buffers of a step.",
                                what_for, now->free_bytes >> 20, now->total_bytes >> 20, account_.weight_bytes >> 20,
                                account_.kv_bytes >> 20, account_.workspace_bytes >> 20);
  constexpr std::uint64_t noise = std::uint64_t{64} << 20; // CUDA's own.
  const auto own = account_.weight_bytes + account_.kv_bytes + account_.workspace_bytes;
  if (now->free_bytes + own + noise < free_at_start_)
    failure.message += fmt::format(" Another process has taken {} MiB since this one began to load.",
                                   (free_at_start_ - own - now->free_bytes) >> 20);
  return failure;
}

expected<gpu_memory_needs> gpu_backend::count() {
  if (auto fits = check_kernels(program_, options_); !fits)
    return tl::unexpected(fits.error());
  const auto stored = stored_weights(*file_, program_);
  if (!stored)
    return tl::unexpected(stored.error());
  for (const auto& each : *stored)
    (void)reserve(each.bytes, account_.weight_bytes, "");
  if (auto done = make_buffers(); !done)
    return tl::unexpected(done.error());
  gpu_memory_needs needs;
  needs.weights = account_.weight_bytes;
  needs.buffers = account_.workspace_bytes;
  needs.block = block_bytes(0);
  needs.own_blocks = scratch_count;
  const bool has_ranks = gathered_room() > 0; // They have no graphs.
  needs.graphs = graphs_wanted_ && !has_ranks ? graph_room_bytes : 0;
  needs.libraries += has_ranks ? group_room_bytes : 0;
  return needs;
}

expected<void> gpu_backend::load(std::chrono::milliseconds patience) {
  if (auto failure = check_group(program_, options_, 1))
    return tl::unexpected(*failure);
  const auto needs = count_needs(file_, program_, options_);
  if (!needs)
    return tl::unexpected(needs.error());
  const auto free = wait_for_memory(*device_, *needs, options_.kv_blocks, patience);
  if (!free)
    return tl::unexpected(free.error());
  free_at_start_ = *free - std::min(*free, needs->rounding);
  auto steps = plan_steps(program_);
  if (!steps)
    return tl::unexpected(steps.error());
  steps_ = std::move(*steps);
  auto stream = device_->make_stream();
  if (!stream)
    return tl::unexpected(stream.error());
  stream_ = *stream;
  auto weights =
    device_weights::load(*device_, stream_, *file_, program_, [&](std::size_t bytes, const std::string& what_for) {
      return reserve(bytes, account_.weight_bytes, what_for);
    });
  if (!weights)
    return tl::unexpected(weights.error());
  weights_ = std::move(*weights);
  file_->release_pages();
  if (auto done = make_buffers(); !done)
    return done;
  weights_.unpack_at(unpacked_);
  if (auto done = fill_angles(); !done)
    return done;
  if (auto done = make_ranks(); !done)
    return done;
  auto cache = reserve(program_.layers * layer_stride(), account_.kv_bytes, "the KV cache");
  if (!cache)
    return tl::unexpected(cache.error());
  cache_ = *cache;
  if (!program_.gives_hidden())
    logit_parts_.reserve(options_.max_logit_rows);
  return device_->synchronize(stream_);
}

std::size_t gpu_backend::layer_stride() const {
  return (std::size_t{options_.kv_blocks} + scratch_count) * layer_block_bytes();
}

std::uint32_t gpu_backend::width_of(device_buffer which) const {
  switch (which) {
  case device_buffer::hidden:
  case device_buffer::normed:
  case device_buffer::projected:
    return program_.width;
  case device_buffer::query:
  case device_buffer::rotated:
  case device_buffer::attended:
    return program_.heads * program_.head_size;
  case device_buffer::key:
  case device_buffer::value:
    return program_.kv_heads * program_.head_size;
  case device_buffer::gate:
  case device_buffer::up:
  case device_buffer::activated:
    return program_.width_of(buffer::gate);
  case device_buffer::logits:
    return (program_.vocabulary + 7) / 8 * 8;
  case device_buffer::count:
    break;
  }
  return 0;
}

/// Everything but weights and the cache; on a device that only counts, too.
expected<void> gpu_backend::make_buffers() {
  const auto is_bf16 = [](device_buffer which) {
    return which == device_buffer::normed || which == device_buffer::rotated || which == device_buffer::attended ||
           which == device_buffer::activated;
  };
  const auto make = [&](address& at, std::size_t bytes, const std::string& what_for) -> expected<void> {
    auto made = reserve(bytes, account_.workspace_bytes, what_for);
    if (!made)
      return tl::unexpected(made.error());
    at = *made;
    return {};
  };
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const auto which = static_cast<device_buffer>(i);
    if (which == device_buffer::logits && program_.gives_hidden())
      continue;
    const std::size_t rows = which == device_buffer::logits ? options_.max_logit_rows : options_.max_rows;
    if (auto done = make(buffers_[i], rows * width_of(which) * (is_bf16(which) ? sizeof(bf16) : sizeof(float)),
                         "the buffers of a step");
        !done)
      return done;
  }
  first_hidden_ = at(device_buffer::hidden);
  first_attended_ = at(device_buffer::attended);
  // Where only the end of a model is measured, nothing is attended before it is taken.
  if (auto done = device_->fill(stream_, first_attended_, 0,
                                options_.max_rows * width_of(device_buffer::attended) * sizeof(bf16));
      !done)
    return done;
  const std::size_t rows = options_.max_rows;
  const auto frequencies = frequencies_of(program_, *file_).frequencies.size();
  for (const auto& [at, bytes, what_for] :
       {std::tuple(&angles_, positions() * frequencies * 2 * sizeof(float), "the angles of RoPE"),
        {&unpacked_, std::size_t{device_weights::unpacked_bytes}, "weights that are unpacked for prompts"}})
    if (auto done = make(*at, bytes, what_for); !done)
      return done;
  if (!options_.batch_invariant) { // Where every row goes by itself there are no large products.
    if (auto done = device_->open_products(); !done)
      return tl::unexpected(told_with_account(done.error(), "large products (cuBLASLt)"));
    account_.workspace_bytes += product_workspace_bytes;
  }
  for (const auto& [at, bytes] : {std::pair(&kept_hidden_, rows * program_.width * sizeof(float)),
                                  {&kept_attended_, rows * width_of(device_buffer::attended) * sizeof(bf16)},
                                  {&parts_, parts_room()},
                                  {&words_, words_room()},
                                  {&block_buffer_, block_bytes(0) + weight_part_alignment}})
    if (auto done = make(*at, bytes, "the buffers of a step"); !done)
      return done;
  if (const auto room = gathered_room(); room > 0)
    if (auto done = make(gathered_, room, "what ranks bring to a sum"); !done)
      return done;
  if (!program_.gives_hidden()) {
    address own = 0;
    if (auto done = make(own, sampling_.bytes(), "sampling"); !done)
      return done;
    sampling_.place(own);
  }
  const auto results = std::max(
    std::size_t{options_.max_logit_rows} * width_of(device_buffer::logits) * sizeof(float), sampling_.results_room());
  const auto staged = std::max(rows * program_.width * sizeof(float), results + rows * program_.width * sizeof(bf16));
  for (const auto& [at, bytes] :
       {std::pair(&staging_, staged), {&staged_block_, block_bytes(0) + weight_part_alignment}}) {
    auto made = device_->allocate_pinned(bytes);
    if (!made)
      return tl::unexpected(made.error());
    *at = *made;
  }
  return make_sides();
}

/// Cosines and sines of all positions, of double arithmetic.
expected<void> gpu_backend::fill_angles() {
  const auto frequencies = frequencies_of(program_, *file_);
  std::vector<float> angles;
  angles.reserve(positions() * frequencies.frequencies.size() * 2);
  for (std::size_t position = 0; position < positions(); ++position)
    for (const double frequency : frequencies.frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      angles.push_back(static_cast<float>(std::cos(angle) * frequencies.magnitude));
      angles.push_back(static_cast<float>(std::sin(angle) * frequencies.magnitude));
    }
  return upload(*device_, stream_, std::as_bytes(std::span(angles)), angles_);
}

expected<std::unique_ptr<backend>> load_backend(std::unique_ptr<runtime> device, std::string kind,
                                                std::shared_ptr<const gguf::file> file, const model_program& program,
                                                const backend_options& options, std::chrono::milliseconds patience) {
  auto made = std::make_unique<gpu_backend>(std::move(device), std::move(kind), std::move(file), program, options);
  return made->load(patience).map([&] { return std::unique_ptr<backend>(std::move(made)); });
}

} // namespace troupe::gpu
