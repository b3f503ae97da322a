// Mutated headers: each is taken or refused with a sentence, and allocates less than twice the file, or so.
//
// TROUPE_FUZZ_COUNT says how many (default 100; the nightly suite runs 10,000 under the sanitizers), TROUPE_FUZZ_SEED
// where to begin: a failure names its seed, and running with that seed and a count of 1 repeats it.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include <boost/test/unit_test.hpp>

#include "model/gguf/file.hpp"
#include "tests/support/allocation_peak.hpp"
#include "tests/support/number_from.hpp"
#include "tests/support/temporary_file.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(gguf_mutations)

namespace {

using byte_vector = std::vector<std::byte>;

/// What the mutations aim at: where the header ends, and where the tensors' descriptions begin.
struct target {
  byte_vector bytes;
  std::size_t header_end;
  std::size_t descriptions;
};

target make_target() {
  target out;
  out.bytes = test::tiny_model({.layers = 1, .width = 32, .heads = 2, .kv_heads = 1, .feed_forward = 32,
                                .type = gguf::tensor_type::q4_1});
  const auto file = gguf::parse(out.bytes).value();
  const auto& tensor = file->tensors()[0];
  const auto base = tensor.data.data() - file->data_offset();
  out.header_end = file->data_offset();
  out.descriptions = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(tensor.name.data()) - base) - 8;
  return out;
}

class mutator {
public:
  mutator(const target& from, std::uint64_t seed) : from_(from), random_(seed), bytes_(from.bytes) {}

  byte_vector run() {
    const auto steps = 1 + below(3);
    for (std::uint64_t i = 0; i < steps; ++i)
      step();
    return std::move(bytes_);
  }

private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  /// Half of them in the fixed header and the descriptions, where numbers are; the others anywhere in the header.
  std::size_t place() {
    const auto limit = std::min(bytes_.size() - 1, from_.header_end);
    const auto aim = below(4);
    std::size_t at = below(limit);
    if (aim == 0)
      at = below(24);
    else if (aim == 1)
      at = from_.descriptions + below(from_.header_end - from_.descriptions);
    return std::min(at, limit);
  }

  template <class T>
  void overwrite(T value) {
    const auto at = place();
    std::memcpy(bytes_.data() + at, &value, std::min(sizeof value, bytes_.size() - at));
  }

  std::uint64_t telling_number() {
    const std::uint64_t numbers[] = {0, 1, 2, 7, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, std::uint64_t{1} << 61,
                                     std::uint64_t{1} << 63, ~std::uint64_t{0}, ~std::uint64_t{31}, bytes_.size(),
                                     bytes_.size() - from_.header_end, below(1 << 16), random_()};
    return numbers[below(std::size(numbers))];
  }

  void step() {
    if (bytes_.size() < 32)
      return;
    switch (below(7)) {
      case 0: bytes_[place()] ^= static_cast<std::byte>(1u << below(8)); break;
      case 1: bytes_[place()] = static_cast<std::byte>(below(256)); break;
      case 2: bytes_.resize(below(bytes_.size())); break;
      case 3: overwrite(telling_number()); break;
      case 4: overwrite(static_cast<std::uint32_t>(telling_number())); break;
      case 5: {
        const auto at = place();
        bytes_.erase(bytes_.begin() + at, bytes_.begin() + std::min<std::size_t>(at + 1 + below(64), bytes_.size()));
        break;
      }
      case 6: {
        const auto at = place();
        const auto end = std::min<std::size_t>(at + 1 + below(64), bytes_.size());
        const byte_vector again(bytes_.begin() + at, bytes_.begin() + end);
        bytes_.insert(bytes_.begin() + place(), again.begin(), again.end());
        break;
      }
    }
  }

  const target& from_;
  std::mt19937_64 random_;
  byte_vector bytes_;
};

/// Asks for everything that a file has, so that a sanitizer sees what the checks let through.
std::size_t use_all(const gguf::file& file) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < file.metadata_count(); ++i) {
    const auto entry = file.metadata(i);
    BOOST_REQUIRE(file.has(entry.key));
    sum += file.describe(entry.key).size();
    auto count = [&](const auto& got) { sum += got ? 1 : got.error().message.size(); };
    count(file.get<bool>(entry.key));
    count(file.get<std::int32_t>(entry.key));
    count(file.get<std::uint64_t>(entry.key));
    count(file.get<double>(entry.key));
    count(file.get<std::string_view>(entry.key));
    count(file.get<std::vector<std::string_view>>(entry.key));
    count(file.get<std::vector<std::int32_t>>(entry.key));
    count(file.get<std::vector<float>>(entry.key));
  }
  for (const auto& tensor : file.tensors()) {
    BOOST_REQUIRE(file.find_tensor(tensor.name) == &tensor);
    BOOST_REQUIRE(!tensor.data.empty());
    const auto last = tensor.row(tensor.rows() - 1);
    BOOST_REQUIRE(last.data() + last.size() == tensor.data.data() + tensor.data.size());
    std::vector<float> values(tensor.columns());
    gguf::dequantise(tensor.type, last, values);
    sum += std::to_integer<unsigned>(tensor.data.front());
  }
  return sum;
}

void check_refusal(const error& refusal) {
  const bool expected_code = refusal.code == errc::malformed || refusal.code == errc::unsupported
                             || refusal.code == errc::limit_exceeded;
  BOOST_TEST(expected_code, to_string(refusal.code));
  BOOST_TEST(refusal.message.find("at byte ") != std::string::npos, refusal.message);
  BOOST_TEST(refusal.message.ends_with('.'), refusal.message);
  BOOST_TEST(refusal.message.size() < 1000u);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_mutated_header_is_taken_or_refused_within_bounded_memory) {
  constexpr std::size_t constant = 4096; // The path, the message, the object.
  const auto from = make_target();
  const auto first = test::number_from("TROUPE_FUZZ_SEED", 1);
  const auto count = test::number_from("TROUPE_FUZZ_COUNT", 100);
  std::size_t refused = 0;
  std::size_t sum = 0;
  for (auto seed = first; seed < first + count; ++seed) {
    BOOST_TEST_CONTEXT("TROUPE_FUZZ_SEED=" << seed << " TROUPE_FUZZ_COUNT=1") {
      const auto bytes = mutator(from, seed).run();
      const test::temporary_file disk(bytes);
      const test::allocation_peak opening;
      const auto file = gguf::open(disk.path());
      BOOST_TEST(opening.bytes() <= 2 * bytes.size() + constant);
      if (!file) {
        ++refused;
        check_refusal(file.error());
        continue;
      }
      sum += use_all(**file);
    }
  }
  BOOST_TEST_MESSAGE(refused << " of " << count << " refused; the others' content sums to " << sum);
  if (count >= 100) {
    BOOST_TEST(refused > count / 4); // The mutations hit what matters,
    BOOST_TEST(refused < count);     // and leave some whole enough to be used.
  }
}

BOOST_AUTO_TEST_SUITE_END()
