// What the tests of backends share: sequences that are fed to a backend, in pieces, beside others.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "cpu/backends.hpp"
#include "model/sampling/kernels.hpp"

namespace troupe::test {

/// A backend over a file, with the program that it runs.
struct loaded {
  model_program program;
  std::unique_ptr<troupe::backend> backend;
};

using maker = decltype(&make_cpu_backend);

/// The CPU backend with the arithmetic of bfloat16.
expected<std::unique_ptr<backend>> make_bf16_backend(std::shared_ptr<const gguf::file> file,
                                                     const model_program& program, const backend_options& options);

/// Fails the test where the model cannot be loaded.
loaded load(std::shared_ptr<const gguf::file> file, maker make, const backend_options& options);

/// One sequence with blocks of its own, in whatever order.
struct sequence {
  std::vector<token_id> tokens;
  std::vector<block_id> blocks;
  std::uint32_t done = 0; ///< Positions whose KV is stored.
};

struct piece {
  sequence* of;
  std::uint32_t rows;
  std::uint32_t logits = 1; ///< Of the last so many rows.
};

/// What a backend is told of one forward pass.
struct batch_of_pieces {
  std::vector<token_id> tokens;
  std::vector<batch_span> spans;
  std::vector<std::uint32_t> logit_rows;
};

/// The next rows of each sequence, which count as done from now on.
batch_of_pieces lay_out(std::span<const piece> pieces);

/// One forward pass over the next rows of each sequence. Returns the logits of each wanted row, in order.
std::vector<std::vector<float>> forward(loaded& on, std::span<const piece> pieces);

/// Sequences of random tokens; the blocks of all are mixed.
std::vector<sequence> random_sequences(const model_program& program, std::span<const std::uint32_t> lengths,
                                       std::uint64_t seed);

/// Sets TROUPE_CPU_ISA while it lives.
class forced_instruction_set {
public:
  explicit forced_instruction_set(std::string_view name);
  ~forced_instruction_set();

private:
  std::optional<std::string> before_;
};

token_id argmax(std::span<const float> logits); ///< The lowest of equals.

} // namespace troupe::test
