// What nvcc makes of the same source, and what is said where there is no GPU.
#include "gpu/cuda/runtime.hpp"
#include "gpu/kernels/tables.hpp"
#include "tests/gpu/planted_list.hpp"
#include "tests/gpu/shim_fixture.hpp"

#include <string_view>

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

void expect_same(const kernel_table& device, const kernel_table& shim) {
  BOOST_REQUIRE(device.size() == shim.size());
  for (std::size_t i = 0; i < shim.size(); ++i) {
    BOOST_TEST(std::string_view(device[i].name) == shim[i].name);
    BOOST_TEST(device[i].argument_bytes == shim[i].argument_bytes);
    BOOST_TEST(device[i].argument_alignment == shim[i].argument_alignment);
    BOOST_TEST(device[i].max_threads == shim[i].max_threads);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(device_build_suite)

BOOST_AUTO_TEST_CASE(both_compilers_have_the_same_kernels_with_the_same_arguments) {
  expect_same(device_kernels(), shim_kernels());
  expect_same(planted_device_kernels(), shim::table_of(right_kernels{}));
}

BOOST_AUTO_TEST_CASE(a_device_that_is_not_there_is_an_error_with_a_sentence) {
  const auto opened = cuda::open(cuda::device_count(), planted_device_kernels());
  BOOST_REQUIRE(!opened);
  BOOST_TEST((opened.error().code == errc::unavailable));
  BOOST_TEST(opened.error().message.starts_with("There is no CUDA device"), opened.error().message);
}

BOOST_AUTO_TEST_SUITE_END()
