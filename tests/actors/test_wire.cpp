// Bytes between an engine and its workers: nothing is lost, little is sent, and damage breaks nothing.
#include <boost/test/unit_test.hpp>

#include <algorithm>

#include "actors/byte_stream.hpp"
#include "tests/actors/random_wire.hpp"
#include "tests/support/allocation_peak.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(wire)

namespace {

template <class T>
T again(const T& message) {
  const auto bytes = encode(message);
  auto out = decode<T>(bytes);
  BOOST_REQUIRE_MESSAGE(out, out.error().message);
  return std::move(*out);
}

template <class T>
void check_round_trips() {
  for (std::uint64_t seed = 0; seed < 2000; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      const auto message = random_wire(seed).make<T>();
      const auto decoded = again(message);
      BOOST_REQUIRE(same(message, decoded));
      BOOST_REQUIRE((encode(decoded) == encode(message)));
    }
}

template <class T>
void check_refused(std::span<const std::byte> bytes) {
  const auto decoded = decode<T>(bytes);
  BOOST_REQUIRE(!decoded);
  BOOST_REQUIRE((decoded.error().code == errc::malformed));
}

/// Whatever decodes is a value like any other: it can be encoded.
template <class T>
void check_damage() {
  for (std::uint64_t seed = 0; seed < 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      random_wire random(seed);
      const auto whole = encode(random.make<T>());
      for (std::size_t end = 0; end < whole.size(); end += 1 + whole.size() / 100)
        check_refused<T>(std::span(whole).first(end));
      auto longer = whole;
      longer.push_back(std::byte{0});
      check_refused<T>(longer);
      for (int i = 0; i < 50; ++i) {
        auto damaged = whole;
        for (auto changes = 1 + random.below(4); changes > 0; --changes)
          damaged[random.below(damaged.size())] =
            random.below(3) == 0 ? std::byte{0xff} : static_cast<std::byte>(random.below(256));
        const allocation_peak peak;
        const auto decoded = decode<T>(damaged);
        BOOST_REQUIRE_LT(peak.bytes(), 20000 + 100 * damaged.size());
        if (decoded)
          BOOST_REQUIRE(!encode(*decoded).empty());
        else
          BOOST_REQUIRE((decoded.error().code == errc::malformed));
      }
    }
}

/// Every running sequence computes one row, and some got a block.
step_changes steady_step(std::uint32_t sequences) {
  step_changes step;
  step.epoch = 3;
  step.step = 123456;
  std::mt19937 random(1);
  for (slot_id slot = 0; slot < sequences; ++slot) {
    const std::uint32_t position = random() % 8000;
    step.rows.push_back({.slot = slot, .first_position = position, .count = 1, .holds_last = true, .samples = true});
    if (position % tokens_per_block == 0) {
      step.appended.push_back({slot, 0, static_cast<std::uint32_t>(step.blocks.size()), 1});
      step.blocks.push_back(random() % 100000);
    }
  }
  return step;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_field_of_every_message_comes_back_bit_for_bit) {
  check_round_trips<step_changes>();
  check_round_trips<step_outcome>();
  check_round_trips<step_tokens>();
  check_round_trips<expected<worker_info>>();
  check_round_trips<std::vector<block_place>>();
  check_round_trips<block_contents>();
  check_round_trips<expected<block_contents>>();
  check_round_trips<expected<nothing>>();
}

BOOST_AUTO_TEST_CASE(every_kind_of_error_comes_back) {
  for (std::uint16_t code = 0; code < 15; ++code) {
    const expected<nothing> message = tl::unexpected(error{static_cast<errc>(code), "why", 9});
    BOOST_TEST(same(again(message), message));
  }
  expected<nothing> unknown = tl::unexpected(error{static_cast<errc>(15), "why", 9});
  check_refused<expected<nothing>>(encode(unknown));
}

BOOST_AUTO_TEST_CASE(what_sequences_share_is_sent_once_and_shared_again) {
  const auto history = std::make_shared<const std::vector<token_id>>(100000, 70000);
  const auto sampling = std::make_shared<const sequence_sampling>();
  step_changes step;
  for (slot_id slot = 0; slot < 100; ++slot)
    step.joined.push_back({slot, slot + 1000, slot < 50 ? sampling : nullptr, 100000, history, 0, 0});
  BOOST_TEST(encode(step).size() < 310000u);
  const auto decoded = again(step);
  BOOST_TEST(same(decoded, step));
  for (std::size_t i = 1; i < 100; ++i) {
    BOOST_TEST(decoded.joined[i].history == decoded.joined[0].history);
    BOOST_TEST(decoded.joined[i].sampling == (i < 50 ? decoded.joined[0].sampling : nullptr));
  }
}

BOOST_AUTO_TEST_CASE(a_steady_step_of_256_sequences_is_under_1000_bytes) {
  const auto step = steady_step(256);
  const auto bytes = encode(step);
  BOOST_TEST_MESSAGE("256 decodes, " << step.blocks.size() << " blocks appended: " << bytes.size() << " bytes");
  BOOST_TEST(step.blocks.size() > 5u);
  BOOST_TEST(bytes.size() < 1000u);
  auto scattered = step; // Slots in no order are a byte or two more each.
  std::shuffle(scattered.rows.begin(), scattered.rows.end(), std::mt19937(2));
  BOOST_TEST_MESSAGE("The same in random order: " << encode(scattered).size() << " bytes");
  BOOST_TEST(encode(scattered).size() < 1500u);
  BOOST_TEST(same(again(scattered), scattered));

  step_result result;
  result.step = 123456;
  result.sampled.assign(256, 40000);
  result.compute_ms = 12.5;
  const auto answer = encode(step_outcome(result));
  BOOST_TEST_MESSAGE("Its result: " << answer.size() << " bytes");
  BOOST_TEST(answer.size() < 1000u);
}

BOOST_AUTO_TEST_CASE(damaged_bytes_are_refused_or_decode_and_take_little_memory) {
  check_damage<step_changes>();
  check_damage<step_outcome>();
  check_damage<step_tokens>();
  check_damage<expected<worker_info>>();
  check_damage<std::vector<block_place>>();
  check_damage<block_contents>();
  check_damage<expected<block_contents>>();
  check_damage<expected<nothing>>();
}

BOOST_AUTO_TEST_CASE(random_bytes_are_refused_or_decode) {
  int decoded = 0;
  for (std::uint64_t seed = 0; seed < 20000; ++seed) {
    random_wire random(seed);
    std::vector<std::byte> bytes(1 + random.below(200));
    for (auto& byte : bytes)
      byte = static_cast<std::byte>(random.below(256));
    bytes[0] = std::byte{1};
    decoded += decode<step_changes>(bytes).has_value();
    bytes[0] = std::byte{2};
    decoded += decode<step_outcome>(bytes).has_value();
    bytes[0] = std::byte{6};
    decoded += decode<expected<block_contents>>(bytes).has_value();
  }
  BOOST_TEST(decoded < 6000); // Hardly any is a message.
}

BOOST_AUTO_TEST_CASE(a_refusal_says_what_was_wrong_and_where) {
  const auto refusal = [](std::vector<std::byte> bytes) {
    return decode<std::vector<block_place>>(bytes).error().message;
  };
  const auto bytes = [](auto... all) { return std::vector{static_cast<std::byte>(all)...}; };
  const std::string begin = "Bytes between an engine and its worker are damaged before byte ";
  BOOST_TEST(refusal({}) == begin + "0 of 0: they end too early.");
  BOOST_TEST(refusal(bytes(1, 0)) == begin + "1 of 2: they are those of another message.");
  BOOST_TEST(refusal(bytes(4, 9, 0)) == begin + "2 of 3: a list would have more entries than bytes are left.");
  BOOST_TEST(refusal(bytes(4, 1, 0x80)) == begin + "3 of 3: they end too early.");
  BOOST_TEST(refusal(bytes(4, 1, 0x80, 2, 0)) == begin + "4 of 5: a number is too large for its field.");
  BOOST_TEST(refusal(bytes(4, 1, 0, 0, 0)) == begin + "4 of 5: some are left over.");
}

BOOST_AUTO_TEST_CASE(numbers_of_every_size_and_the_ends_of_each_type_come_back) {
  const auto check = [](auto value, auto guess) {
    detail::byte_writer to;
    to.number(value);
    to.near(static_cast<std::make_unsigned_t<decltype(value)>>(value), guess);
    const auto bytes = to.take();
    detail::byte_reader from(bytes);
    decltype(value) one{};
    std::make_unsigned_t<decltype(value)> other{};
    from.number(one);
    from.near(other, guess);
    BOOST_REQUIRE(!from.problem());
    BOOST_REQUIRE((one == value && other == static_cast<decltype(other)>(value) && from.left() == 0));
  };
  const auto check_type = [&]<class T>(T) {
    using limits = std::numeric_limits<T>;
    for (const T value : {limits::min(), limits::max(), T{0}, T{1}, static_cast<T>(-1), T{63}, T{64}, T{127}})
      for (const T guess : {limits::min(), limits::max(), T{0}, T{100}})
        check(value, static_cast<std::make_unsigned_t<T>>(guess));
  };
  check_type(std::uint8_t{});
  check_type(std::int8_t{});
  check_type(std::uint16_t{});
  check_type(std::int16_t{});
  check_type(std::uint32_t{});
  check_type(std::int32_t{});
  check_type(std::uint64_t{});
  check_type(std::int64_t{});
}

BOOST_AUTO_TEST_SUITE_END()
