// A block's contents read out, written back and copied: what the tiers of the KV cache and forks rest on.
#include <algorithm>
#include <cstring>

#include <boost/test/unit_test.hpp>

#include "tests/cpu/support.hpp"
#include "tests/support/fake_backend.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(block_contents)

namespace {

const backend_options sizes{.kv_blocks = 32, .max_rows = 128, .max_logit_rows = 128, .threads = 2};
struct kind {
  maker make;
  kv_cache_dtype dtype;
};
constexpr kind kinds[] = {{make_reference_backend, kv_cache_dtype::bf16}, // It keeps float32.
                          {make_cpu_backend, kv_cache_dtype::bf16},
                          {make_cpu_backend, kv_cache_dtype::int8}};
constexpr std::uint32_t length = 70, in_common = 64; // The first four blocks are full.

loaded tiny_on(kind what, std::uint64_t seed = 11) {
  // A head size that is no multiple of 16: the fast backend pads its values.
  auto file = gguf::parse(tiny_model({.seed = seed, .layers = 3, .heads = 6, .kv_heads = 2, .head_size = 24}));
  BOOST_REQUIRE(file);
  auto options = sizes;
  options.kv_dtype = what.dtype;
  return load(*file, what.make, options);
}

sequence prompt_of(const loaded& on) {
  return random_sequences(on.program, std::vector{length}, 5).front();
}

std::vector<std::vector<float>> rest_of(loaded& on, sequence& one) {
  const auto rows = length - one.done;
  return forward(on, std::vector<piece>{{&one, rows, rows}});
}

/// The logits after the common part, computed where it was computed.
std::vector<std::vector<float>> wanted(loaded& on, sequence& one) {
  forward(on, std::vector<piece>{{&one, in_common, 0}});
  return rest_of(on, one);
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

/// The same sequence, whose common part is in other blocks: 20 and on.
sequence elsewhere(const sequence& one) {
  sequence other = one;
  for (std::uint32_t i = 0; i < other.blocks.size(); ++i)
    other.blocks[i] = 20 + i;
  other.done = in_common;
  return other;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_copied_block_gives_the_same_logits_bit_for_bit) {
  for (auto kind : kinds) {
    auto on = tiny_on(kind);
    auto one = prompt_of(on);
    const auto right = wanted(on, one);
    auto other = elsewhere(one);
    for (std::uint32_t i = 0; i < in_common / tokens_per_block; ++i)
      on.backend->copy_block(0, one.blocks[i], other.blocks[i]);
    BOOST_TEST(same_bits(right, rest_of(on, other)), on.backend->name());
  }
}

BOOST_AUTO_TEST_CASE(a_copy_and_its_original_are_written_apart) {
  for (auto kind : kinds) {
    auto on = tiny_on(kind);
    auto one = prompt_of(on);
    forward(on, std::vector<piece>{{&one, length, 0}});
    std::vector<std::byte> before(on.backend->block_bytes(0)), after(before.size());
    on.backend->read_block(0, one.blocks[4], before);
    on.backend->copy_block(0, one.blocks[4], 25);
    auto fork = one; // Shares the full blocks, and goes on in its own copy of the last one.
    fork.blocks[4] = 25;
    fork.tokens.push_back(3);
    forward(on, std::vector<piece>{{&fork, 1, 1}});
    on.backend->read_block(0, one.blocks[4], after);
    BOOST_TEST((before == after));
    on.backend->read_block(0, 25, after);
    BOOST_TEST((before != after));
  }
}

BOOST_AUTO_TEST_CASE(a_block_written_back_into_another_backend_gives_the_same_logits_bit_for_bit) {
  for (auto kind : kinds) {
    auto on = tiny_on(kind), again = tiny_on(kind);
    auto one = prompt_of(on);
    const auto right = wanted(on, one);
    auto other = elsewhere(one);
    std::vector<std::byte> bytes(on.backend->block_bytes(0));
    BOOST_TEST(again.backend->block_bytes(0) == bytes.size());
    for (std::uint32_t i = 0; i < in_common / tokens_per_block; ++i) {
      on.backend->read_block(0, one.blocks[i], bytes);
      again.backend->write_block(0, other.blocks[i], bytes);
    }
    BOOST_TEST(same_bits(right, rest_of(again, other)), on.backend->name());
  }
}

BOOST_AUTO_TEST_CASE(a_block_that_was_not_written_back_gives_other_logits) {
  for (auto kind : kinds) { // So that the two tests above can fail.
    auto on = tiny_on(kind), again = tiny_on(kind);
    auto one = prompt_of(on);
    const auto right = wanted(on, one);
    auto other = elsewhere(one);
    std::vector<std::byte> bytes(on.backend->block_bytes(0));
    for (std::uint32_t i = 0; i + 1 < in_common / tokens_per_block; ++i) {
      on.backend->read_block(0, one.blocks[i], bytes);
      again.backend->write_block(0, other.blocks[i], bytes);
    }
    BOOST_TEST(!same_bits(right, rest_of(again, other)), on.backend->name());
  }
}

BOOST_AUTO_TEST_CASE(reading_writing_and_copying_a_block_touch_no_other) {
  for (auto kind : kinds) {
    auto on = tiny_on(kind);
    auto one = prompt_of(on);
    forward(on, std::vector<piece>{{&one, length, 0}});
    const auto all = [&] {
      std::vector<std::vector<std::byte>> blocks(sizes.kv_blocks, std::vector<std::byte>(on.backend->block_bytes(0)));
      for (block_id b = 0; b < sizes.kv_blocks; ++b)
        on.backend->read_block(0, b, blocks[b]);
      return blocks;
    };
    auto expected = all();
    expected[sizes.kv_blocks - 1].assign(on.backend->block_bytes(0), std::byte{7});
    on.backend->write_block(0, sizes.kv_blocks - 1, expected.back());
    expected[9] = expected[one.blocks[0]];
    on.backend->copy_block(0, one.blocks[0], 9);
    BOOST_TEST((expected == all()));
  }
}

BOOST_AUTO_TEST_CASE(the_fake_backend_keeps_the_same_contract_in_each_group) {
  auto device = std::make_shared<fake_device>();
  device->vocabulary = 300;
  fake_backend on(device, std::vector<kv_group_options>{{8, 0}, {8, 4}});
  const std::vector<token_id> tokens{5, 6, 7};
  using tables = std::vector<std::vector<block_id>>;
  std::vector<float> logits(300), again(300);
  const auto run = [&](const tables& in, std::uint32_t from, std::vector<float>& to) {
    const std::vector<batch_span> spans{{0, 3 - from, from, in[0], in}};
    const std::vector<std::uint32_t> last{2 - from};
    on.forward({std::span(tokens).subspan(from), spans, last}, to);
  };
  run({{2}, {3}}, 0, logits);
  std::vector<std::byte> bytes(on.block_bytes(0));
  for (kv_group group : {0, 1}) {
    const auto own = 2u + group;
    on.copy_block(group, own, 4 + group);
    on.read_block(group, own, bytes);
    on.write_block(group, 6 + group, bytes);
  }
  for (const tables& in : {tables{{4}, {5}}, tables{{6}, {7}}}) {
    run(in, 2, again);
    BOOST_TEST(logits == again, boost::test_tools::per_element());
  }
  run({{4}, {6}}, 2, again); // Group 1's block 6 was never written.
  BOOST_TEST((logits != again));
}

BOOST_AUTO_TEST_SUITE_END()
