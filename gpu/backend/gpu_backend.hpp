// The backend over gpu/runtime.hpp: the same on a device and on the shim. gpu/backends.hpp says what it does.
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu/backend/decode_batch.hpp"
#include "gpu/backend/device_sampling.hpp"
#include "gpu/backend/device_weights.hpp"
#include "gpu/backend/graph_cache.hpp"
#include "gpu/backend/memory_needs.hpp"
#include "gpu/backend/plan.hpp"
#include "gpu/backend/rank_group.hpp"
#include "gpu/backend/step_input.hpp"
#include "gpu/kernels/launch_plan.hpp"
#include "gpu/memory.hpp"
#include "gpu/runtime.hpp"
#include "model/backend.hpp"
#include "model/gguf/file.hpp"
#include "model/logit_parts.hpp"

namespace troupe::gpu {

class gpu_backend final : public backend {
public:
  gpu_backend(std::unique_ptr<runtime> device, std::string kind, std::shared_ptr<const gguf::file> file,
              const model_program& program, const backend_options& options);

  /// patience: so long it waits until as much memory is free as it wants, which a process that has just died may still have.
  /// Errors: those of make_cuda_backend.
  expected<void> load(std::chrono::milliseconds patience);
  /// Instead of `load`, on a device that only counts: all but `rounding`. Errors: unsupported.
  expected<gpu_memory_needs> count();

  std::string_view device() const override { return kind_; }
  std::string_view name() const override { return name_; }
  expected<void> forward(const forward_batch& batch, std::span<float> logits) override;
  bool samples(std::span<const sampling_request> asked) const override;
  bool runs_ahead() const override;
  expected<void> begin(const forward_batch& batch) override;
  expected<bool> is_done() override;
  expected<void> end() override;
  vocabulary_share own_vocabulary() const override { return logit_parts_.own(); }
  expected<void> exchange(std::span<const std::byte> mine, std::span<std::byte> all) override;
  troupe::memory_account memory() const override { return account_; }
  std::string_view kv_type() const override { return "bf16"; }
  std::size_t block_bytes(kv_group) const override { return program_.layers * layer_block_bytes(); }
  expected<void> read_block(kv_group, block_id block, std::span<std::byte> to) const override;
  expected<void> write_block(kv_group, block_id block, std::span<const std::byte> from) override;
  expected<void> copy_block(kv_group group, block_id from, block_id to) override;

private:
  expected<address> reserve(std::size_t bytes, std::uint64_t& of_account, const std::string& what_for);
  error told_with_account(error failure, const std::string& what_for) const;
  expected<void> make_buffers();
  expected<void> fill_angles();
  expected<void> make_sides();
  expected<void> compute(const forward_batch& batch);
  expected<void> run_steps(const forward_batch& batch);
  expected<std::optional<graph_id>> make_graph(const forward_batch& batch, const decode_shape& shape);
  expected<void> compute_by_graph(const forward_batch& batch, const decode_shape& shape);
  expected<void> bring(std::size_t sampled_rows);

  expected<void> run(const step& step, const forward_batch& batch);
  expected<void> embed(const step& step);
  expected<void> norm(const step& step);
  expected<void> multiply(const step& step);
  expected<void> rope_store(const step& step);
  expected<void> attend(const step& step);
  expected<void> attend_rows(const step& step, const decode_run& run);
  expected<void> activate(const step& step);
  expected<void> take_rows();
  // Of ranks (rank_sums.cpp).
  expected<void> make_ranks();
  std::size_t gathered_room() const;
  expected<void> meet();
  expected<void> all_reduce(const step& step);
  /// The residual, or it and the norm, with what was gathered for them.
  expected<void> add_gathered(const step& step);
  /// What is queued is done; never waits for ever where ranks share the model.
  expected<void> finish();
  expected<void> give_hidden(const step& step, const forward_batch& batch);
  expected<void> bring_results(const forward_batch& batch, std::span<float> logits);

  template <class Kernel>
  expected<void> launch(const typename Kernel::arguments& arguments, extent3 blocks, unsigned threads,
                        std::size_t shared_bytes = 0);

  expected<void> launch(const launch_plan& how, const void* arguments);
  staging_arguments staged_block(address word) const;
  expected<void> move_block(block_id block, bool out) const;

  std::size_t positions() const; ///< That a sequence can have.
  std::size_t words_room() const;
  std::size_t parts_of_row(std::size_t positions) const;
  std::size_t parts_room() const;
  std::size_t layer_block_bytes() const;
  std::size_t layer_stride() const; ///< Bytes of a layer's cache.
  address cache_of(std::uint32_t layer) const { return cache_ + layer * layer_stride(); }
  std::uint32_t width_of(device_buffer which) const;
  address at(device_buffer which) const { return buffers_[static_cast<std::size_t>(which)]; }
  /// Of the step's words on the device.
  address word(std::uint32_t offset) const { return words_ + std::size_t{offset} * sizeof(std::uint32_t); }
  float* staged() const { return reinterpret_cast<float*>(staging_); }
  communicator::deadline deadline() const;

  const std::unique_ptr<runtime> device_;
  const std::string kind_, name_;
  const std::shared_ptr<const gguf::file> file_;
  const model_program program_;
  const backend_options options_;
  const kv_layout layout_;
  decode_batch decodes_;
  device_sampling sampling_;
  bool graphs_wanted_ = false;
  graph_cache graphs_;
  stream_id stream_{};
  std::vector<step> steps_;
  device_weights weights_;
  troupe::memory_account account_;
  std::uint64_t free_at_start_ = 0; ///< Bytes of the device, less those that allocations are rounded up by.

  std::array<address, static_cast<std::size_t>(device_buffer::count)>
    buffers_{};                                   ///< As they are at this point of the step.
  address first_hidden_ = 0, first_attended_ = 0; ///< Of all rows; `kept_*` of those that are wanted.
  address kept_hidden_ = 0, kept_attended_ = 0;
  address cache_ = 0;    ///< [layers], each as gpu/kernels/kv_layout.hpp says
  address unpacked_ = 0; ///< For large products.
  address angles_ = 0;   ///< float32 [positions, rotated size / 2, 2]
  address parts_ = 0;    ///< Of attention's splits.
  address words_ = 0;    ///< The step's input.
  address staging_ = 0;  ///< Pinned: logits, hidden states, sums over ranks.
  /// A block of all layers on its way, behind its number: on the device and in pinned memory.
  address block_buffer_ = 0, staged_block_ = 0;
  /// The host's side of a step: steps that run ahead of each other have one each.
  struct host_side {
    address words = 0;   ///< Pinned: what the host brings,
    address results = 0; ///< and what was sampled.
    event_id computed{};
  };
  /// A step that was begun and has not ended.
  struct begun_step {
    const host_side* side;
    std::uint32_t sampled_rows;
    std::span<const sampling_request> asked;
    std::span<chosen_token> chosen;
  };
  std::array<host_side, 2> sides_;
  std::size_t side_ = 0; ///< That of the last step.
  std::deque<begun_step> begun_;
  step_input input_;
  std::uint32_t rows_ = 0; ///< Of the buffers, at this point of the step.
  std::uint32_t logit_rows_ = 0;
  logit_parts logit_parts_{program_};
  bool met_ = false; ///< The other ranks, which may load longer.
  std::optional<rank_group> ranks_;
  address gathered_ = 0;     ///< What ranks bring to a sum: float32 [ranks, rows, width]
  bool is_gathered_ = false; ///< It is there, and the next step adds it.
};

/// Errors: those of make_cuda_backend.
expected<std::unique_ptr<backend>> load_backend(std::unique_ptr<runtime> device, std::string kind,
                                                std::shared_ptr<const gguf::file> file, const model_program& program,
                                                const backend_options& options,
                                                std::chrono::milliseconds patience = usual_patience);

} // namespace troupe::gpu
