// Attention's kernels: the same bits on every instruction set, for each row alone, and in segments.
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <span>

#include "tests/cpu/kernel_support.hpp"

using namespace troupe::cpu;
using troupe::kv_cache_dtype;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(attention_kernels)

namespace {

kv_shape shape_of(unsigned head_size, kv_cache_dtype dtype) {
  return {.head_size = head_size, .padded = (head_size + 15) / 16 * 16, .dtype = dtype};
}

/// What is stored of one position's key and value.
struct stored {
  std::vector<float> key, value;
};

float bfloat_at(const std::byte* p) {
  std::uint16_t high;
  std::memcpy(&high, p, 2);
  const auto bits = static_cast<std::uint32_t>(high) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

float float_at(const std::byte* p) {
  float x;
  std::memcpy(&x, p, 4);
  return x;
}

/// By the description of `kv_shape`.
stored read_position(const std::byte* block, const kv_shape& shape, unsigned position) {
  const bool integers = shape.dtype == kv_cache_dtype::int8;
  const std::byte* scales = block + shape.numbers();
  const auto number = [&](std::size_t index, unsigned scale) {
    return integers ? static_cast<float>(static_cast<std::int8_t>(block[index])) *
                        float_at(scales + 4 * (16 * scale + position))
                    : bfloat_at(block + 2 * index);
  };
  stored out;
  for (unsigned i = 0; i < shape.head_size; ++i) {
    out.key.push_back(number(i * 16 + position, 0));
    out.value.push_back(number(shape.keys() + std::size_t{position} * shape.padded + i, 1));
  }
  return out;
}

/// Keys and values of `positions` positions for one head, in blocks out of order. All else in the blocks is no number.
struct cache {
  cache(const kv_shape& shape, random_numbers& random) : kv(shape.bytes() * (positions / 16 + 1), not_a_number) {
    for (std::uint32_t b = 0; b <= positions / 16; ++b)
      blocks.push_back(b ^ 3u);
    for (unsigned p = 0; p < positions; ++p) {
      const auto key = random.numbers(shape.head_size), value = random.numbers(shape.head_size);
      std::byte* block = kv.data() + blocks[p / 16] * shape.bytes();
      portable_kernels.store_kv(key.data(), value.data(), shape, p % 16, block);
      contents.push_back(read_position(block, shape, p % 16));
    }
  }
  static constexpr std::byte not_a_number{0xff};  ///< Four of them, or two, are none.
  static constexpr std::uint32_t positions = 703; // In 44 blocks: a multiple of 4, which ^ 3 keeps among themselves.
  std::vector<std::uint32_t> blocks;
  std::vector<std::byte> kv;
  std::vector<stored> contents;
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
                            .block_stride = shape.bytes(),
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

/// What attention is by its definition, for one query.
std::vector<double> definition(const cache& from, std::span<const float> query, unsigned last, float scale) {
  std::vector<double> weights(last + 1), out(query.size());
  double largest = -1e300, total = 0;
  for (unsigned p = 0; p <= last; ++p) {
    for (std::size_t i = 0; i < query.size(); ++i)
      weights[p] += double{scale} * query[i] * from.contents[p].key[i];
    largest = std::max(largest, weights[p]);
  }
  for (unsigned p = 0; p <= last; ++p)
    total += weights[p] = std::exp(weights[p] - largest);
  for (unsigned p = 0; p <= last; ++p)
    for (std::size_t i = 0; i < query.size(); ++i)
      out[i] += weights[p] / total * from.contents[p].value[i];
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(stored_keys_and_values_have_the_same_bits_on_every_instruction_set) {
  random_numbers random(11);
  for (auto which : available())
    for (auto dtype : kv_dtypes)
      for (unsigned head : {8u, 24u, 40u, 64u, 100u}) {
        const auto shape = shape_of(head, dtype);
        const auto key = random.numbers(head), value = random.numbers(head);
        std::vector<std::byte> a(shape.bytes()), b(shape.bytes());
        portable_kernels.store_kv(key.data(), value.data(), shape, 5, a.data());
        kernels_for(which).store_kv(key.data(), value.data(), shape, 5, b.data());
        BOOST_TEST((a == b), to_string(which) << " " << to_string(dtype) << " " << head);
      }
}

BOOST_AUTO_TEST_CASE(what_is_stored_of_a_position_does_not_depend_on_its_neighbours) {
  random_numbers random(12);
  for (auto dtype : kv_dtypes) {
    const auto shape = shape_of(40, dtype);
    const auto key = random.numbers(40), value = random.numbers(40), large = std::vector<float>(40, 1e4f);
    std::vector<std::byte> alone(shape.bytes(), cache::not_a_number), among(shape.bytes());
    const auto store = kernels_for(best_instruction_set()).store_kv;
    for (unsigned p = 0; p < 16; ++p)
      if (p != 7)
        store(large.data(), large.data(), shape, p, among.data());
    store(key.data(), value.data(), shape, 7, among.data());
    store(key.data(), value.data(), shape, 7, alone.data());
    const auto a = read_position(alone.data(), shape, 7), b = read_position(among.data(), shape, 7);
    BOOST_TEST((same_bits(a.key, b.key) && same_bits(a.value, b.value)));
    BOOST_TEST(same_bits(read_position(among.data(), shape, 6).key, read_position(among.data(), shape, 8).key));
  }
}

BOOST_AUTO_TEST_CASE(int8_keys_and_values_are_within_half_a_step) {
  random_numbers random(14);
  for (unsigned head : {1u, 16u, 24u, 64u, 128u})
    for (float size : {1.0f, 1e-6f, 1e6f}) {
      const auto shape = shape_of(head, kv_cache_dtype::int8);
      auto x = random.numbers(2 * std::size_t{head});
      for (float& v : x)
        v *= size;
      const auto largest = [&](std::size_t from) {
        float most = 0;
        for (std::size_t i = from; i < from + head; ++i)
          most = std::max(most, std::abs(x[i]));
        return most;
      };
      std::vector<std::byte> block(shape.bytes());
      kernels_for(best_instruction_set()).store_kv(x.data(), x.data() + head, shape, 3, block.data());
      const auto got = read_position(block.data(), shape, 3);
      for (unsigned i = 0; i < head; ++i) {
        BOOST_TEST(std::abs(got.key[i] - x[i]) <= largest(0) / 253.9f);
        BOOST_TEST(std::abs(got.value[i] - x[head + i]) <= largest(head) / 253.9f);
      }
    }
}

BOOST_AUTO_TEST_CASE(a_value_that_is_no_number_gives_none_and_zeros_give_zeros) {
  for (auto which : available())
    for (auto dtype : kv_dtypes)
      for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        const auto shape = shape_of(24, dtype);
        random_numbers random(15);
        cache full(shape, random);
        std::vector<float> zeros(24), one_bad(24);
        one_bad[20] = bad;
        const auto store = [&](const std::vector<float>& key, const std::vector<float>& value) {
          kernels_for(which).store_kv(key.data(), value.data(), shape, 0,
                                      full.kv.data() + full.blocks[0] * shape.bytes());
          return attend(kernels_for(which), shape, full, random.numbers(24), 1, 1, 0);
        };
        BOOST_TEST(same_bits(store(zeros, zeros), zeros), to_string(which));
        BOOST_TEST(!std::isfinite(store(zeros, one_bad)[20]), to_string(which));
      }
}

BOOST_AUTO_TEST_CASE(attention_has_the_same_bits_on_every_instruction_set_and_for_each_row_alone) {
  random_numbers random(13);
  for (unsigned head : {8u, 16u, 24u, 64u, 80u, 144u})
    for (auto dtype : kv_dtypes) {
      const auto shape = shape_of(head, dtype);
      const cache full(shape, random);
      for (unsigned group : {1u, 3u, 16u})
        for (unsigned first : {0u, 9u, 15u, 16u, 60u, 250u, 256u, 505u, 640u}) {
          const unsigned rows = 16 / group;
          const auto queries = random.numbers(std::size_t{rows} * group * head);
          const auto wanted = attend(portable_kernels, shape, full, queries, rows, group, first);
          for (auto which : available()) {
            const auto& kernels = kernels_for(which);
            BOOST_TEST(same_bits(wanted, attend(kernels, shape, full, queries, rows, group, first)),
                       to_string(which));
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
  for (unsigned head : {24u, 64u, 80u, 144u})
    for (auto dtype : kv_dtypes) {
      const auto shape = shape_of(head, dtype);
      const cache full(shape, random);
      for (int round = 0; round < 12; ++round) {
        const unsigned group = 1 + random.below(5), rows = 1 + random.below(16 / group),
                       first = random.below(cache::positions - rows);
        auto queries = random.numbers(std::size_t{rows} * group * head);
        for (float& q : queries)
          q *= 0.02f; // So that no single position takes all the weight.
        const auto got = attend(kernels_for(best_instruction_set()), shape, full, queries, rows, group, first);
        for (unsigned q = 0; q < rows * group; ++q) {
          const auto wanted =
            definition(full, std::span(queries).subspan(std::size_t{q} * head, head), first + q / group, 0.3f);
          for (unsigned i = 0; i < head; ++i) // Values are 40 at most.
            BOOST_TEST(std::abs(got[q * head + i] - wanted[i]) < 1e-5 * 40);
        }
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
