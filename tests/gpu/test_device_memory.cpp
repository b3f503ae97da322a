// What the shim says of memory: errors of the host's, and the bytes that kernels move.
#include "gpu/portable/portable.hpp"
#include "tests/gpu/shim_fixture.hpp"

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;
using shim::violation_kind;

namespace {

/// y = x, `stride` numbers apart, by each block the same.
struct strided_copy {
  static constexpr const char* name = "strided_copy";
  static constexpr unsigned max_threads = 32;
  struct arguments {
    global<const float> x;
    global<float> y;
    std::uint32_t stride;
  };
  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto buffer = memory.array<float>(32 * 32);
    buffer.store(lane() * a.stride, a.x.load(lane() * a.stride));
    a.y.store(block_index().x * 32 + lane(), buffer.load(lane() * a.stride));
  }
};

/// sums[block] = the sum of the block's 64 numbers, in one of three ways.
enum class way { once, twice, with_others };
template <way Way>
struct sum_once {
  static constexpr const char* name = "sum_once";
  static constexpr unsigned max_threads = 32;
  struct arguments {
    global<const float> x;
    global<float> sums;
  };
  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto own = block_index().x * 64;
    float sum = a.x.load(own + lane()) + a.x.load(own + 32 + lane());
    if (Way == way::twice) // The mean first, then the numbers again.
      sum += 0 * (a.x.load(own + lane()) + a.x.load(own + 32 + lane()));
    if (Way == way::with_others)
      sum += 0 * (a.x.load((own + 64) % 256 + lane()) + a.x.load((own + 96) % 256 + lane()));
    for (unsigned mask = 16; mask > 0; mask /= 2)
      sum += shuffle_xor(sum, mask);
    if (lane() == 0)
      a.sums.store(block_index().x, sum);
  }
};

template <way Way>
double reads_over_the_necessary() {
  shim_fixture<sum_once<Way>> f(1);
  const auto x = f.upload_counted(std::vector<float>(4 * 64, 1.0f));
  const auto sums = f.template space<float>(4);
  f.template launch<sum_once<Way>>({x, sums}, {4}, 32);
  BOOST_TEST(f.download(sums, 4) == std::vector<float>(4, 64.0f));
  BOOST_TEST(f.device.last_launch().moved.read == 32u); // Once a launch, all three are alike.
  return f.read_over(x, 4 * 64 * 4);
}

struct copier : shim_fixture<strided_copy> {
  using shim_fixture::shim_fixture;
  void copy(address from, address to, std::uint32_t stride, unsigned blocks = 1) {
    launch<strided_copy>({{from}, {to}, stride}, {blocks}, 32, 32 * 32 * 4);
    static_cast<void>(device.synchronize(stream));
  }
  violation_kind found() {
    BOOST_REQUIRE(device.lost_by());
    return device.lost_by()->kind();
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(shim_memory_suite)

BOOST_AUTO_TEST_CASE(memory_that_was_freed_or_never_written_is_found) {
  {
    copier c(1);
    const auto x = c.upload(std::vector<float>(32));
    const auto y = c.space<float>(32);
    must(c.device.free(x.at));
    c.copy(x.at, y.at, 1);
    BOOST_TEST((c.found() == violation_kind::use_after_free));
  }
  copier c(1);
  c.copy(c.space<float>(32).at, c.space<float>(32).at, 1);
  BOOST_TEST((c.found() == violation_kind::uninitialised_read));
}

BOOST_AUTO_TEST_CASE(the_host_s_memory_is_the_device_s_only_where_it_is_pinned) {
  std::vector<float> ordinary(32, 4.0f);
  copier c(1);
  const auto pinned = must(c.device.allocate_pinned(128));
  std::copy(ordinary.begin(), ordinary.end(), reinterpret_cast<float*>(pinned));
  const auto y = c.space<float>(32);
  c.copy(pinned, y.at, 1);
  BOOST_TEST(c.download(y, 32) == ordinary, boost::test_tools::per_element());
  c.copy(reinterpret_cast<address>(ordinary.data()), y.at, 1);
  BOOST_TEST((c.found() == violation_kind::host_memory));
  copier other(1);
  BOOST_TEST(
    !other.device.copy(other.stream, other.space<float>(32).at, reinterpret_cast<address>(ordinary.data()), 128));
  BOOST_TEST((other.found() == violation_kind::host_memory));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_out_of_memory_and_frees_come_back) {
  copier c(1, 1000);
  const auto first = must(c.device.allocate(600));
  BOOST_TEST((c.device.allocate(401).error().code == errc::out_of_memory));
  BOOST_TEST(must(c.device.memory()).free_bytes == 400u);
  must(c.device.free(first));
  BOOST_TEST((c.device.free(first).error().code == errc::invalid_argument));
  must(c.device.allocate(1000));
  BOOST_TEST(must(c.device.memory()).free_bytes == 0u);
}

BOOST_AUTO_TEST_CASE(a_launch_that_no_device_would_take_is_found) {
  const grid_shape bad[] = {
    {{1}, 33, 0}, {{1}, 64, 0}, {{0}, 32, 0}, {{1}, 32, most_shared_bytes + 1}, {{1, 65536}, 32, 0}};
  for (const auto& shape : bad) {
    copier c(1);
    const strided_copy::arguments arguments{};
    BOOST_TEST(!c.device.launch(c.stream, 0, shape, &arguments));
    BOOST_TEST((c.found() == violation_kind::bad_launch));
  }
}

BOOST_AUTO_TEST_CASE(sectors_and_conflicts_of_banks_are_counted) {
  struct expectation {
    std::uint32_t stride;
    std::uint64_t sectors_read, conflicts;
  };
  // Of 32 numbers 1 apart: 4 sectors; 2 apart: 8, two words a bank; 32 apart: a sector each, all in one bank.
  for (const auto& [stride, sectors, conflicts] : {expectation{1, 4, 0}, {2, 8, 2}, {32, 32, 62}}) {
    copier c(1);
    const auto x = c.upload(std::vector<float>(32 * 32));
    const auto y = c.space<float>(32);
    c.copy(x.at, y.at, stride);
    const auto& report = c.device.last_launch();
    BOOST_TEST(report.moved.read == sectors);
    BOOST_TEST(report.moved.written == 4u);
    BOOST_TEST(report.bank_conflicts == conflicts);
  }
  copier c(1);
  const auto x = c.upload(std::vector<float>(64));
  c.copy(x.at, c.space<float>(64).at, 1, 2); // Both blocks read the same numbers.
  BOOST_TEST(c.device.last_launch().moved.read == 4u);
  BOOST_TEST(c.device.last_launch().moved.read_by_block == 8u);
}

BOOST_AUTO_TEST_CASE(what_a_block_reads_twice_or_what_others_read_too_is_over_the_necessary) {
  BOOST_TEST(reads_over_the_necessary<way::once>() == 1.0);
  BOOST_TEST(reads_over_the_necessary<way::twice>() == 2.0);
  BOOST_TEST(reads_over_the_necessary<way::with_others>() == 2.0);
}

BOOST_AUTO_TEST_SUITE_END()
