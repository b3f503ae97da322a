// Frames made to break a decoder: random, mutated, nested, and with sizes that lie. This file replaces operator new
// for the whole binary, to see how much memory decoding takes.
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"
#include "tests/protocol/frames.hpp"
#include "tests/protocol/random_messages.hpp"

namespace {

std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak_bytes{0};

void* counted_allocation(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr)
    throw std::bad_alloc{};
  const std::size_t live = live_bytes += malloc_usable_size(memory);
  if (live > peak_bytes)
    peak_bytes = live;
  return memory;
}

void counted_release(void* memory) {
  if (memory != nullptr)
    live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}

} // namespace

void* operator new(std::size_t size) {
  return counted_allocation(size);
}
void* operator new[](std::size_t size) {
  return counted_allocation(size);
}
void operator delete(void* memory) noexcept {
  counted_release(memory);
}
void operator delete[](void* memory) noexcept {
  counted_release(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  counted_release(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  counted_release(memory);
}

namespace troupe::test {
namespace {

constexpr int fuzzed_frames = 10000;

/// The most memory that was in use at once during `work`, beyond what was before.
template <class Work>
std::size_t memory_of(Work work) {
  const std::size_t before = live_bytes;
  peak_bytes = before;
  work();
  return peak_bytes - before;
}

bool is_sentence(const error& failure) {
  return failure.code != errc::none && failure.message.size() > 10 && failure.message.size() < 600
         && failure.message.ends_with('.') && is_valid_utf8(failure.message);
}

/// Decodes as both sides; what is taken must survive being encoded, and what is refused must be so with a sentence.
void check_survives(const std::string& frame, int& taken) {
  if (const auto message = decode_client(frame)) {
    ++taken;
    const auto again = decode_client(encode(*message));
    BOOST_REQUIRE((again && *again == *message));
  } else {
    BOOST_REQUIRE_MESSAGE(is_sentence(message.error().failure), message.error().failure.message);
  }
  if (const auto message = decode_server(frame)) {
    ++taken;
    const auto again = decode_server(encode(*message));
    BOOST_REQUIRE((again && *again == *message));
  } else {
    BOOST_REQUIRE_MESSAGE(is_sentence(message.error()), message.error().message);
  }
}

std::string mutated(std::string frame, random_messages& random) {
  for (std::uint32_t changes = 1 + random.below(4); changes > 0 && !frame.empty(); --changes) {
    const std::size_t at = random.below(static_cast<std::uint32_t>(frame.size()));
    switch (random.below(5)) {
      case 0: frame[at] = static_cast<char>(random.below(256)); break;
      case 1: frame[at] = static_cast<char>(frame[at] ^ (1 << random.below(8))); break;
      case 2: frame.erase(at, 1 + random.below(8)); break;
      case 3: frame.insert(at, random.bytes(1 + random.below(8))); break;
      default: frame.insert(at, frame.substr(random.below(static_cast<std::uint32_t>(frame.size())), 12)); break;
    }
  }
  return frame;
}

std::string nested(std::size_t levels, const std::string& opening) {
  std::string value;
  for (std::size_t i = 0; i < levels; ++i)
    value += opening;
  return value + nil_bytes;
}

} // namespace

BOOST_AUTO_TEST_SUITE(hostile_frames)

BOOST_AUTO_TEST_CASE(random_frames_are_refused_with_a_sentence) {
  random_messages random(3);
  int taken = 0;
  for (int i = 0; i < fuzzed_frames; ++i)
    check_survives(random.bytes(random.below(200)), taken);
  BOOST_TEST(taken == 0);
}

BOOST_AUTO_TEST_CASE(mutated_frames_are_refused_with_a_sentence_or_mean_what_they_say) {
  random_messages random(4);
  int taken = 0;
  for (int i = 0; i < fuzzed_frames; ++i)
    check_survives(mutated(i % 2 ? encode(random.from_client()) : encode(random.from_server()), random), taken);
  // A mutation often hits a number or a text, and the frame stays sound: both ways must have been tried.
  BOOST_TEST(taken > fuzzed_frames / 50);
  BOOST_TEST(taken < fuzzed_frames * 9 / 10);
}

BOOST_AUTO_TEST_CASE(nesting_is_taken_up_to_its_limit_and_no_deeper) {
  auto refusal = [](std::size_t levels, const std::string& opening) {
    const auto message = decode_client(generate_with("x", nested(levels, opening)));
    BOOST_REQUIRE(!message);
    BOOST_TEST((message.error().id == request_id{7}));
    return message.error().failure;
  };
  const std::string array{"\x91", 1};
  const std::string map{"\x81\xa1k", 3};
  for (const std::string& opening : {array, map}) {
    // One level is the frame's own map.
    BOOST_TEST(to_string(refusal(max_frame_nesting - 1, opening).code) == "unknown_field");
    BOOST_TEST(to_string(refusal(max_frame_nesting, opening).code) == "limit_exceeded");
    BOOST_TEST(refusal(max_frame_nesting, opening).message.find("nested deeper than 64") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_frame_of_nothing_but_nesting_costs_little_memory) {
  for (const char* opening : {"\x91", "\x81\xa1k", "\x81", "\x81\x81"}) {
    const std::string frame = nested(1u << 20, opening);
    const auto memory = memory_of([&] {
      const auto message = decode_client(frame);
      BOOST_REQUIRE(!message);
      BOOST_TEST(is_sentence(message.error().failure));
    });
    BOOST_TEST(memory < 64u << 10);
  }
}

BOOST_AUTO_TEST_CASE(a_header_that_claims_more_than_there_is_costs_no_memory) {
  const std::string all_ones(4, '\xff');
  const std::string sizes[] = {"\xdf" + all_ones, "\xdd" + all_ones, "\xdb" + all_ones, "\xc6" + all_ones,
                               "\xc9" + all_ones, std::string{"\xdf\x7f\xff\xff\xff", 5}};
  for (const std::string& claim : sizes)
    for (const std::string& frame :
         {claim, claim + "\xa1", generate_with("tokens", claim), generate_of({{"messages", claim + "\x01"}}),
          generate_with("stop", claim + "\xa1x")}) {
      const auto memory = memory_of([&] {
        const auto message = decode_client(frame);
        BOOST_REQUIRE(!message);
        BOOST_TEST(is_sentence(message.error().failure));
      });
      BOOST_TEST(memory < 16u << 10);
    }
}

BOOST_AUTO_TEST_CASE(memory_stays_within_six_times_the_frame_and_four_mebibytes) {
  auto array32 = [](std::uint32_t count, const std::string& element) {
    std::string bytes = "\xdd";
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<char>(count >> shift));
    for (std::uint32_t i = 0; i < count; ++i)
      bytes += element;
    return bytes;
  };
  const std::string empty_map{"\x80", 1};
  const std::string empty_array{"\x90", 1};
  const std::string token{"\x01", 1};
  const std::string two_fields = map_of({{"a", packed(1)}, {"b", packed(1)}});
  const std::string frames[] = {
    generate_of({{"tokens", array32(max_prompt_tokens, token)}}),
    generate_of({{"tokens", array32(16u << 20, token)}}),
    generate_of({{"tokens", array32(max_frame_values - 4, array_of({token}))}}),
    generate_of({{"messages", array32(8u << 20, empty_map)}}),
    generate_of({{"messages", array32(8u << 20, empty_array)}}),
    generate_of({{"messages", array32(10000, two_fields)}}),
    generate_of({{"stop", array32(8u << 20, nil_bytes)}}),
    generate_of({{"prompt", packed(std::string(max_string_bytes, 'x'))}}),
    generate_of({{std::string(16u << 20, 'k'), packed(1)}}),
    array32(16u << 20, token),
    array32(16u << 20, nil_bytes),
  };
  for (const std::string& frame : frames) {
    const auto memory = memory_of([&] {
      const auto message = decode_client(frame);
      BOOST_TEST((message || is_sentence(message.error().failure)));
    });
    BOOST_TEST(memory <= 6 * frame.size() + (4u << 20), memory << " bytes for a frame of " << frame.size());
  }
}

BOOST_AUTO_TEST_CASE(a_hostile_name_does_not_get_into_a_sentence_at_length) {
  const auto message = decode_client(generate_with(std::string(1u << 20, 'k') + "\n", packed(1)));
  BOOST_REQUIRE(!message);
  BOOST_TEST(is_sentence(message.error().failure));
  BOOST_TEST(message.error().failure.message.find('\n') == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
