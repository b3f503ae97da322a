// Typed access to metadata, and its errors.
#include <cstdint>
#include <limits>

#include <boost/test/unit_test.hpp>

#include "model/gguf/file.hpp"
#include "tests/support/gguf_writer.hpp"

using namespace troupe;
using test::gguf_writer;

BOOST_AUTO_TEST_SUITE(gguf_metadata)

namespace {

std::shared_ptr<const gguf::file> must_parse(const gguf_writer& from) {
  auto file = gguf::parse(from.finish());
  BOOST_REQUIRE_MESSAGE(file, file.error().message);
  return *file;
}

template <class T>
void check_wrong(const gguf::file& file, std::string_view key, std::string_view type_there) {
  const auto got = file.get<T>(key);
  BOOST_REQUIRE_MESSAGE(!got, key << " was taken");
  BOOST_TEST(to_string(got.error().code) == "malformed");
  for (auto part : {key, type_there})
    BOOST_TEST(got.error().message.find(part) != std::string::npos, got.error().message << " lacks " << part);
  BOOST_TEST(!file.get_or<T>(key, T{}), key << " gave the fallback");
}

} // namespace

BOOST_AUTO_TEST_CASE(every_number_type_is_read_at_its_limits) {
  const auto file = must_parse(gguf_writer()
                                 .add("u8", std::uint8_t{255}).add("i8", std::int8_t{-128})
                                 .add("u16", std::uint16_t{65535}).add("i16", std::int16_t{-32768})
                                 .add("u32", std::uint32_t{4294967295u}).add("i32", std::int32_t{-2147483647 - 1})
                                 .add("u64", std::numeric_limits<std::uint64_t>::max())
                                 .add("i64", std::numeric_limits<std::int64_t>::min())
                                 .add("f32", 0.1f).add("f64", 0.1).add("yes", true).add("no", false).add("text", "höhe"));
  BOOST_TEST(file->get<std::int32_t>("u8").value() == 255);
  BOOST_TEST(file->get<std::int32_t>("i8").value() == -128);
  BOOST_TEST(file->get<std::uint32_t>("u16").value() == 65535u);
  BOOST_TEST(file->get<std::int64_t>("i16").value() == -32768);
  BOOST_TEST(file->get<std::uint32_t>("u32").value() == 4294967295u);
  BOOST_TEST(file->get<std::int32_t>("i32").value() == std::numeric_limits<std::int32_t>::min());
  BOOST_TEST(file->get<std::uint64_t>("u64").value() == std::numeric_limits<std::uint64_t>::max());
  BOOST_TEST(file->get<std::int64_t>("i64").value() == std::numeric_limits<std::int64_t>::min());
  BOOST_TEST(file->get<float>("f32").value() == 0.1f);
  BOOST_TEST(file->get<double>("f32").value() == static_cast<double>(0.1f));
  BOOST_TEST(file->get<double>("f64").value() == 0.1);
  BOOST_TEST(file->get<float>("f64").value() == 0.1f);
  BOOST_TEST(file->get<bool>("yes").value());
  BOOST_TEST(!file->get<bool>("no").value());
  BOOST_TEST(file->get<std::string_view>("text").value() == "höhe");
}

BOOST_AUTO_TEST_CASE(arrays_of_strings_and_numbers_are_read) {
  const auto file = must_parse(gguf_writer()
                                 .add("strings", std::vector<std::string>{"a", "", "ccc"})
                                 .add("numbers", std::vector<std::int32_t>{1, -2, 3})
                                 .add("wide", std::vector<std::uint64_t>{4, 5})
                                 .add("floats", std::vector<float>{0.5f, -0.25f})
                                 .add("doubles", std::vector<double>{0.5})
                                 .add("none", std::vector<std::int32_t>{}));
  BOOST_TEST(file->get<std::vector<std::string_view>>("strings").value() == (std::vector<std::string_view>{"a", "", "ccc"}),
             boost::test_tools::per_element());
  BOOST_TEST(file->get<std::vector<std::int32_t>>("numbers").value() == (std::vector<std::int32_t>{1, -2, 3}),
             boost::test_tools::per_element());
  BOOST_TEST(file->get<std::vector<std::int32_t>>("wide").value() == (std::vector<std::int32_t>{4, 5}),
             boost::test_tools::per_element());
  BOOST_TEST(file->get<std::vector<float>>("floats").value() == (std::vector<float>{0.5f, -0.25f}),
             boost::test_tools::per_element());
  BOOST_TEST(file->get<std::vector<float>>("doubles").value() == (std::vector<float>{0.5f}),
             boost::test_tools::per_element());
  BOOST_TEST(file->get<std::vector<std::int32_t>>("none").value().empty());
}

BOOST_AUTO_TEST_CASE(an_absent_key_is_not_found_by_name_and_gives_the_fallback) {
  const auto file = must_parse(gguf_writer().add("b", 1).add("d", 2));
  for (std::string_view key : {"a", "c", "e", ""}) {
    BOOST_TEST(!file->has(key));
    const auto got = file->get<std::int32_t>(key);
    BOOST_REQUIRE(!got);
    BOOST_TEST(to_string(got.error().code) == "not_found");
    const auto name = std::string("'").append(key).append("'");
    BOOST_TEST(got.error().message.find(name) != std::string::npos, got.error().message);
    BOOST_TEST(file->get_or<std::int32_t>(key, 42).value() == 42);
  }
  BOOST_TEST(file->has("b"));
  BOOST_TEST(file->get_or<std::int32_t>("b", 42).value() == 1);
}

BOOST_AUTO_TEST_CASE(a_value_of_the_wrong_type_is_malformed_and_never_the_fallback) {
  const auto file = must_parse(gguf_writer()
                                 .add("number", std::uint32_t{7}).add("text", "seven").add("real", 7.0f).add("truth", true)
                                 .add("numbers", std::vector<std::int32_t>{7}).add("bytes", std::vector<std::uint8_t>{7})
                                 .add("reals", std::vector<float>{7}).add("zero", std::uint64_t{0})
                                 .add("no_reals", std::vector<float>{}).add("no_numbers", std::vector<std::int32_t>{}));
  check_wrong<std::string_view>(*file, "number", "u32");
  check_wrong<std::string_view>(*file, "zero", "u64"); // Its bytes would be an empty string's.
  check_wrong<std::vector<std::int32_t>>(*file, "no_reals", "array of 0 f32");
  check_wrong<std::vector<float>>(*file, "no_numbers", "array of 0 i32");
  check_wrong<std::vector<std::string_view>>(*file, "no_numbers", "array of 0 i32");
  check_wrong<bool>(*file, "number", "u32");
  check_wrong<float>(*file, "number", "u32");
  check_wrong<std::uint32_t>(*file, "text", "string");
  check_wrong<std::uint32_t>(*file, "real", "f32");
  check_wrong<std::uint32_t>(*file, "truth", "bool");
  check_wrong<std::uint32_t>(*file, "numbers", "array of 1 i32");
  check_wrong<std::vector<std::string_view>>(*file, "numbers", "array of 1 i32");
  check_wrong<std::vector<float>>(*file, "numbers", "array of 1 i32");
  check_wrong<std::vector<std::int32_t>>(*file, "reals", "array of 1 f32");
  check_wrong<std::vector<std::int32_t>>(*file, "bytes", "array of 1 u8");
  check_wrong<std::vector<std::int32_t>>(*file, "number", "u32");
}

BOOST_AUTO_TEST_CASE(a_number_that_does_not_fit_is_malformed) {
  const auto file = must_parse(gguf_writer()
                                 .add("minus", -1).add("large", std::uint32_t{1} << 31).add("huge", std::uint64_t{1} << 63)
                                 .add("many", std::vector<std::int64_t>{1, std::int64_t{1} << 31}));
  check_wrong<std::uint32_t>(*file, "minus", "-1");
  check_wrong<std::uint64_t>(*file, "minus", "-1");
  check_wrong<std::int32_t>(*file, "large", "2147483648");
  check_wrong<std::uint32_t>(*file, "huge", "9223372036854775808");
  check_wrong<std::int64_t>(*file, "huge", "9223372036854775808");
  check_wrong<std::vector<std::int32_t>>(*file, "many", "2147483648");
}

BOOST_AUTO_TEST_CASE(metadata_is_listed_in_the_files_order_with_types_and_counts) {
  const auto file = must_parse(gguf_writer().add("z", std::uint16_t{1}).add("a", "text").add("m", std::vector<float>{1, 2}));
  BOOST_REQUIRE(file->metadata_count() == 3u);
  BOOST_TEST(file->metadata(0).key == "z");
  BOOST_TEST(gguf::to_string(file->metadata(0).type) == "u16");
  BOOST_TEST(file->metadata(1).key == "a");
  BOOST_TEST(gguf::to_string(file->metadata(1).type) == "string");
  BOOST_TEST(gguf::to_string(file->metadata(2).type) == "array");
  BOOST_TEST(gguf::to_string(file->metadata(2).element_type) == "f32");
  BOOST_TEST(file->metadata(2).count == 2u);
}

BOOST_AUTO_TEST_CASE(values_are_described_escaped_and_cut) {
  const auto file = must_parse(gguf_writer()
                                 .add("text", "a\n'\x01").add("long", std::string(1000, 'x'))
                                 .add("many", std::vector<int>(10000, 5))
                                 .add("nested", std::vector<std::vector<std::string>>{{"a"}, {}, {"b", "c"}})
                                 .add("truth", true).add("real", 0.5));
  BOOST_TEST(file->describe("text") == "'a\\n\\x27\\x01'");
  BOOST_TEST(file->describe("long", 10) == "'xxxxxxxxxx' (cut, 1000 bytes)");
  BOOST_TEST(file->describe("many", 10) == "[5, 5, 5, ...]");
  BOOST_TEST(file->describe("nested") == "[['a'], [], ['b', 'c']]");
  BOOST_TEST(file->describe("truth") == "true");
  BOOST_TEST(file->describe("real") == "0.5");
  BOOST_TEST(file->describe("absent").empty());
}

BOOST_AUTO_TEST_SUITE_END()
