// Stored weights to float32, against the `gguf` package: tests/oracle/make_dequantise.py made the blocks and the values.
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "model/gguf/file.hpp"
#include "model/gguf/half.hpp"
#include "tests/support/base64.hpp"
#include "tests/support/quantise.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(gguf_dequantise)

namespace {

std::vector<std::uint32_t> bits_of(std::span<const float> values) {
  std::vector<std::uint32_t> out;
  for (float value : values)
    out.push_back(std::bit_cast<std::uint32_t>(value));
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_type_gives_the_same_bits_as_the_gguf_package) {
  std::ifstream in(TROUPE_ORACLE_DIR "/dequantise.json");
  const auto oracle = nlohmann::json::parse(in);
  BOOST_REQUIRE(oracle["cases"].size() == 11u);
  for (const auto& one : oracle["cases"]) {
    BOOST_TEST_CONTEXT(one["type"]) {
      const auto type = static_cast<gguf::tensor_type>(one["number"].get<std::uint32_t>());
      BOOST_TEST(gguf::to_string(type) == one["type"].get<std::string>());
      BOOST_TEST(gguf::format_of(type).elements == one["block_elements"].get<std::uint32_t>());
      BOOST_TEST(gguf::format_of(type).bytes == one["block_bytes"].get<std::uint32_t>());
      const auto bytes = test::from_base64(one["bytes"].get<std::string>());
      const auto stored = test::from_base64(one["values"].get<std::string>());
      std::vector<float> wanted(stored.size() / sizeof(float));
      std::memcpy(wanted.data(), stored.data(), stored.size());
      BOOST_REQUIRE(wanted.size() >= 512u);

      std::vector<float> got(wanted.size(), std::numeric_limits<float>::quiet_NaN());
      gguf::dequantise(type, bytes, got);
      BOOST_TEST(bits_of(got) == bits_of(wanted), boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(every_half_has_the_value_that_its_bits_say) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = gguf::half_to_float(static_cast<std::uint16_t>(bits));
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const int fraction = static_cast<int>(bits & 1023);
    if (exponent == 31 && fraction != 0) {
      BOOST_REQUIRE(std::isnan(value));
      continue;
    }
    const double size = exponent == 31  ? std::numeric_limits<double>::infinity()
                        : exponent == 0 ? std::ldexp(fraction, -24)
                                        : std::ldexp(1024 + fraction, exponent - 25);
    BOOST_REQUIRE(std::fabs(static_cast<double>(value)) == size);
    BOOST_REQUIRE(std::signbit(value) == (bits >> 15 != 0));
    BOOST_REQUIRE(test::float_to_half(value) == bits);
  }
}

BOOST_AUTO_TEST_CASE(nothing_becomes_nothing) {
  for (auto type : {gguf::tensor_type::f32, gguf::tensor_type::q4_1, gguf::tensor_type::q6_k})
    BOOST_CHECK_NO_THROW(gguf::dequantise(type, {}, {}));
}

BOOST_AUTO_TEST_CASE(quantised_weights_come_back_within_half_a_step) {
  std::vector<float> values(96);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 40) / 50.0f; // -0.8 to 1.2
  struct { gguf::tensor_type type; float within; } const cases[] = {
    {gguf::tensor_type::f32, 0.0f}, {gguf::tensor_type::f16, 0.0005f}, {gguf::tensor_type::bf16, 0.004f},
    {gguf::tensor_type::q8_0, 1.2f / 254 * 1.05f}, {gguf::tensor_type::q4_1, 2.0f / 30 * 1.05f}};
  for (const auto& [type, within] : cases) {
    std::vector<float> back(values.size());
    gguf::dequantise(type, test::quantise(type, values), back);
    for (std::size_t i = 0; i < values.size(); ++i)
      BOOST_TEST(std::fabs(back[i] - values[i]) <= within,
                 gguf::to_string(type) << " " << i << ": " << back[i] << " for " << values[i]);
  }
}

BOOST_AUTO_TEST_SUITE_END()
