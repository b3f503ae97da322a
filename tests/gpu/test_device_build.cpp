// What nvcc makes of the same source, and what is said where there is no GPU.
#include "gpu/cuda/nccl.hpp"
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

/// NCCL makes an id without a device, and may not be there.
BOOST_AUTO_TEST_CASE(an_id_of_nccl_is_made_or_it_is_said_why_not) {
  const auto id = cuda::make_nccl_id();
  if (!id) {
    BOOST_TEST((id.error().code == errc::unavailable));
    BOOST_TEST(id.error().message.find("NCCL") != std::string::npos);
    BOOST_TEST_MESSAGE("skipped: " << id.error().message);
    return;
  }
  BOOST_TEST((*id != group_id{}));
  BOOST_TEST((*id != *cuda::make_nccl_id()));
  BOOST_TEST((cuda::join_nccl_group(*id, 2, 2, nullptr).error().code == errc::invalid_argument));
  if (cuda::device_count() > 0)
    return;
  const auto joined = cuda::join_nccl_group(*id, 1, 2, nullptr);
  BOOST_REQUIRE(!joined);
  BOOST_TEST((joined.error().code == errc::unavailable));
  BOOST_TEST(joined.error().message.starts_with("NCCL, joining a group as rank 1 of 2: "), joined.error().message);
  BOOST_TEST_MESSAGE(joined.error().message);
}

BOOST_AUTO_TEST_SUITE_END()
