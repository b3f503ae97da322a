// The class behind make_cpu_backend; see backends.hpp.
//
// All threads walk through the steps of cpu/plan.hpp together, take pieces of each step's work (a product's from shares of
// their own first, everything else's from one counter), and meet at a barrier after it. Which thread takes which piece changes no result.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/bf16_kernels.hpp"
#include "cpu/kernels.hpp"
#include "model/logit_parts.hpp"
#include "cpu/page_memory.hpp"
#include "cpu/plan.hpp"
#include "cpu/thread_pool.hpp"
#include "cpu/weights.hpp"
#include "cpu/work_shares.hpp"
#include "model/backend.hpp"
#include "model/sampling/kernels.hpp"

namespace troupe::cpu {

inline constexpr std::size_t buffer_count = static_cast<std::size_t>(buffer::count);
inline constexpr std::size_t forms_count = static_cast<std::size_t>(activation_form::bfloats) + 1;

/// A counter on a cache line of its own.
struct alignas(64) work_counter {
  std::atomic<std::uint32_t> next{0};
};

/// Rows of one sequence that attend together.
struct attention_rows {
  const batch_span* span;
  std::uint32_t offset, rows; ///< Within the span.
};

/// One segment of what they attend to, where there are too few rows to keep all threads busy.
struct attention_piece {
  std::uint32_t rows; ///< Index of an `attention_rows`.
  std::uint32_t segment;
};

class threaded_backend final : public backend {
public:
  threaded_backend(const model_program& program, const backend_options& options, instruction_set instructions)
      : program_(program), options_(options), kernels_(kernels_for(instructions)),
        bf16_kernels_(bf16_kernels_for(instructions)),
        name_((options.arithmetic == cpu_arithmetic::bf16 ? "cpu-bf16-" : "cpu-") +
              std::string(to_string(instructions))),
        pool_(options.threads ? options.threads : usable_cpus()), products_{work_shares(pool_.size()),
                                                                            work_shares(pool_.size())} {}

  std::optional<error> load(std::shared_ptr<const gguf::file> file);

  std::string_view name() const override { return name_; }
  expected<void> forward(const forward_batch& batch, std::span<float> logits) override;
  vocabulary_share own_vocabulary() const override { return logit_parts_.own(); }
  expected<void> exchange(std::span<const std::byte> mine, std::span<std::byte> all) override;
  std::span<const float> largest_logits() const override;
  unsigned threads() const override { return pool_.size(); }
  void for_each(std::uint32_t count, const std::function<void(std::uint32_t, unsigned)>& body) override;
  memory_account memory() const override {
    return {weights_.bytes(), kv_.size(), workspace_.size() + partials_.size() + logit_parts_.bytes()};
  }
  std::string_view kv_type() const override { return to_string(shape_.dtype); }
  std::size_t block_bytes(kv_group) const override { return block_stride_; }
  expected<void> read_block(kv_group, block_id block, std::span<std::byte> to) const override;
  expected<void> write_block(kv_group, block_id block, std::span<const std::byte> from) override;
  expected<void> copy_block(kv_group group, block_id from, block_id to) override;

private:
  void bind_weights();
  std::optional<error> lay_out_workspace();
  void prepare(const forward_batch& batch, std::span<float> logits);
  void run_steps(unsigned thread);
  void run_rows(const step& what, work_counter& work, std::uint32_t rows);
  void run_row_operation(const row_operation& what, std::uint32_t row);
  void run_products(const step& what, work_shares& work, std::uint32_t rows, unsigned thread);
  void run_product(const product& what, std::uint32_t first_panel, std::uint32_t end_panel, std::uint32_t rows,
                   unsigned thread);
  void run_bf16_product(const product& what, std::uint32_t first_panel, std::uint32_t end_panel, std::uint32_t rows,
                        unsigned thread);
  share panels_of(const product& what, unsigned thread) const;
  void scan_logits(std::uint32_t first_row, std::uint32_t rows, std::uint32_t first_panel, std::uint32_t end_panel);

  // cpu/threaded_attention.cpp
  std::optional<error> lay_out_attention();
  void prepare_attention();
  void run_attention(const step& what, work_counter& work, unsigned thread);
  attention_tile tile_for(const step& what, const attention_rows& rows, std::uint32_t kv_head,
                          std::uint32_t first_head, unsigned thread) const;
  void attend(const step& what, const attention_rows& rows, std::uint32_t kv_head, unsigned thread);
  void attend_to_segment(const step& what, const attention_piece& piece, std::uint32_t kv_head, unsigned thread);
  void convert_attended(const step& what, const attention_rows& rows, std::uint32_t kv_head);

  /// Makes another form of columns [column, column + width) of a row: whole blocks, or all of a row's.
  void convert(buffer which, std::uint32_t row, std::size_t column, std::size_t width, activation_form form);
  void take_rows(const operation& op);
  expected<void> meet_group();
  expected<void> all_reduce(const operation& op, std::uint32_t rows);
  expected<void> all_gather(std::uint32_t rows);
  communicator::deadline deadline() const { return std::chrono::steady_clock::now() + options_.collective_timeout; }
  void make_angles(std::uint32_t row);
  void embed(const operation& op, std::uint32_t row);
  void rope(const operation& op, std::uint32_t row);
  void store_kv(const operation& op, std::uint32_t row);

  float* row_of(buffer which, std::size_t row) const {
    return buffers_[static_cast<std::size_t>(which)] + row * program_.width_of(which);
  }
  /// Where a product of all of a matrix's outputs goes: of logits those of this rank alone.
  float* output_of(const operation& op, std::size_t row) const {
    return row_of(op.output, row) + (op.output == buffer::logits ? logit_parts_.own().begin : 0);
  }
  /// The tile of 16 rows that `row` is in.
  template <unsigned Bytes>
  activation_block<Bytes>* tile_of(buffer which, std::size_t row) const {
    const std::size_t offset = row / tile_rows * (program_.width_of(which) / block_columns);
    if constexpr (Bytes == 1)
      return one_byte_[static_cast<std::size_t>(which)] + offset;
    else
      return two_bytes_[static_cast<std::size_t>(which)] + offset;
  }
  /// The same of rounded rows.
  std::byte* bfloat_tile_of(buffer which, std::size_t row) const {
    return bfloats_[static_cast<std::size_t>(which)] +
           row / tile_rows * bf16_blocks(program_.width_of(which)) * bf16_tile_numbers * bf16_kernels_.number_bytes;
  }
  std::byte* kv_of(std::uint32_t layer, std::uint32_t kv_head) const {
    return kv_.as<std::byte>() + (std::size_t{layer} * program_.kv_heads + kv_head) * shape_.bytes();
  }
  std::byte* contents_of(block_id block) const { return kv_.as<std::byte>(block * block_bytes(0)); }
  bool quantised(const std::string& weight) const { return is_quantised(weights_.matrix(weight).kind()); }

  const model_program program_;
  const backend_options options_;
  const kernel_table& kernels_;
  const bf16_kernels& bf16_kernels_;
  const std::string name_;
  thread_pool pool_;
  weights weights_;
  std::vector<step> steps_;
  std::deque<work_counter> counters_; ///< One a step, for those that are not products.
  work_shares products_
    [2]; ///< Of products: the step's, and the next step's, so that each owner resets its own after a barrier.
  rope_frequencies frequencies_;
  kv_shape shape_;
  std::size_t block_stride_ = 0; ///< Bytes of KV memory that a block takes: [layer][kv head][kv_shape].
  std::uint32_t attention_rows_ = 1, heads_at_once_ = 1;
  page_memory kv_, workspace_;
  const sampling::kernel_table& sampling_ = sampling::kernels_for(sampling::best_vectors());
  std::vector<float> largest_logits_; ///< [max_logit_rows][blocks of the vocabulary]
  logit_parts logit_parts_{program_};
  bool met_ = false;
  std::optional<error> failure_; ///< Of the group, once.
  std::size_t logit_rows_ = 0;   ///< Of the last pass.
  float* buffers_[buffer_count] = {};
  // Memory of their own for each: kernels also compute with rows that nobody asked for, and where those are bytes of
  // something else, numbers too small to be normal make that slow.
  activation_block<1>* one_byte_[buffer_count] = {};
  activation_block<2>* two_bytes_[buffer_count] = {};
  std::byte* bfloats_[buffer_count] = {}; ///< As the kernels like them.
  float* angles_ = nullptr;               ///< [max_rows][cos, sin][rope size]
  float* scratch_ = nullptr;              ///< Of attention, for each thread.
  std::byte* unpacked_ = nullptr;         ///< Of products in bfloat16: [threads][bf16_scratch_bytes]
  page_memory partials_;                  ///< Of attention in segments: [kv heads][partials_each_][attention_partial]
  std::size_t partials_each_ = 0;
  std::size_t split_rows_ = 0; ///< Attention is split where there are fewer of `attention_` than this.
  std::unique_ptr<std::atomic<std::uint32_t>[]> segments_left_; ///< [kv heads][split_rows_]

  // Of the pass that is running.
  const forward_batch* batch_ = nullptr;
  std::vector<std::uint32_t> positions_, blocks_; ///< Of each row; the block that its KV goes to.
  std::vector<attention_rows> attention_;
  std::vector<attention_piece> pieces_; ///< Of attention; empty where whole rows are enough work for all threads.
  std::vector<std::uint32_t> first_partial_; ///< Of each of `attention_`, where there are pieces.
};

} // namespace troupe::cpu
