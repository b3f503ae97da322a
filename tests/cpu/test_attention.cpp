// Attention's kernels: the same bits on every instruction set, for each row alone, and in segments.
#include <cmath>
#include <cstdlib>
#include <memory>

#include "tests/cpu/kernel_support.hpp"

using namespace troupe::cpu;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(attention_kernels)

namespace {

/// Numbers that bfloat16 holds exactly.
std::vector<float> bfloats(std::vector<float> x) {
  for (float& v : x) {
    const auto bits = static_cast<std::uint32_t>(bfloat_bits(v)) << 16;
    std::memcpy(&v, &bits, 4);
  }
  return x;
}

/// Keys and values of `positions` positions for one head, in blocks out of order.
struct cache {
  cache(const kv_shape& shape, random_numbers& random, std::uint16_t garbage)
      : kv(shape.total() * (positions / 16 + 1), garbage) {
    for (std::uint32_t b = 0; b <= positions / 16; ++b)
      blocks.push_back(b ^ 3u);
    for (unsigned p = 0; p < positions; ++p) {
      const auto key = bfloats(random.numbers(shape.head_size)), value = bfloats(random.numbers(shape.head_size));
      keys.push_back(key);
      values.push_back(value);
      portable_kernels.store_kv(key.data(), value.data(), shape, p % 16, kv.data() + blocks[p / 16] * shape.total());
    }
  }
  static constexpr std::uint32_t positions = 703; // In 44 blocks: a multiple of 4, which ^ 3 keeps among themselves.
  std::vector<std::uint32_t> blocks;
  std::vector<std::uint16_t> kv;
  std::vector<std::vector<float>> keys, values;
};

enum class computed { whole, in_segments };

std::vector<float> attend(const kernel_table& kernels, const kv_shape& shape, const cache& from,
                          const std::vector<float>& queries, unsigned rows, unsigned group, unsigned first_position,
                          computed how = computed::whole) {
  std::vector<float> out(queries.size());
  struct free_it {
    void operator()(float* p) const { std::free(p); }
  };
  const std::unique_ptr<float, free_it> scratch(
    static_cast<float*>(std::aligned_alloc(64, attention_scratch(shape) * sizeof(float))));
  const attention_tile tile{.shape = shape,
                            .queries = queries.data(),
                            .out = out.data(),
                            .row_stride = group * shape.head_size,
                            .rows = rows,
                            .group = group,
                            .first_position = first_position,
                            .scale = 0.3f,
                            .kv = from.kv.data(),
                            .block_stride = shape.total(),
                            .blocks = from.blocks.data(),
                            .scratch = scratch.get()};
  if (how == computed::whole) {
    kernels.attention(tile);
    return out;
  }
  std::vector<float> partials(tile.segments() * attention_partial(shape));
  for (std::uint32_t segment = tile.segments(); segment-- > 0;) // In another order than they are joined in.
    kernels.attention_segment(tile, segment, partials.data() + segment * attention_partial(shape));
  kernels.join_segments(tile, partials.data());
  return out;
}

constexpr std::uint16_t not_a_number = 0x7fc0;

} // namespace

BOOST_AUTO_TEST_CASE(attention_has_the_same_bits_on_every_instruction_set_and_for_each_row_alone) {
  random_numbers random(13);
  for (unsigned head : {8u, 16u, 64u, 80u}) {
    const kv_shape shape{head, (head + 15) / 16 * 16};
    const cache full(shape, random, not_a_number);
    for (unsigned group : {1u, 3u, 16u})
      for (unsigned first : {0u, 9u, 15u, 16u, 60u, 250u, 256u, 505u, 640u}) {
        const unsigned rows = 16 / group;
        const auto queries = random.numbers(std::size_t{rows} * group * head);
        const auto wanted = attend(portable_kernels, shape, full, queries, rows, group, first);
        for (auto which : available()) {
          const auto& kernels = kernels_for(which);
          BOOST_TEST(same_bits(wanted, attend(kernels, shape, full, queries, rows, group, first)), to_string(which));
          BOOST_TEST(
            same_bits(wanted, attend(kernels, shape, full, queries, rows, group, first, computed::in_segments)),
            to_string(which));
          for (unsigned r = 0; r < rows; ++r) {
            const std::size_t width = std::size_t{group} * head;
            const std::vector<float> own(queries.begin() + static_cast<std::ptrdiff_t>(r * width),
                                         queries.begin() + static_cast<std::ptrdiff_t>((r + 1) * width));
            const auto alone = attend(kernels, shape, full, own, 1, group, first + r);
            BOOST_TEST(std::memcmp(alone.data(), wanted.data() + r * width, width * sizeof(float)) == 0,
                       to_string(which));
          }
        }
      }
  }
}

BOOST_AUTO_TEST_CASE(attention_is_within_rounding_of_its_definition) {
  random_numbers random(17);
  const kv_shape shape{64, 64};
  const cache full(shape, random, not_a_number);
  auto queries = random.numbers(64);
  for (float& q : queries)
    q *= 0.02f; // So that no single position takes all the weight.
  constexpr unsigned last = 600;
  const auto got = attend(kernels_for(best_instruction_set()), shape, full, queries, 1, 1, last);
  std::vector<double> weights(last + 1);
  double largest = -1e300, total = 0;
  for (unsigned p = 0; p <= last; ++p) {
    for (unsigned i = 0; i < 64; ++i)
      weights[p] += 0.3 * queries[i] * full.keys[p][i];
    largest = std::max(largest, weights[p]);
  }
  for (unsigned p = 0; p <= last; ++p)
    total += weights[p] = std::exp(weights[p] - largest);
  for (unsigned i = 0; i < 64; ++i) {
    double wanted = 0, size = 0;
    for (unsigned p = 0; p <= last; ++p) {
      wanted += weights[p] / total * full.values[p][i];
      size = std::max(size, std::abs(double{full.values[p][i]}));
    }
    BOOST_TEST(std::abs(got[i] - wanted) < 1e-5 * size);
  }
}

BOOST_AUTO_TEST_SUITE_END()
