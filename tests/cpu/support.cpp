#include "tests/cpu/support.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include <boost/test/unit_test.hpp>

namespace troupe::test {

expected<std::unique_ptr<backend>> make_bf16_backend(std::shared_ptr<const gguf::file> file,
                                                     const model_program& program, const backend_options& options) {
  auto own = options;
  own.arithmetic = cpu_arithmetic::bf16;
  return make_cpu_backend(std::move(file), program, own);
}

loaded load(std::shared_ptr<const gguf::file> file, maker make, const backend_options& options) {
  auto program = make_program(*file);
  BOOST_REQUIRE_MESSAGE(program, program.error().message);
  auto made = make(std::move(file), *program, options);
  BOOST_REQUIRE_MESSAGE(made, made.error().message);
  return {std::move(*program), std::move(*made)};
}

namespace {

/// What a backend says that it found in its logits, if it looked.
void check_largest(const backend& on, std::span<const float> logits, std::size_t vocabulary) {
  const auto found = on.largest_logits();
  if (found.empty())
    return;
  const auto own = on.own_vocabulary();
  const std::size_t blocks = sampling::blocks_of(vocabulary);
  std::vector<float> wanted(found.begin(), found.end());
  for (std::size_t row = 0; row < logits.size() / vocabulary; ++row)
    for (std::size_t i = own.begin; i < own.end; i += sampling::block_tokens) {
      const auto block = logits.subspan(row * vocabulary + i, std::min(sampling::block_tokens, own.end - i));
      wanted[row * blocks + i / sampling::block_tokens] = *std::ranges::max_element(block);
    }
  BOOST_TEST(std::ranges::equal(found, wanted), "The largest logit of some block is another.");
}

} // namespace

batch_of_pieces lay_out(std::span<const piece> pieces) {
  batch_of_pieces out;
  auto& [tokens, spans, logit_rows] = out;
  for (const auto& piece : pieces) {
    auto& from = *piece.of;
    const auto first_row = static_cast<std::uint32_t>(tokens.size());
    spans.push_back({first_row, piece.rows, from.done, from.blocks});
    for (std::uint32_t i = 0; i < piece.rows; ++i) {
      if (i + piece.logits >= piece.rows)
        logit_rows.push_back(first_row + i);
      tokens.push_back(from.tokens.at(from.done + i));
    }
    from.done += piece.rows;
  }
  return out;
}

std::vector<std::vector<float>> forward(loaded& on, std::span<const piece> pieces) {
  const auto [tokens, spans, logit_rows] = lay_out(pieces);
  const std::size_t vocabulary = on.program.vocabulary;
  std::vector<float> logits(logit_rows.size() * vocabulary);
  on.backend->forward({tokens, spans, logit_rows}, logits);
  check_largest(*on.backend, logits, vocabulary);
  std::vector<std::vector<float>> out;
  for (std::size_t i = 0; i < logit_rows.size(); ++i)
    out.emplace_back(logits.begin() + static_cast<std::ptrdiff_t>(i * vocabulary),
                     logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocabulary));
  return out;
}

std::vector<sequence> random_sequences(const model_program& program, std::span<const std::uint32_t> lengths,
                                       std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<sequence> out;
  std::uint32_t blocks = 0;
  for (auto length : lengths) {
    out.emplace_back();
    for (std::uint32_t i = 0; i < length; ++i)
      out.back().tokens.push_back(static_cast<token_id>(random() % program.vocabulary));
    blocks += (length + tokens_per_block - 1) / tokens_per_block;
  }
  std::vector<block_id> mixed(blocks);
  std::iota(mixed.begin(), mixed.end(), 0);
  std::shuffle(mixed.begin(), mixed.end(), random);
  for (auto& sequence : out)
    while (sequence.blocks.size() * tokens_per_block < sequence.tokens.size()) {
      sequence.blocks.push_back(mixed.back());
      mixed.pop_back();
    }
  return out;
}

forced_instruction_set::forced_instruction_set(std::string_view name) {
  if (const char* value = std::getenv("TROUPE_CPU_ISA"))
    before_ = value;
  setenv("TROUPE_CPU_ISA", std::string(name).c_str(), 1);
}

forced_instruction_set::~forced_instruction_set() {
  if (before_)
    setenv("TROUPE_CPU_ISA", before_->c_str(), 1);
  else
    unsetenv("TROUPE_CPU_ISA");
}

token_id argmax(std::span<const float> logits) {
  return static_cast<token_id>(std::ranges::max_element(logits) - logits.begin());
}

} // namespace troupe::test
