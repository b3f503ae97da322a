// Every way in which a file can be bad: refused with a code, a sentence and the byte at which it was found.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include <boost/test/unit_test.hpp>

#include "model/gguf/file.hpp"
#include "tests/support/allocation_peak.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_file.hpp"

using namespace troupe;
using gguf::tensor_type;
using test::gguf_writer;

BOOST_AUTO_TEST_SUITE(gguf_bad_files)

namespace {

using byte_vector = std::vector<std::byte>;

constexpr std::uint64_t header_bytes = 24; // Magic, version, two counts.
constexpr auto most = std::numeric_limits<std::uint64_t>::max();

byte_vector zeros(std::size_t count) {
  return byte_vector(count);
}

template <class T>
byte_vector raw(std::initializer_list<T> values) {
  byte_vector out(values.size() * sizeof(T));
  std::memcpy(out.data(), std::data(values), out.size());
  return out;
}

byte_vector joined(byte_vector a, const byte_vector& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::uint64_t place_of(const byte_vector& bytes, std::string_view text) {
  const auto wanted = std::as_bytes(std::span(text));
  const auto found = std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
  BOOST_REQUIRE(found != bytes.end());
  return static_cast<std::uint64_t>(found - bytes.begin());
}

void check_refused(const byte_vector& bytes, errc code, std::uint64_t offset,
                   std::initializer_list<std::string_view> parts) {
  const auto file = gguf::parse(bytes);
  BOOST_REQUIRE_MESSAGE(!file, "the file was taken");
  const auto& message = file.error().message;
  BOOST_TEST(to_string(file.error().code) == to_string(code), message);
  const auto at = "at byte " + std::to_string(offset);
  const auto place = message.find(at);
  BOOST_TEST((place != std::string::npos && (message[place + at.size()] == ')' || message[place + at.size()] == ' ')),
             message << " does not say " << at);
  for (auto part : parts)
    BOOST_TEST(message.find(part) != std::string::npos, message << " lacks " << part);
  BOOST_TEST(message.back() == '.');
}

void check_refused_file(const std::filesystem::path& path, errc code) {
  const auto file = gguf::open(path);
  BOOST_REQUIRE_MESSAGE(!file, "the file was taken");
  BOOST_TEST(to_string(file.error().code) == to_string(code), file.error().message);
  BOOST_TEST(file.error().message.find(path.native()) != std::string::npos, file.error().message);
}

/// A file with one tensor, described as it should not be.
byte_vector with_tensor(std::uint32_t type, const std::vector<std::uint64_t>& shape, std::size_t data_bytes,
                        std::optional<std::uint64_t> offset = {}) {
  return gguf_writer().add_tensor("t", type, shape, zeros(data_bytes), offset).finish();
}

/// Three letters or so, another for each of 20,000.
std::string short_name(std::uint32_t i) {
  return {static_cast<char>('a' + i % 26), static_cast<char>('a' + i / 26 % 26), static_cast<char>('a' + i / 676)};
}

constexpr auto f32 = static_cast<std::uint32_t>(tensor_type::f32);
constexpr auto q8_0 = static_cast<std::uint32_t>(tensor_type::q8_0);

} // namespace

BOOST_AUTO_TEST_CASE(a_path_that_is_no_file_is_refused_by_name) {
  check_refused_file("/nonexistent/model.gguf", errc::not_found);
  check_refused_file(std::filesystem::temp_directory_path(), errc::io);
  check_refused_file("/dev/zero", errc::io);
  const test::temporary_file empty(zeros(0));
  check_refused_file(empty.path(), errc::malformed);
  const test::temporary_file text(raw({'h', 'e', 'l', 'l', 'o'}));
  check_refused_file(text.path(), errc::malformed);
}

BOOST_AUTO_TEST_CASE(another_magic_version_or_byte_order_is_refused) {
  gguf_writer to;
  to.magic = 0x46465247;
  check_refused(to.finish(), errc::malformed, 0, {"not a GGUF file"});
  to = gguf_writer();
  to.version = 2;
  check_refused(to.finish(), errc::unsupported, 4, {"version 2"});
  to.version = 4;
  check_refused(to.finish(), errc::unsupported, 4, {"version 4"});
  to.version = 0x03000000;
  check_refused(to.finish(), errc::unsupported, 4, {"big-endian"});
}

BOOST_AUTO_TEST_CASE(a_file_cut_anywhere_is_refused) {
  const auto bytes = gguf_writer()
                       .add("number", 1).add("text", "abc").add("list", std::vector<std::string>{"a", "b"})
                       .add("nested", std::vector<std::vector<std::int16_t>>{{1}, {2, 3}})
                       .add_tensor("a", tensor_type::f32, {2}, zeros(8))
                       .add_tensor("b", tensor_type::f32, {2}, zeros(8))
                       .finish();
  BOOST_REQUIRE(gguf::parse(bytes));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto cut = gguf::parse(std::span(bytes).first(length));
    BOOST_REQUIRE_MESSAGE(!cut, "cut to " << length << " bytes it was taken");
    BOOST_TEST(to_string(cut.error().code) == "malformed", length << ": " << cut.error().message);
    BOOST_TEST(cut.error().message.find("at byte ") != std::string::npos, cut.error().message);
  }
}

BOOST_AUTO_TEST_CASE(a_truncated_header_is_refused_with_its_offset) {
  auto bytes = gguf_writer().add("number", std::uint64_t{1}).finish();
  bytes.pop_back();
  check_refused(bytes, errc::malformed, bytes.size() - 7, {"'number'", "truncated"});
}

BOOST_AUTO_TEST_CASE(counts_over_what_the_file_can_hold_are_refused_before_anything_is_allocated) {
  for (const std::uint64_t lie : {std::uint64_t{2}, std::uint64_t{1} << 32, std::uint64_t{1} << 63, most}) {
    gguf_writer to;
    to.claimed_tensors = lie;
    check_refused(to.finish(), errc::malformed, 8, {"tensors", "left"});
    to = gguf_writer();
    to.claimed_entries = lie;
    test::allocation_peak memory;
    check_refused(to.finish(), errc::malformed, 16, {"metadata entries", "left"});
    BOOST_TEST(memory.bytes() < 4096u);
  }
}

BOOST_AUTO_TEST_CASE(counts_over_the_limits_are_refused) {
  gguf_writer to;
  to.claimed_entries = gguf::max_metadata_entries + 1;
  check_refused(joined(to.finish(), zeros(1 << 20)), errc::limit_exceeded, 16, {"65537", "65536"});
  to = gguf_writer();
  to.claimed_tensors = gguf::max_tensors + 1;
  check_refused(joined(to.finish(), zeros(48 << 20)), errc::limit_exceeded, 8, {"1048577", "1048576"});
}

BOOST_AUTO_TEST_CASE(strings_that_run_out_of_the_file_are_refused) {
  for (const std::uint64_t length : {std::uint64_t{9}, std::uint64_t{1} << 40, most - 7, most}) {
    gguf_writer to;
    to.add_raw("k", 8, joined(raw({length}), zeros(8)));
    check_refused(to.finish(), errc::malformed, header_bytes + 8 + 1 + 4, {"'k'", "are left"});
  }
  auto bytes = gguf_writer().add("key", 1).finish();
  std::memcpy(bytes.data() + header_bytes, &most, sizeof most);
  check_refused(bytes, errc::malformed, header_bytes, {"metadata key"});
}

BOOST_AUTO_TEST_CASE(keys_must_be_there_once_and_within_the_limit) {
  check_refused(gguf_writer().add("", 1).finish(), errc::malformed, header_bytes, {"empty"});
  const auto long_key = gguf_writer().add(std::string(65536, 'k'), 1).finish();
  check_refused(long_key, errc::limit_exceeded, header_bytes, {"65536", "65535"});
  BOOST_TEST(gguf::parse(gguf_writer().add(std::string(65535, 'k'), 1).finish()).has_value());
  const auto twice = gguf_writer().add("a", 1).add("b", 1).add("a", 2).finish();
  check_refused(twice, errc::malformed, header_bytes + 2 * 17, {"'a'", "twice"});
}

BOOST_AUTO_TEST_CASE(values_of_unknown_types_are_refused) {
  for (const std::uint32_t type : {13u, 255u, 0x80000000u, 0xffffffffu}) {
    const auto scalar = gguf_writer().add_raw("k", type, zeros(64)).finish();
    check_refused(scalar, errc::malformed, header_bytes + 9, {"'k'", std::to_string(type)});
    const auto array = gguf_writer().add_raw("k", 9, joined(raw({type}), zeros(64))).finish();
    check_refused(array, errc::malformed, header_bytes + 13, {"'k'", std::to_string(type)});
  }
}

BOOST_AUTO_TEST_CASE(truth_values_are_0_or_1) {
  check_refused(gguf_writer().add_raw("k", 7, raw<char>({2})).finish(), errc::malformed, header_bytes + 13, {"'k'", "2"});
  const auto array = joined(joined(raw<std::uint32_t>({7}), raw<std::uint64_t>({3})), raw<char>({0, 1, 7}));
  check_refused(gguf_writer().add_raw("k", 9, array).finish(), errc::malformed, header_bytes + 13 + 12 + 2, {"'k'", "7"});
}

BOOST_AUTO_TEST_CASE(arrays_that_run_out_of_the_file_are_refused) {
  for (const std::uint32_t element : {0u, 5u, 7u, 8u, 9u, 10u}) {
    for (const std::uint64_t count : {std::uint64_t{100}, std::uint64_t{1} << 61, most / 8, most}) {
      const auto array = joined(joined(raw({element}), raw({count})), zeros(64));
      check_refused(gguf_writer().add_raw("k", 9, array).finish(), errc::malformed, header_bytes + 13 + 4, {"'k'", "left"});
    }
  }
}

BOOST_AUTO_TEST_CASE(arrays_nest_up_to_the_limit_and_no_deeper) {
  byte_vector value = joined(raw<std::uint32_t>({0}), raw<std::uint64_t>({0}));
  for (std::uint32_t depth = 1; depth < gguf::max_array_nesting; ++depth)
    value = joined(joined(raw<std::uint32_t>({9}), raw<std::uint64_t>({1})), value);
  const auto good = gguf::parse(gguf_writer().add_raw("k", 9, value).finish());
  BOOST_REQUIRE_MESSAGE(good, good.error().message);
  BOOST_TEST((*good)->describe("k") == "[[[[[[[[]]]]]]]]");
  value = joined(joined(raw<std::uint32_t>({9}), raw<std::uint64_t>({1})), value);
  const auto deep = gguf_writer().add_raw("k", 9, value).finish();
  check_refused(deep, errc::limit_exceeded, header_bytes + 13 + 8 * 12, {"'k'", "8 deep"});
}

BOOST_AUTO_TEST_CASE(a_senseless_alignment_is_refused) {
  const auto place = header_bytes + 8 + 17 + 4;
  for (const std::uint32_t alignment : {0u, 1u, 4u, 12u, 33u, 1u << 22, 0xffffffffu}) {
    const auto bytes = gguf_writer().add("general.alignment", alignment).finish();
    check_refused(bytes, errc::malformed, place, {std::to_string(alignment)});
  }
  check_refused(gguf_writer().add("general.alignment", std::uint64_t{32}).finish(), errc::malformed, place, {"u64"});
  check_refused(gguf_writer().add("general.alignment", "32").finish(), errc::malformed, place, {"string"});
}

BOOST_AUTO_TEST_CASE(tensors_of_types_that_troupe_lacks_are_unsupported_by_name) {
  const auto place = header_bytes + 8 + 1 + 4 + 8;
  check_refused(with_tensor(10, {256}, 84), errc::unsupported, place, {"'t'", "10", "Q2_K"});
  check_refused(with_tensor(4, {256}, 84), errc::unsupported, place, {"'t'", "4", "unknown"});
  check_refused(with_tensor(99, {256}, 84), errc::unsupported, place, {"'t'", "99", "unknown"});
  check_refused(with_tensor(0xffffffff, {256}, 84), errc::unsupported, place, {"'t'", "4294967295"});
}

BOOST_AUTO_TEST_CASE(tensor_names_must_be_there_once_and_within_the_limit) {
  auto named = [](const std::string& name) { return gguf_writer().add_tensor(name, f32, {1}, zeros(4)).finish(); };
  check_refused(named(""), errc::malformed, header_bytes, {"empty"});
  check_refused(named(std::string(65, 't')), errc::limit_exceeded, header_bytes, {"65", "64"});
  BOOST_TEST(gguf::parse(named(std::string(64, 't'))).has_value());
  const auto twice = gguf_writer().add_tensor("a", f32, {1}, zeros(4)).add_tensor("a", f32, {1}, zeros(4)).finish();
  check_refused(twice, errc::malformed, header_bytes + 33 + 8, {"'a'", "twice"});
}

BOOST_AUTO_TEST_CASE(impossible_shapes_are_refused) {
  const auto dimensions = header_bytes + 9;
  check_refused(with_tensor(f32, {}, 4), errc::malformed, dimensions, {"'t'", "0 dimensions"});
  check_refused(with_tensor(f32, {1, 1, 1, 1, 1}, 4), errc::malformed, dimensions, {"'t'", "5 dimensions"});
  check_refused(with_tensor(f32, {2, 0}, 4), errc::malformed, dimensions + 4 + 8, {"Dimension 1", "'t'"});
  check_refused(with_tensor(q8_0, {33}, 68), errc::malformed, header_bytes, {"33", "32", "Q8_0"});
  // Products that wrap: of the elements, to zero and to one; and of the bytes.
  const auto half = std::uint64_t{1} << 32;
  check_refused(with_tensor(f32, {half, half}, 4), errc::malformed, header_bytes, {"2^64"});
  check_refused(with_tensor(f32, {3, 0xaaaaaaaaaaaaaaab}, 4), errc::malformed, header_bytes, {"2^64"});
  check_refused(with_tensor(f32, {std::uint64_t{1} << 62}, 4), errc::malformed, header_bytes, {"2^64 bytes"});
}

BOOST_AUTO_TEST_CASE(tensor_data_outside_the_file_is_refused) {
  const auto offset = header_bytes + 9 + 12 + 4;
  check_refused(with_tensor(f32, {8}, 32, 4), errc::malformed, offset, {"'t'", "4", "alignment 32"});
  check_refused(with_tensor(f32, {8}, 32, most), errc::malformed, offset, {"'t'", "alignment"});
  for (const std::uint64_t begin : {std::uint64_t{32}, std::uint64_t{1} << 40, most - 31})
    check_refused(with_tensor(f32, {8}, 32, begin), errc::malformed, header_bytes, {"'t'"});
  check_refused(with_tensor(f32, {9}, 32), errc::malformed, header_bytes, {"'t'", "truncated"});
  BOOST_TEST(gguf::parse(with_tensor(f32, {8}, 32)).has_value());
}

BOOST_AUTO_TEST_CASE(tensors_that_overlap_are_refused) {
  const auto room = zeros(1024); // So that the sum of the sizes does not give it away.
  const auto same = gguf_writer().add_tensor("a", f32, {8}, room, 64).add_tensor("b", f32, {8}, room, 64).finish();
  check_refused(same, errc::malformed, place_of(same, "b"), {"'a'", "'b'", "overlap"});
  const auto into = gguf_writer().add_tensor("a", f32, {9}, room, 64).add_tensor("b", f32, {8}, room, 96).finish();
  check_refused(into, errc::malformed, place_of(into, "b"), {"'a'", "'b'", "overlap"});
  const auto back = gguf_writer().add_tensor("a", f32, {8}, room, 96).add_tensor("b", f32, {9}, room, 64).finish();
  check_refused(back, errc::malformed, place_of(back, "a"), {"'a'", "'b'", "overlap"});
  const auto beside = gguf_writer().add_tensor("a", f32, {8}, room, 96).add_tensor("b", f32, {8}, room, 64).finish();
  BOOST_TEST(gguf::parse(beside).has_value());
}

BOOST_AUTO_TEST_CASE(a_part_of_a_split_model_is_unsupported) {
  const auto file = gguf::parse(gguf_writer().add("split.count", std::uint16_t{2}).finish());
  BOOST_REQUIRE(!file);
  BOOST_TEST(to_string(file.error().code) == "unsupported");
  BOOST_TEST(file.error().message.find("2 parts") != std::string::npos, file.error().message);
  BOOST_TEST(gguf::parse(gguf_writer().add("split.count", std::uint16_t{1}).finish()).has_value());
}

BOOST_AUTO_TEST_CASE(names_in_messages_are_escaped_and_cut) {
  const auto file = gguf::parse(gguf_writer().add_raw("\x1b[31m" + std::string(1000, 'k'), 99, {}).finish());
  BOOST_REQUIRE(!file);
  BOOST_TEST(file.error().message.find('\x1b') == std::string::npos);
  BOOST_TEST(file.error().message.size() < 400u);
}

BOOST_AUTO_TEST_CASE(a_header_of_the_smallest_things_allocates_less_than_twice_the_file) {
  gguf_writer to(8);
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const auto name = short_name(i);
    to.add_tensor(name, tensor_type::f16, {1}, zeros(2));
    to.add(name, std::uint8_t{1});
  }
  const test::temporary_file disk(to.finish());
  const test::allocation_peak memory;
  const auto file = gguf::open(disk.path());
  BOOST_REQUIRE_MESSAGE(file, file.error().message);
  BOOST_TEST(memory.bytes() > (*file)->tensors().size() * sizeof(gguf::tensor)); // It does measure.
  BOOST_TEST(memory.bytes() < 2 * (*file)->size());
}

BOOST_AUTO_TEST_CASE(many_tensors_that_share_their_bytes_do_not_multiply_what_is_allocated) {
  gguf_writer to(8);
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const auto name = short_name(i);
    to.add_tensor(name, tensor_type::f32, {2, 1, 1, 1}, i == 0 ? zeros(8) : zeros(0), 0);
  }
  const test::temporary_file disk(to.finish());
  const test::allocation_peak memory;
  const auto file = gguf::open(disk.path());
  BOOST_REQUIRE(!file);
  BOOST_TEST(file.error().message.find("overlap") != std::string::npos, file.error().message);
  BOOST_TEST(memory.bytes() < 8192u);
}

BOOST_AUTO_TEST_SUITE_END()
