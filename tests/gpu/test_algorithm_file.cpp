// The file of cuBLASLt's algorithms: what is kept, and what damaged and foreign files do.
#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <unistd.h>

#include "gpu/cuda/algorithm_file.hpp"

using namespace troupe::gpu::cuda;

namespace {

struct some_folder {
  std::filesystem::path path;
  std::vector<std::string> said;

  some_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "troupe-algorithms-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(pattern.data()));
    path = pattern;
  }
  ~some_folder() { std::filesystem::remove_all(path); }

  std::filesystem::path file() const { return path / "below" / "algorithms.txt"; }
  algorithm_file open(const std::string& owner = "a GPU, cuBLASLt 130001") {
    return {file(), owner, [this](const std::string& sentence) { said.push_back(sentence); }};
  }
  std::string contents() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& text) const { std::ofstream(file(), std::ios::binary) << text; }
};

const product_shape first{512, 4096, 1024, 4096, true}, second{16, 4096, 1024, 4096, false};
constexpr algorithm_words some_words{1, 0xffffffffffffffffu, 3, 4, 5, 6, 7, 0x8000000000000000u}, other_words{9};

} // namespace

BOOST_AUTO_TEST_SUITE(algorithms_of_products)

BOOST_AUTO_TEST_CASE(a_restart_finds_what_was_taken_before) {
  some_folder in;
  {
    auto before = in.open();
    BOOST_TEST(!before.find(first));
    before.add(first, some_words);
    before.add(second, other_words);
  }
  const auto after = in.open();
  BOOST_TEST((after.find(first) == some_words));
  BOOST_TEST((after.find(second) == other_words));
  auto types = first;
  types.types = "f8-f8-f32";
  BOOST_TEST(!after.find(types));
  BOOST_TEST(in.said.empty());
}

BOOST_AUTO_TEST_CASE(several_processes_share_a_file) {
  some_folder in;
  auto one = in.open(), other = in.open();
  one.add(first, some_words);
  other.add(second, other_words);
  one.add(second, other_words);
  BOOST_TEST(in.open().size() == 2u);
  BOOST_TEST(in.said.empty());
}

BOOST_AUTO_TEST_CASE(an_empty_file_and_one_with_two_beginnings_are_as_good_as_any) {
  some_folder in;
  in.open().add(first, some_words);
  const auto whole = in.contents();
  in.write("");
  in.open().add(first, some_words);
  BOOST_TEST(in.contents() == whole);
  in.write(whole + whole); // Two processes have made it at once.
  BOOST_TEST(in.open().size() == 1u);
  BOOST_TEST(in.said.empty());
}

BOOST_AUTO_TEST_CASE(each_damaged_byte_costs_no_more_than_its_line_and_is_said) {
  some_folder in;
  {
    auto before = in.open();
    before.add(first, some_words);
    before.add(second, other_words);
  }
  const auto whole = in.contents();
  for (auto at = whole.find('\n') + 1; at < whole.size(); at += 3) {
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    in.write(damaged);
    in.said.clear();
    const auto after = in.open();
    BOOST_TEST(in.said.size() == 1u);
    BOOST_TEST(after.size() <= 1u);
    for (const auto& [shape, words] : {std::pair(first, some_words), {second, other_words}})
      if (const auto found = after.find(shape))
        BOOST_TEST((*found == words));
  }
}

BOOST_AUTO_TEST_CASE(after_half_a_line_a_writer_begins_a_new_one) {
  some_folder in;
  in.open().add(first, some_words);
  const auto whole = in.contents();
  in.write(whole.substr(0, whole.size() - 9));
  in.open().add(second, other_words);
  BOOST_TEST(in.said.size() == 1u);
  const auto after = in.open();
  BOOST_TEST((after.find(second) == other_words));
  BOOST_TEST(!after.find(first));
}

BOOST_AUTO_TEST_CASE(a_file_of_something_else_is_left_alone_and_said) {
  some_folder in;
  in.open("another GPU, cuBLASLt 130001").add(first, some_words);
  const auto before = in.contents();
  {
    auto foreign = in.open();
    BOOST_TEST(foreign.size() == 0u);
    foreign.add(second, other_words);
    BOOST_TEST((foreign.find(second) == other_words)); // In this process.
  }
  BOOST_TEST(in.contents() == before);
  BOOST_REQUIRE(in.said.size() == 1u);
  BOOST_TEST(in.said[0].find("not a file of algorithms for this device") != std::string::npos);
  in.write(std::string("\x7f"
                       "ELF\0\xff",
                       6));
  BOOST_TEST(in.open().size() == 0u);
  BOOST_TEST(in.said.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_written_is_said_once) {
  some_folder in;
  std::ofstream(in.path / "below") << "a file";
  auto own = in.open();
  own.add(first, some_words);
  own.add(second, other_words);
  BOOST_TEST(in.said.size() == 1u);
  BOOST_TEST((own.find(first) == some_words));
  BOOST_TEST((own.find(second) == other_words));
}

BOOST_AUTO_TEST_CASE(each_device_and_version_has_a_file_of_its_own) {
  const auto one = algorithm_path("/cache/troupe", "NVIDIA H100 80GB HBM3, cuBLASLt 130001");
  BOOST_TEST(one == std::filesystem::path("/cache/troupe/cublaslt-NVIDIA-H100-80GB-HBM3--cuBLASLt-130001.txt"));
  BOOST_TEST(one != algorithm_path("/cache/troupe", "NVIDIA H100 80GB HBM3, cuBLASLt 130002"));
  BOOST_TEST(algorithm_path({}, "x").empty());
}

BOOST_AUTO_TEST_SUITE_END()
