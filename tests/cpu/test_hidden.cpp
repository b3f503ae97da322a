// Hidden states that a pass gives beside logits: they are those that the logits are made of, and the same bits in any
// batch.
#include <cmath>
#include <cstring>
#include <optional>

#include <boost/test/unit_test.hpp>

#include "tests/cpu/support.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(hidden_states)

namespace {

const backend_options sizes{.kv_blocks = 64, .max_rows = 256, .max_logit_rows = 16, .threads = 2};
constexpr maker makers[] = {make_reference_backend, make_cpu_backend, make_bf16_backend};
constexpr std::uint32_t lengths[] = {1, 7, 33, 40};

loaded load_tiny(maker make, gguf::tensor_type type) {
  auto file = gguf::parse(tiny_model({.seed = 4, .type = type}));
  BOOST_REQUIRE(file);
  return load(*file, make, sizes);
}

/// Rows of one sequence, and whether their hidden states are wanted.
struct part {
  sequence* of;
  std::uint32_t rows;
  bool hidden;
};

/// One pass, in which parts whose hidden states are wanted come last; of the others the last row has logits.
std::vector<std::vector<float>> hidden_of(loaded& on, std::span<const part> parts) {
  std::vector<piece> pieces;
  std::vector<std::uint32_t> wanted;
  std::uint32_t row = 0;
  for (const auto& each : parts) {
    pieces.push_back({each.of, each.rows, each.hidden ? 0u : 1u});
    for (std::uint32_t i = 0; each.hidden && i < each.rows; ++i)
      wanted.push_back(row + i);
    row += each.rows;
  }
  const auto [tokens, spans, logit_rows] = lay_out(pieces);
  std::vector<float> logits(logit_rows.size() * on.program.vocabulary), hidden(wanted.size() * on.program.width);
  forward_batch batch{tokens, spans, logit_rows};
  batch.hidden_rows = wanted;
  batch.hidden = hidden;
  BOOST_REQUIRE(on.backend->forward(batch, logits));
  std::vector<std::vector<float>> out;
  for (auto at = hidden.begin(); at != hidden.end(); at += on.program.width)
    out.emplace_back(at, at + on.program.width);
  return out;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

} // namespace

BOOST_AUTO_TEST_CASE(logits_are_the_products_of_the_hidden_state_with_the_rows_of_the_output_matrix) {
  for (auto make : makers) {
    auto on = load_tiny(make, gguf::tensor_type::f32);
    const auto file = *gguf::parse(tiny_model({.seed = 4, .type = gguf::tensor_type::f32}));
    const auto* output = file->find_tensor("token_embd.weight"); // The tiny model's matrices are tied.
    BOOST_REQUIRE(output);
    auto with_logits = random_sequences(on.program, lengths, 9), with_hidden = with_logits;
    for (std::size_t s = 0; s < with_logits.size(); ++s) {
      const auto rows = static_cast<std::uint32_t>(with_logits[s].tokens.size());
      const auto logits = forward(on, std::vector<piece>{{&with_logits[s], rows, 1}});
      const auto hidden = hidden_of(on, std::vector<part>{{&with_hidden[s], rows, true}});
      BOOST_REQUIRE(hidden.size() == rows);
      std::vector<float> row(on.program.width);
      double worst = 0, size = 0;
      for (std::uint32_t token = 0; token < on.program.vocabulary; ++token) {
        gguf::dequantise(output->type, output->row(token), row);
        double product = 0;
        for (std::size_t i = 0; i < row.size(); ++i)
          product += double{row[i]} * hidden.back()[i];
        worst = std::max(worst, std::abs(product - logits[0][token]));
        size = std::max(size, std::abs(product));
      }
      // bfloat16 rounds both sides of the product to 8 bits.
      BOOST_TEST(worst < size * (make == make_bf16_backend ? 0.02 : 1e-5), on.backend->name() << " " << worst);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_hidden_state_is_the_same_bits_alone_and_in_chunks_beside_logits_of_others) {
  for (auto make : makers)
    for (auto type : {gguf::tensor_type::f32, gguf::tensor_type::q4_1}) {
      auto on = load_tiny(make, type);
      auto alone = random_sequences(on.program, lengths, 9), mixed = alone;
      for (std::uint32_t chunk : {3u, 16u}) {
        for (auto& one : mixed)
          one.done = 0;
        std::vector<std::vector<float>> third, fourth;
        while (mixed[2].done < mixed[2].tokens.size() || mixed[3].done < mixed[3].tokens.size()) {
          std::vector<part> parts;
          for (std::size_t s = 0; s < mixed.size(); ++s) {
            const auto left = static_cast<std::uint32_t>(mixed[s].tokens.size()) - mixed[s].done;
            if (left > 0)
              parts.push_back({&mixed[s], std::min(left, chunk), s >= 2});
          }
          const auto of_third = mixed[2].tokens.size() - mixed[2].done;
          auto hidden = hidden_of(on, parts);
          for (std::size_t i = 0; i < hidden.size(); ++i)
            (i < std::min<std::size_t>(of_third, chunk) ? third : fourth).push_back(std::move(hidden[i]));
        }
        for (std::size_t s : {2u, 3u}) {
          alone[s].done = 0;
          const auto rows = static_cast<std::uint32_t>(alone[s].tokens.size());
          const auto wanted = hidden_of(on, std::vector<part>{{&alone[s], rows, true}});
          const auto& got = s == 2 ? third : fourth;
          BOOST_REQUIRE(got.size() == wanted.size());
          for (std::size_t i = 0; i < wanted.size(); ++i)
            BOOST_TEST(same_bits(wanted[i], got[i]), on.backend->name() << " row " << i);
        }
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
