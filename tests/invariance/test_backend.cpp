// The real model without actors: all logits and all of the KV memory of one prompt, whole and in chunks, and of
// generated tokens when they are decoded and when they are computed again.
#include <algorithm>
#include <cstring>
#include <random>

#include "tests/cpu/support.hpp"
#include "tests/invariance/real_engine.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

const backend_options sizes{.kv_blocks = 64, .max_rows = 256, .max_logit_rows = 256, .threads = 2};
constexpr std::uint32_t prompt_tokens_count = 150; // The last block is not full.

loaded load_real() {
  return load(real_model()->file, make_cpu_backend, sizes);
}

/// In blocks of its own, with room for `length` tokens.
sequence sequence_of(std::vector<token_id> tokens, std::uint32_t length, block_id first_block) {
  sequence made;
  made.tokens = std::move(tokens);
  for (std::uint32_t i = 0; i * tokens_per_block < length; ++i)
    made.blocks.push_back(first_block + i);
  return made;
}

sequence the_prompt(block_id first_block, std::uint32_t length = prompt_tokens_count) {
  auto text = real_model()->tokens->encode({{prose, false}});
  text.resize(prompt_tokens_count);
  return sequence_of(std::move(text), length, first_block);
}

using logit_rows = std::vector<std::vector<float>>;
using contents = std::vector<std::vector<std::byte>>;

struct computed {
  logit_rows logits; ///< After each token.
  contents blocks;
};

/// What is not written by the sequence itself is the same for all.
void wipe(loaded& on, const sequence& one) {
  const std::vector<std::byte> zeros(on.backend->block_bytes(0));
  for (auto block : one.blocks)
    on.backend->write_block(0, block, zeros);
}

contents read(const loaded& on, const sequence& one) {
  contents all(one.blocks.size(), std::vector<std::byte>(on.backend->block_bytes(0)));
  for (std::size_t i = 0; i < all.size(); ++i)
    on.backend->read_block(0, one.blocks[i], all[i]);
  return all;
}

void append(logit_rows& to, logit_rows&& more) {
  std::ranges::move(more, std::back_inserter(to));
}

/// `next_chunk` says how many rows follow, at most.
template <class NextChunk>
computed compute(loaded& on, sequence one, NextChunk next_chunk) {
  wipe(on, one);
  computed all;
  while (one.done < one.tokens.size()) {
    const auto left = static_cast<std::uint32_t>(one.tokens.size()) - one.done;
    const auto rows = std::min<std::uint32_t>(left, next_chunk());
    append(all.logits, forward(on, std::vector<piece>{{&one, rows, rows}}));
  }
  all.blocks = read(on, one);
  return all;
}

bool same_bits(const logit_rows& a, const logit_rows& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

void check_same(const computed& wanted, const computed& got, const std::string& how) {
  BOOST_TEST(same_bits(wanted.logits, got.logits), "logits differ: " << how);
  BOOST_TEST((wanted.blocks == got.blocks), "keys and values differ: " << how);
}

} // namespace

BOOST_AUTO_TEST_SUITE(real_backend,
                      *boost::unit_test::precondition(needs_real_model) * boost::unit_test::label("slow"))

BOOST_AUTO_TEST_CASE(one_prompt_has_the_same_logits_and_kv_bit_for_bit_whole_and_in_any_chunks) {
  auto on = load_real();
  const auto wanted = compute(on, the_prompt(0), [] { return 256u; });
  BOOST_REQUIRE(wanted.logits.size() == prompt_tokens_count);
  BOOST_REQUIRE(wanted.blocks.size() == 10u);
  BOOST_TEST((wanted.blocks[0] != wanted.blocks[1]));
  for (const std::uint32_t size : {1u, 7u, 64u})
    check_same(wanted, compute(on, the_prompt(20), [=] { return size; }), "chunks of " + std::to_string(size));
  for (std::uint32_t seed = 0; seed < 3 * scale(); ++seed) {
    std::mt19937 random(seed);
    check_same(wanted, compute(on, the_prompt(40), [&] { return 1 + static_cast<std::uint32_t>(random() % 60); }),
               "random chunks, seed " + std::to_string(seed));
  }
}

BOOST_AUTO_TEST_CASE(generated_tokens_have_the_same_logits_and_kv_bit_for_bit_decoded_and_computed_again) {
  constexpr std::uint32_t generated = 40, length = prompt_tokens_count + generated;
  auto on = load_real();
  auto one = the_prompt(0, length);
  auto neighbour = sequence_of({one.tokens.rbegin(), one.tokens.rend()}, prompt_tokens_count, 30);
  wipe(on, one);
  computed decoded;
  append(decoded.logits, forward(on, std::vector<piece>{{&one, prompt_tokens_count, prompt_tokens_count}}));
  while (one.tokens.size() < length) { // Beside another sequence's chunks, as long as it has some.
    one.tokens.push_back(test::argmax(decoded.logits.back()));
    std::vector<piece> pieces{{&one, 1, 1}};
    if (neighbour.done < neighbour.tokens.size())
      pieces.push_back({&neighbour, 5, 0});
    append(decoded.logits, forward(on, pieces));
  }
  decoded.blocks = read(on, one);
  auto again = one;
  for (auto& block : again.blocks)
    block += 45;
  again.done = 0;
  for (const std::uint32_t size : {256u, 64u, 7u, 1u})
    check_same(decoded, compute(on, again, [=] { return size; }), "again in chunks of " + std::to_string(size));
}

BOOST_AUTO_TEST_SUITE_END()
