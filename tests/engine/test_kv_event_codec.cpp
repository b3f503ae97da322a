// Block events to the bytes that vLLM's subscribers read, and the buffer from which they are replayed.
#include <limits>

#include <boost/test/unit_test.hpp>

#include "engine/kv/event_buffer.hpp"
#include "engine/kv/event_codec.hpp"
#include "engine/kv/fingerprint.hpp"
#include "tests/engine/kv_event_fixtures.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

std::string hex(const std::string& bytes) {
  return hex_of({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

block_hash hash_with(std::uint64_t word) {
  return {{word, ~word, 0, 0}};
}

/// The events of make_kv_event_fixtures.py.
std::vector<kv_event> fixture_events() {
  const std::vector<block_hash> hashes{hash_with(0x0123456789abcdef), hash_with(0xfedcba9876543210), hash_with(7)};
  kv_event first, second, salted, gone, gone_of_group, cleared;
  first.hashes = {hashes[0], hashes[1]};
  first.tokens = {0, 1, 127, 128, 255, 256, 65535, 65536, 49151};
  for (token_id token = 0; token < 23; ++token)
    first.tokens.push_back(token);
  second.group = 1;
  second.hashes = {hashes[2]};
  second.parent = hashes[1];
  second.adapter = 5;
  for (token_id token = 0; token < 16; ++token)
    second.tokens.push_back(token);
  salted.hashes = {hashes[0], hashes[1]};
  salted.salt = "tenant";
  for (token_id token = 0; token < 32; ++token)
    salted.tokens.push_back(token);
  gone.kind = gone_of_group.kind = kv_event::kind_type::block_removed;
  gone.hashes = hashes;
  gone_of_group.group = 1;
  gone_of_group.hashes = {hashes[0]};
  cleared.kind = kv_event::kind_type::all_cleared;
  return {first, second, salted, gone, gone_of_group, cleared};
}

kv_event_format format_of(kv_event_format::encoding_type encoding, bool hashes_as_bytes) {
  return {.encoding = encoding, .hashes_as_bytes = hashes_as_bytes, .rank = 3, .windows = {0, 4096}};
}

std::vector<std::uint64_t> replayed(const event_buffer& buffer, std::uint64_t start, std::size_t at_most = 100) {
  std::vector<std::uint64_t> result;
  buffer.replay(start, [&](std::uint64_t sequence, const shared_payload& payload) {
    BOOST_TEST(*payload == std::to_string(sequence));
    result.push_back(sequence);
    return result.size() < at_most;
  });
  return result;
}

bool add(event_buffer& buffer, std::uint64_t sequence) {
  return buffer.add(sequence, std::make_shared<const std::string>(std::to_string(sequence)));
}

} // namespace

BOOST_AUTO_TEST_SUITE(kv_event_codec)

BOOST_AUTO_TEST_CASE(events_are_the_bytes_that_msgspec_makes_of_vllms_structs) {
  using enum kv_event_format::encoding_type;
  const auto events = fixture_events();
  BOOST_TEST(hex(encode_events(format_of(maps, false), 1700000000.25, events)) == maps_with_integers);
  BOOST_TEST(hex(encode_events(format_of(maps, true), 1700000000.25, events)) == maps_with_bytes);
  BOOST_TEST(hex(encode_events(format_of(arrays, false), 1700000000.25, events)) == arrays_with_integers);
  BOOST_TEST(hex(encode_events(format_of(arrays, true), 1700000000.25, events)) == arrays_with_bytes);
}

BOOST_AUTO_TEST_CASE(a_time_is_a_float_on_a_whole_second_too) {
  BOOST_TEST(hex(encode_events({}, 2.0, {})) == empty_at_a_whole_second);
}

BOOST_AUTO_TEST_CASE(a_sequence_number_is_eight_bytes_with_the_most_significant_first) {
  const auto bytes = encode_sequence(0x0102030405060708);
  BOOST_TEST(std::string(bytes.data(), bytes.size()) == std::string("\1\2\3\4\5\6\7\10"));
  for (std::uint64_t number : {std::uint64_t{0}, std::uint64_t{255}, std::uint64_t{1} << 40, end_of_replay}) {
    const auto there = encode_sequence(number);
    BOOST_TEST(*decode_sequence({there.data(), there.size()}) == number);
  }
  BOOST_TEST(hex({encode_sequence(end_of_replay).data(), 8}) == "ffffffffffffffff");
  for (auto wrong : {"", "1234567", "123456789"})
    BOOST_TEST(!decode_sequence(wrong));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(kv_event_buffer)

BOOST_AUTO_TEST_CASE(where_the_log_has_lost_events_a_number_is_left_out) {
  kv_event_numbers numbers;
  const auto some = fixture_events();
  BOOST_TEST(!numbers.next({}));
  BOOST_TEST(numbers.next({some, 0})->sequence == 0u);
  BOOST_TEST(numbers.next({some, 7})->sequence == 1u);
  BOOST_TEST(numbers.next({some, 0})->sequence == 3u);
  BOOST_TEST(!numbers.next({{}, 2}));
  const auto last = numbers.next({some, 0});
  BOOST_TEST(last->sequence == 5u);
  BOOST_TEST(last->events.size() == some.size());
}

BOOST_AUTO_TEST_CASE(a_replay_begins_at_the_number_that_was_asked_for) {
  event_buffer buffer(10, 1000);
  for (std::uint64_t number : {0, 1, 2, 3})
    BOOST_TEST(add(buffer, number));
  BOOST_TEST((replayed(buffer, 2) == std::vector<std::uint64_t>{2, 3}));
  BOOST_TEST((replayed(buffer, 0, 2) == std::vector<std::uint64_t>{0, 1}));
  BOOST_TEST(replayed(buffer, 4).empty());
}

BOOST_AUTO_TEST_CASE(the_oldest_payloads_go_when_there_are_too_many_or_too_many_bytes) {
  event_buffer few(3, 1000), small(1000, 5); // A payload has one or two bytes here.
  for (std::uint64_t number = 8; number < 14; ++number) {
    add(few, number);
    add(small, number);
    BOOST_TEST((few.steps() <= 3 && small.bytes() <= 5));
  }
  BOOST_TEST((replayed(few, 0) == std::vector<std::uint64_t>{11, 12, 13}));
  BOOST_TEST((replayed(small, 0) == std::vector<std::uint64_t>{12, 13}));
}

BOOST_AUTO_TEST_CASE(a_payload_larger_than_the_buffer_is_not_replayed) {
  event_buffer buffer(10, 3);
  add(buffer, 1);
  add(buffer, 12345);
  BOOST_TEST(replayed(buffer, 0).empty());
  BOOST_TEST(buffer.bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(numbers_that_were_left_out_are_counted_and_numbers_that_went_back_are_refused) {
  event_buffer buffer(10, 1000);
  add(buffer, 0);
  add(buffer, 1);
  add(buffer, 5);
  BOOST_TEST(buffer.missing() == 3u);
  BOOST_TEST(!add(buffer, 5));
  BOOST_TEST(!add(buffer, 2));
  BOOST_TEST(buffer.next() == 6u);
  BOOST_TEST((replayed(buffer, 0) == std::vector<std::uint64_t>{0, 1, 5}));
}

BOOST_AUTO_TEST_SUITE_END()
