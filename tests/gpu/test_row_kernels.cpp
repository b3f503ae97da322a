#include "tests/gpu/kernel_fixture.hpp"

#include <cmath>

using namespace troupe::gpu;
using namespace troupe::gpu::test;

BOOST_AUTO_TEST_SUITE(row_kernels_suite)

BOOST_AUTO_TEST_CASE(rms_norm_adds_and_normalises_each_row_with_every_sector_moved_once) {
  for (const std::uint32_t width : {64u, 576u, 4096u, add_rms_norm::largest_width})
    for (const bool adds : {false, true}) {
      kernel_fixture f(width);
      constexpr std::uint32_t rows = 3;
      auto hidden = f.numbers(rows * width);
      const auto added = f.numbers(rows * width), weight = f.numbers(width);
      const auto given = f.upload_counted(hidden);
      const global<float> on_device{given.at};
      const auto normed = f.space<bf16>(rows * width);
      f.launch(plan_of<add_rms_norm>(rows, width),
               add_rms_norm::arguments{on_device, adds ? f.upload(added) : global<const float>{}, f.upload(weight),
                                       normed, width, 1e-5f});
      const std::size_t numbers = rows * width;
      BOOST_TEST(f.traffic_over(numbers * (adds ? 4 + 4 + 4 + 2 : 4 + 2) + width * 4) <= 1.10);
      BOOST_TEST(f.read_over(given, numbers * 4) <= 1.0);
      std::vector<double> wanted(numbers);
      for (std::uint32_t row = 0; row < rows; ++row) {
        double squares = 0;
        for (std::uint32_t i = 0; i < width; ++i) {
          auto& each = hidden[row * width + i];
          each += adds ? added[row * width + i] : 0.0f;
          squares += static_cast<double>(each) * each;
        }
        for (std::uint32_t i = 0; i < width; ++i)
          wanted[row * width + i] = hidden[row * width + i] / std::sqrt(squares / width + 1e-5) * weight[i];
      }
      expect_close(f.download(normed, numbers), wanted, 0.004);
      BOOST_TEST(f.download(on_device, numbers) == hidden);
    }
}

BOOST_AUTO_TEST_CASE(
  parts_of_ranks_are_added_in_their_order_to_the_residual_and_normed_with_every_sector_moved_once) {
  for (const std::uint32_t width : {64u, 576u, 4096u, add_rms_norm::largest_width})
    for (const std::uint32_t ranks : {1u, 2u, 5u}) {
      constexpr std::uint32_t rows = 3;
      const std::size_t numbers = rows * width;
      kernel_fixture f(width + ranks);
      const auto hidden = f.numbers(numbers), parts = f.numbers(numbers * ranks, 10), weight = f.numbers(width);
      std::vector<float> sum(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(numbers));
      for (std::uint32_t rank = 1; rank < ranks; ++rank)
        for (std::size_t i = 0; i < numbers; ++i)
          sum[i] += parts[rank * numbers + i];
      const global<float> by_two{f.upload(hidden).at}, by_one{f.upload(hidden).at}, added{f.upload(hidden).at};
      const auto wanted = f.space<bf16>(numbers), normed = f.space<bf16>(numbers);
      const auto weights = f.upload(weight), there = f.upload_counted(parts);
      f.launch(plan_of<add_rms_norm>(rows, width),
               add_rms_norm::arguments{by_two, f.upload(sum), weights, wanted, width, 1e-5f});
      f.launch(plan_of<add_parts_rms_norm>(rows, width),
               add_parts_rms_norm::arguments{by_one, there, weights, normed, rows, width, ranks, 1e-5f});
      BOOST_TEST(f.traffic_over(numbers * (4 * ranks + 4 + 4 + 2) + width * 4) <= 1.10);
      BOOST_TEST(f.read_over(there, numbers * ranks * 4) <= 1.0);
      BOOST_TEST((f.download(by_one, numbers) == f.download(by_two, numbers)));
      const auto got = f.download(normed, numbers), same = f.download(wanted, numbers);
      BOOST_TEST(std::memcmp(got.data(), same.data(), numbers * sizeof(bf16)) == 0);
      f.launch(plan_of<add_parts>(rows * width), add_parts::arguments{added, there, rows * width, ranks});
      BOOST_TEST(f.traffic_over(numbers * (4 * ranks + 4 + 4)) <= 1.05);
      BOOST_TEST(f.read_over(there, numbers * ranks * 4) <= 1.0);
      BOOST_TEST((f.download(added, numbers) == f.download(by_two, numbers)));
    }
}

BOOST_AUTO_TEST_CASE(swiglu_gates_each_number) {
  kernel_fixture f;
  constexpr std::uint32_t count = 1536 + 4;
  const auto gate = f.numbers(count, 3), up = f.numbers(count, 3);
  const auto out = f.space<bf16>(count);
  const auto gate_there = f.upload_counted(gate), up_there = f.upload_counted(up);
  f.launch(plan_of<swiglu>(count), swiglu::arguments{gate_there, up_there, out, count});
  BOOST_TEST(f.read_over(gate_there, count * 4) <= 1.05);
  BOOST_TEST(f.read_over(up_there, count * 4) <= 1.05);
  BOOST_TEST(f.traffic_over(count * (4 + 4 + 2)) <= 1.10);
  std::vector<double> wanted;
  for (std::size_t i = 0; i < count; ++i)
    wanted.push_back(gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i]);
  expect_close(f.download(out, count), wanted, 0.004);
}

BOOST_AUTO_TEST_CASE(rows_that_are_wanted_are_taken_in_order) {
  kernel_fixture f;
  constexpr std::uint32_t width = 576;
  const auto in = f.numbers(10 * width);
  const std::vector<std::uint32_t> rows = {7, 0, 7, 9};
  const auto out = f.space<float>(rows.size() * width);
  const auto there = f.upload_counted(in);
  f.launch(plan_of<take_rows>(4u, width), take_rows::arguments{there, f.upload(rows), out, width});
  BOOST_TEST(f.read_over(there, rows.size() * width * 4) <= 1.0);
  BOOST_TEST(f.traffic_over((3 + 4) * width * 4) <= 1.05); // One row is taken twice.
  std::vector<float> wanted;
  for (const auto row : rows)
    wanted.insert(wanted.end(), in.begin() + row * width, in.begin() + (row + 1) * width);
  BOOST_TEST(f.download(out, wanted.size()) == wanted);
}

BOOST_AUTO_TEST_CASE(rope_turns_pairs_and_keys_and_values_go_to_their_blocks) {
  for (const bool halves : {false, true}) {
    kernel_fixture f;
    constexpr std::uint32_t rows = 3, heads = 6, kv_heads = 2, size = 64, rotated = 48, context = 64, blocks = 5;
    const kv_layout layout{kv_heads, size};
    const auto query = f.numbers(rows * heads * size), key = f.numbers(rows * kv_heads * size),
               value = f.numbers(rows * kv_heads * size);
    const std::vector<std::uint32_t> positions = {0, 17, 63}, row_blocks = {4, 0, 2};
    std::vector<float> angles;
    for (std::uint32_t p = 0; p < context; ++p)
      for (std::uint32_t i = 0; i < rotated / 2; ++i) {
        const double angle = p * std::pow(10000.0, -2.0 * i / rotated);
        angles.push_back(static_cast<float>(std::cos(angle)));
        angles.push_back(static_cast<float>(std::sin(angle)));
      }
    const auto turned = f.space<bf16>(rows * heads * size);
    const auto cache_size = blocks * positions_per_block * 2 * kv_heads * size;
    const auto cache = f.space<bf16>(cache_size);
    must(f.device.fill(f.stream, cache.at, 0, cache_size * 2));
    const auto query_there = f.upload_counted(query), key_there = f.upload_counted(key),
               value_there = f.upload_counted(value);
    f.launch(plan_of<rope_store>(rows),
             rope_store::arguments{query_there, key_there, value_there, turned, cache, f.upload(angles),
                                   f.upload(positions), f.upload(row_blocks), heads, rotated, layout, halves});
    for (const auto& [there, numbers] :
         {std::pair{query_there, query.size()}, {key_there, key.size()}, {value_there, value.size()}})
      BOOST_TEST(f.read_over(there, numbers * 4) <= 1.0);
    BOOST_TEST(f.traffic_over(rows * ((heads + 2 * kv_heads) * size * (4 + 2) + rotated * 4)) <= 1.10);
    const auto right = [&](const std::vector<float>& in, std::size_t head_at, std::uint32_t element,
                           std::uint32_t position) {
      if (element >= rotated)
        return static_cast<double>(in[head_at + element]);
      const auto pair = halves ? element % (rotated / 2) : element / 2;
      const bool is_second = halves ? element >= rotated / 2 : element % 2 == 1;
      const double x = in[head_at + (halves ? pair : pair * 2)],
                   y = in[head_at + (halves ? pair + rotated / 2 : pair * 2 + 1)];
      const double angle = position * std::pow(10000.0, -2.0 * pair / rotated);
      return is_second ? x * std::sin(angle) + y * std::cos(angle) : x * std::cos(angle) - y * std::sin(angle);
    };
    std::vector<double> wanted, wanted_cache(cache_size);
    for (std::uint32_t row = 0; row < rows; ++row) {
      for (std::uint32_t head = 0; head < heads; ++head)
        for (std::uint32_t i = 0; i < size; ++i)
          wanted.push_back(right(query, (row * heads + head) * size, i, positions[row]));
      for (std::uint32_t head = 0; head < kv_heads; ++head)
        for (std::uint32_t i = 0; i < size; ++i) {
          const auto from = (row * kv_heads + head) * size;
          wanted_cache[layout.at(row_blocks[row], head, 0, positions[row]) + i] = right(key, from, i, positions[row]);
          wanted_cache[layout.at(row_blocks[row], head, 1, positions[row]) + i] = value[from + i];
        }
    }
    expect_close(f.download(turned, wanted.size()), wanted, 0.004);
    expect_close(f.download(cache, cache_size), wanted_cache, 0.004);
  }
}

BOOST_AUTO_TEST_SUITE_END()
