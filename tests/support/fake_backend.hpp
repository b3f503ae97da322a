// A backend without a model, for tests of the engine: the next token is a hash of all tokens before it, read back
// from KV memory through the block table. A token from wrong rows, wrong blocks or a lost step is therefore a wrong
// token.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "engine/kv/messages.hpp"
#include "model/backend.hpp"

namespace troupe::test {

/// What a test may ask of the backends that it has made, while they run.
/// A door that a test may shut: whoever comes to it waits.
class gate {
public:
  void shut() {
    std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --waiting_;
  }
  /// Until somebody stands before it.
  void wait_for_somebody() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ > 0; });
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int waiting_ = 0;
};

struct fake_device {
  gate steps_gate;   ///< Before each step.
  gate loading_gate; ///< Before a backend is made.
  std::uint32_t vocabulary = 0;
  std::chrono::microseconds step_time{0};
  std::atomic<int> crash_in_steps{-1}; ///< Counts down; the step that reaches 0 throws.
  std::atomic<std::uint64_t> steps{0}, rows{0};
  std::atomic<std::uint32_t> most_rows{0};
  std::atomic<int> made{0};
  std::optional<error> refuse_to_load;
};

/// The token after these, and never one of the first `reserved` ids, which tests keep for special tokens.
inline token_id fake_next(std::span<const token_id> tokens, std::uint32_t vocabulary, token_id reserved = 3) {
  std::uint32_t h = 2166136261u;
  for (auto token : tokens)
    h = (h ^ static_cast<std::uint32_t>(token)) * 16777619u;
  return reserved + static_cast<token_id>(h % (vocabulary - static_cast<std::uint32_t>(reserved)));
}

inline constexpr std::uint32_t fake_width = 4;

/// The hidden state after these tokens.
inline std::array<float, fake_width> fake_hidden(std::span<const token_id> tokens) {
  const auto h = static_cast<std::uint32_t>(fake_next(tokens, 0x7fffffff));
  std::array<float, fake_width> result;
  for (std::uint32_t i = 0; i < fake_width; ++i)
    result[i] = static_cast<float>(h >> 7 * i & 0x7f) - 63.5f;
  return result;
}

/// What pooling the hidden states of a prompt comes to.
inline std::vector<float> fake_embedding(std::span<const token_id> prompt, pooling how) {
  std::array<double, fake_width> sum{};
  for (std::size_t count = how == pooling::mean ? 1 : prompt.size(); count <= prompt.size(); ++count)
    for (std::uint32_t i = 0; i < fake_width; ++i)
      sum[i] += fake_hidden(prompt.first(count))[i];
  double squares = 0;
  for (const double each : sum)
    squares += each * each;
  std::vector<float> result;
  for (const double each : sum)
    result.push_back(static_cast<float>(each / std::sqrt(squares)));
  return result;
}

inline std::vector<token_id> fake_answer(std::vector<token_id> tokens, std::size_t count, std::uint32_t vocabulary) {
  std::vector<token_id> answer;
  while (answer.size() < count) {
    answer.push_back(fake_next(tokens, vocabulary));
    tokens.push_back(answer.back());
  }
  return answer;
}

/// Memory of each KV group apart. The first sees all; a group with a window must hold the same tokens within it.
class fake_backend : public backend {
public:
  fake_backend(std::shared_ptr<fake_device> device, std::vector<kv_group_options> groups)
      : device_(std::move(device)), groups_(std::move(groups)) {
    for (const auto& group : groups_)
      memory_.emplace_back(std::size_t{group.blocks} * tokens_per_block, -1);
  }
  fake_backend(std::shared_ptr<fake_device> device, std::uint32_t kv_blocks)
      : fake_backend(std::move(device), std::vector<kv_group_options>{{kv_blocks, 0}}) {}

  std::string_view name() const override { return "fake"; }
  memory_account memory() const override { return {}; }
  std::string_view kv_type() const override { return "tokens"; }
  std::size_t block_bytes(kv_group) const override { return tokens_per_block * sizeof(token_id); }
  expected<void> read_block(kv_group group, block_id block, std::span<std::byte> to) const override {
    std::memcpy(to.data(), memory_.at(group).data() + std::size_t{block} * tokens_per_block, block_bytes(group));
    return {};
  }
  expected<void> write_block(kv_group group, block_id block, std::span<const std::byte> from) override {
    std::memcpy(memory_.at(group).data() + std::size_t{block} * tokens_per_block, from.data(), block_bytes(group));
    return {};
  }
  expected<void> copy_block(kv_group group, block_id from, block_id to) override {
    auto& memory = memory_.at(group);
    std::copy_n(memory.begin() + from * tokens_per_block, tokens_per_block, memory.begin() + to * tokens_per_block);
    return {};
  }

  expected<void> forward(const forward_batch& batch, std::span<float> logits) override {
    device_->steps_gate.pass();
    if (device_->crash_in_steps >= 0 && device_->crash_in_steps-- == 0)
      throw std::runtime_error("the device has crashed, as the test wanted");
    ++device_->steps;
    device_->rows += batch.tokens.size();
    device_->most_rows = std::max<std::uint32_t>(device_->most_rows, static_cast<std::uint32_t>(batch.tokens.size()));
    std::fill(logits.begin(), logits.end(), 0.0f);
    std::size_t wanted = 0, hidden = 0;
    for (const auto& span : batch.spans)
      for (std::uint32_t i = 0; i < span.rows; ++i) {
        const auto position = span.first_position + i;
        for (std::size_t g = 0; g < memory_.size(); ++g)
          at(span, g, position) = batch.tokens[span.first_row + i];
        if (wanted < batch.logit_rows.size() && batch.logit_rows[wanted] == span.first_row + i)
          logits[wanted++ * device_->vocabulary + static_cast<std::size_t>(next(span, position))] = 1.0f;
        if (hidden < batch.hidden_rows.size() && batch.hidden_rows[hidden] == span.first_row + i)
          std::ranges::copy(fake_hidden(seen_from(span, position)), &batch.hidden[hidden++ * fake_width]);
      }
    if (device_->step_time.count() > 0)
      std::this_thread::sleep_for(device_->step_time);
    return {};
  }

private:
  token_id next(const batch_span& span, std::uint32_t position) {
    return fake_next(seen_from(span, position), device_->vocabulary);
  }

  std::vector<token_id> seen_from(const batch_span& span, std::uint32_t position) {
    std::vector<token_id> all;
    for (std::uint32_t p = 0; p <= position; ++p)
      all.push_back(at(span, 0, p));
    for (std::size_t g = 1; g < memory_.size(); ++g) {
      const auto window = groups_[g].window;
      for (auto p = window > 0 && position + 1 > window ? position + 1 - window : 0; p <= position; ++p)
        if (at(span, g, p) != all[p])
          all.push_back(-1); // Another token than the right one follows.
    }
    return all;
  }

  token_id& at(const batch_span& span, std::size_t group, std::uint32_t position) {
    const auto& table = span.tables[group];
    return memory_[group].at(std::size_t{table[position / tokens_per_block]} * tokens_per_block +
                             position % tokens_per_block);
  }

  std::shared_ptr<fake_device> device_;
  std::vector<kv_group_options> groups_;
  std::vector<std::vector<token_id>> memory_;
};

} // namespace troupe::test
