// A backend without a model, for tests of the engine: the next token is a hash of all tokens before it, read back
// from KV memory through the block table. A token from wrong rows, wrong blocks or a lost step is therefore a wrong
// token.
#pragma once

#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

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

inline std::vector<token_id> fake_answer(std::vector<token_id> tokens, std::size_t count, std::uint32_t vocabulary) {
  std::vector<token_id> answer;
  while (answer.size() < count) {
    answer.push_back(fake_next(tokens, vocabulary));
    tokens.push_back(answer.back());
  }
  return answer;
}

class fake_backend : public backend {
public:
  fake_backend(std::shared_ptr<fake_device> device, std::uint32_t kv_blocks)
      : device_(std::move(device)), memory_(std::size_t{kv_blocks} * tokens_per_block, -1) {}

  std::string_view name() const override { return "fake"; }
  memory_account memory() const override { return {}; }

  void forward(const forward_batch& batch, std::span<float> logits) override {
    device_->steps_gate.pass();
    if (device_->crash_in_steps >= 0 && device_->crash_in_steps-- == 0)
      throw std::runtime_error("the device has crashed, as the test wanted");
    ++device_->steps;
    device_->rows += batch.tokens.size();
    device_->most_rows = std::max<std::uint32_t>(device_->most_rows, static_cast<std::uint32_t>(batch.tokens.size()));
    std::fill(logits.begin(), logits.end(), 0.0f);
    std::size_t wanted = 0;
    for (const auto& span : batch.spans)
      for (std::uint32_t i = 0; i < span.rows; ++i) {
        at(span, span.first_position + i) = batch.tokens[span.first_row + i];
        if (wanted < batch.logit_rows.size() && batch.logit_rows[wanted] == span.first_row + i) {
          std::vector<token_id> all;
          for (std::uint32_t p = 0; p <= span.first_position + i; ++p)
            all.push_back(at(span, p));
          logits[wanted * device_->vocabulary + static_cast<std::size_t>(fake_next(all, device_->vocabulary))] = 1.0f;
          ++wanted;
        }
      }
    std::this_thread::sleep_for(device_->step_time);
  }

private:
  token_id& at(const batch_span& span, std::uint32_t position) {
    return memory_[std::size_t{span.blocks[position / tokens_per_block]} * tokens_per_block +
                   position % tokens_per_block];
  }

  std::shared_ptr<fake_device> device_;
  std::vector<token_id> memory_;
};

} // namespace troupe::test
