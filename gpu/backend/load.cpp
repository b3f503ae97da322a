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
  if (auto failure = check_group(program, options, 1))
    return tl::unexpected(*failure);
  return {};
}

} // namespace

expected<address> gpu_backend::reserve(std::size_t bytes, std::uint64_t& of_account, const char* what_for) {
  auto at = device_->allocate(bytes);
  if (at)
    of_account += bytes;
  else if (at.error().code == errc::out_of_memory) {
    const auto free = device_->memory();
    return fail(
      errc::out_of_memory,
      fmt::format(
        "The device has no {} MiB for {}: {} MiB of {} are free, and {} MiB have weights, {} the KV cache and {} the "
        "buffers of a step.",
        bytes >> 20, what_for, free ? free->free_bytes >> 20 : 0, free ? free->total_bytes >> 20 : 0,
        account_.weight_bytes >> 20, account_.kv_bytes >> 20, account_.workspace_bytes >> 20));
  }
  return at;
}

expected<void> gpu_backend::load() {
  if (auto fits = check_kernels(program_, options_); !fits)
    return fits;
  auto steps = plan_steps(program_);
  if (!steps)
    return tl::unexpected(steps.error());
  steps_ = std::move(*steps);
  auto stream = device_->make_stream();
  if (!stream)
    return tl::unexpected(stream.error());
  stream_ = *stream;
  auto weights = device_weights::load(*device_, stream_, *file_, program_);
  if (!weights)
    return tl::unexpected(weights.error());
  weights_ = std::move(*weights);
  account_.weight_bytes = weights_.bytes();
  account_.workspace_bytes = weights_.workspace_bytes();
  file_->release_pages();
  if (auto done = make_angles(); !done)
    return done;
  if (auto done = make_buffers(); !done)
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

expected<void> gpu_backend::make_buffers() {
  const auto is_bf16 = [](device_buffer which) {
    return which == device_buffer::normed || which == device_buffer::rotated || which == device_buffer::attended ||
           which == device_buffer::activated;
  };
  const auto make = [&](address& at, std::size_t bytes, const char* what_for) -> expected<void> {
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
  for (const auto& [at, bytes] : {std::pair(&kept_hidden_, rows * program_.width * sizeof(float)),
                                  {&kept_attended_, rows * width_of(device_buffer::attended) * sizeof(bf16)},
                                  {&parts_, parts_room()},
                                  {&words_, words_room()},
                                  {&block_buffer_, block_bytes(0) + weight_part_alignment}})
    if (auto done = make(*at, bytes, "the buffers of a step"); !done)
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
expected<void> gpu_backend::make_angles() {
  const auto frequencies = frequencies_of(program_, *file_);
  std::vector<float> angles;
  angles.reserve(positions() * frequencies.frequencies.size() * 2);
  for (std::size_t position = 0; position < positions(); ++position)
    for (const double frequency : frequencies.frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      angles.push_back(static_cast<float>(std::cos(angle) * frequencies.magnitude));
      angles.push_back(static_cast<float>(std::sin(angle) * frequencies.magnitude));
    }
  const auto bytes = angles.size() * sizeof(float);
  auto at = reserve(bytes, account_.workspace_bytes, "the angles of RoPE");
  if (!at)
    return tl::unexpected(at.error());
  angles_ = *at;
  return upload(*device_, stream_, std::as_bytes(std::span(angles)), angles_);
}

expected<std::unique_ptr<backend>> load_backend(std::unique_ptr<runtime> device, std::string kind,
                                                std::shared_ptr<const gguf::file> file, const model_program& program,
                                                const backend_options& options) {
  auto made = std::make_unique<gpu_backend>(std::move(device), std::move(kind), std::move(file), program, options);
  return made->load().map([&] { return std::unique_ptr<backend>(std::move(made)); });
}

} // namespace troupe::gpu
