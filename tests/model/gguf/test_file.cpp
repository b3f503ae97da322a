// Good files: what was written is what is read.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>

#include <boost/test/unit_test.hpp>

#include "model/gguf/file.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_file.hpp"

using namespace troupe;
using gguf::tensor_type;
using test::gguf_writer;

BOOST_AUTO_TEST_SUITE(gguf_file)

namespace {

std::vector<std::byte> counting_bytes(std::size_t count, unsigned from = 0) {
  std::vector<std::byte> out(count);
  for (std::size_t i = 0; i < count; ++i)
    out[i] = static_cast<std::byte>(from + i);
  return out;
}

std::shared_ptr<const gguf::file> must_parse(const std::vector<std::byte>& bytes) {
  auto file = gguf::parse(bytes);
  BOOST_REQUIRE_MESSAGE(file, file.error().message);
  return *file;
}

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::ranges::equal(a, b);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_file_with_nothing_in_it_is_valid) {
  const auto file = must_parse(gguf_writer().finish());
  BOOST_TEST(file->tensors().empty());
  BOOST_TEST(file->metadata_count() == 0u);
  BOOST_TEST(file->size() == 24u);
  BOOST_TEST(file->alignment() == 32u);
}

BOOST_AUTO_TEST_CASE(tensors_have_the_shapes_types_and_bytes_that_were_written) {
  const auto matrix = counting_bytes(3 * 2 * 34);
  const auto vector = counting_bytes(5 * 4, 100);
  const auto file = must_parse(gguf_writer()
                                 .add_tensor("matrix", tensor_type::q8_0, {64, 3}, matrix)
                                 .add_tensor("vector", tensor_type::f32, {5}, vector)
                                 .finish());
  BOOST_REQUIRE(file->tensors().size() == 2u);
  const auto& first = file->tensors()[0];
  BOOST_TEST(first.name == "matrix");
  BOOST_TEST(gguf::to_string(first.type) == "Q8_0");
  BOOST_TEST(first.columns() == 64u);
  BOOST_TEST(first.rows() == 3u);
  BOOST_TEST(first.elements() == 192u);
  BOOST_TEST(same_bytes(first.data, matrix));
  BOOST_TEST(same_bytes(first.row(1), std::span(matrix).subspan(68, 68)));
  BOOST_TEST(same_bytes(first.row(2), std::span(matrix).subspan(136, 68)));
  const auto& second = file->tensors()[1];
  BOOST_TEST(second.rows() == 1u);
  BOOST_TEST(same_bytes(second.row(0), vector));
}

BOOST_AUTO_TEST_CASE(a_tensor_is_found_by_its_name_and_no_other) {
  gguf_writer to;
  for (const char* name : {"m", "b", "z", "aa", "a"})
    to.add_tensor(name, tensor_type::f32, {1}, counting_bytes(4));
  const auto file = must_parse(to.finish());
  for (const auto& tensor : file->tensors())
    BOOST_TEST(file->find_tensor(tensor.name) == &tensor);
  for (const char* name : {"", "ab", "zz", "n", "A"})
    BOOST_TEST(file->find_tensor(name) == nullptr);
}

BOOST_AUTO_TEST_CASE(tensors_begin_at_multiples_of_the_files_own_alignment) {
  for (const std::uint32_t alignment : {8u, 32u, 64u, 4096u}) {
    const auto file = must_parse(gguf_writer(alignment)
                                   .add_tensor("a", tensor_type::f16, {1}, counting_bytes(2))
                                   .add_tensor("b", tensor_type::f16, {1}, counting_bytes(2, 7))
                                   .finish());
    BOOST_TEST(file->alignment() == alignment);
    BOOST_TEST(file->data_offset() % alignment == 0u);
    BOOST_TEST(file->tensors()[1].data.data() - file->tensors()[0].data.data() == alignment);
    BOOST_TEST(same_bytes(file->tensors()[1].data, counting_bytes(2, 7)));
  }
}

BOOST_AUTO_TEST_CASE(tensor_data_may_come_in_any_order) {
  const auto file = must_parse(gguf_writer()
                                 .add_tensor("second", tensor_type::f16, {1}, counting_bytes(2, 1), 32)
                                 .add_tensor("first", tensor_type::f16, {1}, counting_bytes(2, 9), 0)
                                 .finish());
  BOOST_TEST(same_bytes(file->find_tensor("first")->data, counting_bytes(2, 1)));
  BOOST_TEST(same_bytes(file->find_tensor("second")->data, counting_bytes(2, 9)));
}

BOOST_AUTO_TEST_CASE(up_to_four_dimensions_are_read) {
  const auto file = must_parse(gguf_writer().add_tensor("t", tensor_type::f32, {2, 3, 4, 5}, counting_bytes(480)).finish());
  const auto& tensor = file->tensors()[0];
  BOOST_TEST(tensor.shape == (std::vector<std::uint64_t>{2, 3, 4, 5}), boost::test_tools::per_element());
  BOOST_TEST(tensor.rows() == 60u);
  BOOST_TEST(same_bytes(tensor.row(59), std::span(tensor.data).last(8)));
}

BOOST_AUTO_TEST_CASE(a_file_is_opened_from_disk_as_from_memory) {
  const auto bytes = gguf_writer().add("key", 7).add_tensor("t", tensor_type::f32, {4}, counting_bytes(16)).finish();
  const test::temporary_file disk(bytes);
  const auto file = gguf::open(disk.path());
  BOOST_REQUIRE_MESSAGE(file, file.error().message);
  BOOST_TEST((*file)->path() == disk.path());
  BOOST_TEST((*file)->size() == bytes.size());
  BOOST_TEST((*file)->get<std::int32_t>("key").value() == 7);
  BOOST_TEST(same_bytes((*file)->tensors()[0].data, counting_bytes(16)));
}

BOOST_AUTO_TEST_CASE(opening_a_file_keeps_no_descriptor) {
  auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator{});
  };
  const test::temporary_file good(gguf_writer().finish());
  const test::temporary_file bad(counting_bytes(100));
  const auto before = descriptors();
  const auto file = gguf::open(good.path());
  BOOST_TEST(file.has_value());
  BOOST_TEST(!gguf::open(bad.path()));
  BOOST_TEST(descriptors() == before);
}

BOOST_AUTO_TEST_CASE(released_pages_can_still_be_read) {
  const auto data = counting_bytes(1 << 16);
  const auto bytes = gguf_writer().add_tensor("t", tensor_type::f32, {1 << 14}, data).finish();
  const test::temporary_file disk(bytes);
  const auto opened = gguf::open(disk.path()).value();
  for (const auto& file : {opened, must_parse(bytes)}) {
    file->release_pages(file->tensors()[0]);
    BOOST_TEST(same_bytes(file->tensors()[0].data, data));
    file->release_pages();
    BOOST_TEST(same_bytes(file->tensors()[0].data, data));
    BOOST_TEST(same_bytes(file->bytes(), bytes));
  }
}

BOOST_AUTO_TEST_CASE(every_tensor_type_has_a_name_and_a_block_format) {
  struct { tensor_type type; const char* name; unsigned elements; unsigned bytes; } const expected[] = {
    {tensor_type::f32, "F32", 1, 4},      {tensor_type::f16, "F16", 1, 2},      {tensor_type::bf16, "BF16", 1, 2},
    {tensor_type::q8_0, "Q8_0", 32, 34},  {tensor_type::q4_0, "Q4_0", 32, 18},  {tensor_type::q4_1, "Q4_1", 32, 20},
    {tensor_type::q5_0, "Q5_0", 32, 22},  {tensor_type::q5_1, "Q5_1", 32, 24},  {tensor_type::q4_k, "Q4_K", 256, 144},
    {tensor_type::q5_k, "Q5_K", 256, 176}, {tensor_type::q6_k, "Q6_K", 256, 210}};
  for (const auto& [type, name, elements, bytes] : expected) {
    BOOST_TEST(gguf::to_string(type) == name);
    BOOST_TEST(gguf::format_of(type).elements == elements);
    BOOST_TEST(gguf::format_of(type).bytes == bytes);
    const auto file = must_parse(gguf_writer().add_tensor("t", type, {elements, 2}, counting_bytes(2 * bytes)).finish());
    BOOST_TEST(file->tensors()[0].data.size() == 2 * bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_file_stays_the_one_that_was_opened_whatever_its_path_names_later) {
  const auto bytes = gguf_writer().finish();
  const test::temporary_file first(bytes), second(bytes);
  const auto before = *gguf::open(first.path());
  const auto identity = before->identity();
  BOOST_TEST(!identity.empty());
  BOOST_TEST((*gguf::open(first.path()))->identity() == identity);
  std::filesystem::rename(second.path(), first.path());
  BOOST_TEST(before->identity() == identity);
  BOOST_TEST((*gguf::open(first.path()))->identity() != identity);
  BOOST_TEST(must_parse(bytes)->identity().empty());
}

BOOST_AUTO_TEST_SUITE_END()
