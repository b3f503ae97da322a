// What sampling is made of: exact numbers, and how often logits are read.
#include "tests/gpu/sampling_fixture.hpp"

#include "model/sampling/kernels.hpp"
#include "model/sampling/logarithm.hpp"
#include "model/sampling/noise.hpp"
#include "model/sampling/survivors.hpp"

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;
using troupe::tests::random_rows;

BOOST_AUTO_TEST_SUITE(sampling_parts_suite)

BOOST_AUTO_TEST_CASE(weights_noise_and_logarithms_have_the_cpus_bits) {
  random_rows random(1);
  std::vector<float> values(4096);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = -random.normal(1) * random.normal(i % 2 == 0 ? 10.0f : 0.1f);
  values[0] = 30;
  const auto largest = *std::max_element(values.begin(), values.end());
  const float scale = sampling::exponent_scale(0.7f);
  std::vector<std::uint64_t> weights(values.size());
  std::vector<float> maxima(values.size() / 32);
  const auto& kernels = sampling::kernels_for(sampling::vectors::portable);
  kernels.scan(values.data(), values.size(), maxima.data());
  const auto sums = kernels.weights({values.data(), values.size(), maxima.data(), largest, scale, 0}, weights.data());
  std::uint64_t spread = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float t = gpu::exponent_of(values[i], largest, scale), weight = power_of_two(t);
    BOOST_TEST(units_of(weight) == weights[i]);
    spread += units_of(rounded::multiply(weight, -t));
    BOOST_TEST(from_ascending_key(ascending_key(values[i])) == values[i]);
    const auto key = random.below(~0ull);
    const auto token = static_cast<std::uint32_t>(random.below(200000));
    const auto noise = block_noise(key, mix_block(token / 32)).of(static_cast<token_id>(token));
    BOOST_TEST(noise_of(key, random_of_block(key, token / 32), token) == noise);
    const double x = std::ldexp(static_cast<double>(values[i]) * values[i] + 1e-9, static_cast<int>(i % 200) - 100);
    BOOST_TEST(gpu::logarithm(x) == sampling::logarithm(x));
  }
  BOOST_TEST(spread == sums.spread);
}

BOOST_AUTO_TEST_CASE(halves_of_a_unit_are_rounded_to_even) {
  for (int exponent = -44; exponent <= 0; ++exponent)
    for (std::uint32_t mantissa = 0x800000; mantissa < 0x1000000; mantissa += 0x3fff) {
      const float value = std::ldexp(static_cast<float>(mantissa | (mantissa >> 9 & 0xf)), exponent - 23);
      BOOST_TEST(units_of(value) == static_cast<wide>(std::nearbyint(std::ldexp(static_cast<double>(value), 40))));
    }
}

BOOST_AUTO_TEST_CASE(a_share_of_weights_is_rounded_up_and_is_at_least_one) {
  random_rows random(5);
  for (int i = 0; i < 2000; ++i) {
    const wide total = 1 + random.below(1ull << (1 + i % 58));
    const float share = i % 3 == 0 ? 0.9f : std::ldexp(static_cast<float>(1 + random.below(1 << 24)), -24 - i % 40);
    const auto wanted = std::ceil(static_cast<double>(total) * static_cast<double>(share));
    BOOST_TEST((cut_target{0, share}.of(total)) == std::clamp<wide>(static_cast<wide>(wanted), 1, total));
  }
  BOOST_TEST((cut_target{7, 0}.of(100)) == 7u);
}

BOOST_AUTO_TEST_CASE(a_scan_reads_each_logit_and_each_word_of_a_mask_once) {
  for (const bool is_masked : {false, true}) {
    random_rows random(2);
    constexpr std::uint32_t vocabulary = 49152, rows = 2;
    std::vector<std::vector<float>> logits(rows, std::vector<float>(vocabulary));
    for (auto& row : logits)
      for (auto& logit : row)
        logit = random.normal(2);
    sampling_fixture f(2, logits);
    for (std::uint32_t i = 0; i < rows; ++i)
      f.add({i,
             {},
             0,
             {},
             is_masked ? std::vector<std::uint32_t>(vocabulary / 32, 0xf0f0f0f0u) : std::vector<std::uint32_t>{}});
    f.prepare();
    must(f.device.fill(f.stream, f.buffers.largest, 0, rows * 4));
    f.launch<scan_logits>({{f.buffers.rows},
                           {f.buffers.logits},
                           {f.buffers.masks},
                           {f.buffers.block_largest},
                           {f.buffers.largest},
                           f.vocabulary,
                           f.stride,
                           scan_of::samples},
                          {vocabulary / scan_logits::tokens_each, rows}, scan_logits::max_threads,
                          scan_logits::shared_bytes);
    BOOST_TEST(f.traffic_over(std::size_t{rows} * vocabulary / 32 * (32 * 4 + 4 + (is_masked ? 4 : 0))) <= 1.01);
    const auto maxima = f.download(global<float>{f.buffers.block_largest}, rows * f.blocks());
    const auto largest = f.download(global<std::uint32_t>{f.buffers.largest}, rows);
    for (std::uint32_t row = 0; row < rows; ++row) {
      float most = -infinity;
      for (std::uint32_t block = 0; block < f.blocks(); ++block) {
        float wanted = -infinity;
        for (std::uint32_t i = 0; i < 32; ++i)
          if (!is_masked || (0xf0f0f0f0u >> i & 1u) != 0)
            wanted = std::max(wanted, logits[row][block * 32 + i]);
        BOOST_TEST_REQUIRE(maxima[row * f.blocks() + block] == wanted);
        most = std::max(most, wanted);
      }
      BOOST_TEST(from_ascending_key(largest[row]) == most);
    }
  }
}

BOOST_AUTO_TEST_CASE(weighing_reads_each_logit_once_and_adds_the_cpus_weights) {
  random_rows random(4);
  constexpr std::uint32_t vocabulary = 49152;
  std::vector<float> logits(vocabulary);
  for (auto& logit : logits)
    logit = random.normal(2);
  sampled_row row;
  row.sampling.temperature = 0.7f;
  row.sampling.top_p = 0.9f;
  sampling_fixture f(4, {logits});
  f.add(row);
  f.run();
  must(f.device.fill(f.stream, f.buffers.bins, 0, weight_bins * sizeof(wide)));
  f.launch<weigh_logits>({{f.buffers.rows},
                          {f.buffers.logits},
                          {f.buffers.masks},
                          {f.buffers.block_largest},
                          {f.buffers.largest},
                          {f.buffers.bins},
                          f.vocabulary,
                          f.stride,
                          0.0f,
                          scan_of::samples},
                         {vocabulary / weigh_logits::tokens_each, 1}, weigh_logits::max_threads,
                         weigh_logits::shared_bytes);
  std::vector<float> maxima(vocabulary / 32);
  const auto& kernels = sampling::kernels_for(sampling::vectors::portable);
  const auto largest = kernels.scan(logits.data(), vocabulary, maxima.data());
  const auto scale = sampling::exponent_scale(0.7f);
  std::vector<std::uint64_t> sums(sampling::intervals);
  kernels.histogram({logits.data(), vocabulary, maxima.data(), largest, scale, 0}, 0, 1, sums.data());
  const auto used = sums.size() - static_cast<std::size_t>(std::count(sums.begin(), sums.end(), 0u));
  BOOST_TEST(f.traffic_over(vocabulary * 4 + vocabulary / 32 * 4 + used * 16) <= 1.02);
  const auto found = f.download(global<wide>{f.buffers.bins}, weight_bins);
  BOOST_TEST(std::equal(sums.begin(), sums.end(), found.begin(), found.end()));
}

BOOST_AUTO_TEST_CASE(after_the_scan_a_choice_reads_few_logits_but_for_a_cut_of_a_flat_row, *only_on_the_shim()) {
  random_rows random(3);
  constexpr std::uint32_t vocabulary = 49152;
  std::vector<float> logits(vocabulary);
  for (auto& logit : logits)
    logit = random.normal(2.5f);
  for (int i = 0; i < 40; ++i)
    logits[random.below(vocabulary)] = 18.0f - 0.3f * static_cast<float>(i);
  const auto choice_over_row = [&](const char* what, const sequence_sampling& sampling) {
    sampling_fixture f(3, {logits});
    f.add({0, sampling, 0, {}, {}});
    f.run();
    BOOST_TEST_REQUIRE(std::string(f.device.last_launch().kernel) == "choose_tokens");
    const auto share = f.traffic_over(std::size_t{vocabulary} * 4);
    BOOST_TEST_MESSAGE(what << ": " << share << " of the row");
    return share;
  };
  sequence_sampling sampling;
  BOOST_TEST(choice_over_row("greedy", sampling) <= 0.04);
  sampling.temperature = 0.8f;
  BOOST_TEST(choice_over_row("temperature", sampling) <= 0.05);
  sampling.top_k = 40;
  BOOST_TEST(choice_over_row("top-k 40", sampling) <= 0.15);
  sampling.top_p = 0.9f;
  BOOST_TEST(choice_over_row("top-k 40, top-p 0.9", sampling) <= 0.15);
  sampling.top_k = 0;
  BOOST_TEST(choice_over_row("top-p 0.9", sampling) <= 0.15);
  sampling.top_p = 1;
  sampling.min_p = 0.05f;
  BOOST_TEST(choice_over_row("min-p 0.05", sampling) <= 0.15);
}

BOOST_AUTO_TEST_SUITE_END()
