#include "gpu/kernels/launch_plan.hpp"
#include "tests/gpu/kernel_fixture.hpp"

using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

/// Caches of some layers, each with a gap behind it.
struct caches : kernel_fixture {
  static constexpr std::uint32_t layers = 3, blocks = 7;
  std::uint32_t block_bytes;
  std::size_t stride;
  std::vector<std::uint8_t> bytes;
  layered_cache there;

  explicit caches(std::uint32_t of_block)
      : kernel_fixture(of_block), block_bytes(of_block), stride(blocks * of_block + 64), bytes(layers * stride) {
    for (auto& each : bytes)
      each = static_cast<std::uint8_t>(random());
    there = {{upload(bytes).at}, stride, block_bytes};
  }

  auto block(std::uint32_t layer, std::uint32_t index) {
    return bytes.begin() + static_cast<std::ptrdiff_t>(layer * stride + index * block_bytes);
  }
  std::vector<std::uint8_t> now() { return download(there.bytes, bytes.size()); }
};

constexpr std::uint32_t sizes[] = {16, 6144, 16384, 40000};

} // namespace

BOOST_AUTO_TEST_SUITE(block_copies_suite)

BOOST_AUTO_TEST_CASE(blocks_of_all_layers_are_copied_once_and_nothing_else_changes) {
  for (const auto size : sizes) {
    caches some(size);
    const std::vector<std::uint32_t> pairs = {0, 3, 6, 1, 0, 4};
    const auto count = static_cast<std::uint32_t>(pairs.size() / 2);
    const launch_plan plan{kernel_index<copy_blocks, all_kernels>::value,
                           block_copy_grid(count, caches::layers, size)};
    some.launch(plan, copy_blocks::arguments{some.there, some.upload(pairs)});
    if (size >= 6144) // Two of the three have one source.
      BOOST_TEST(some.traffic_over(std::size_t{5} * caches::layers * size) <= 1.05);
    for (std::uint32_t layer = 0; layer < caches::layers; ++layer)
      for (std::size_t i = 0; i < pairs.size(); i += 2)
        std::copy_n(some.block(layer, pairs[i]), size, some.block(layer, pairs[i + 1]));
    BOOST_TEST((some.now() == some.bytes));
  }
}

BOOST_AUTO_TEST_CASE(blocks_go_to_a_buffer_and_from_there_to_other_blocks) {
  for (const auto size : sizes) {
    caches some(size);
    const std::vector<std::uint32_t> from = {5, 0}, to = {2, 6};
    const auto staging = some.space<std::uint8_t>(2 * caches::layers * size);
    const auto grid = block_copy_grid(2, caches::layers, size);
    some.launch(launch_plan{kernel_index<gather_blocks, all_kernels>::value, grid},
                staging_arguments{some.there, some.upload(from), staging});
    if (size >= 6144)
      BOOST_TEST(some.traffic_over(std::size_t{4} * caches::layers * size) <= 1.05);
    std::vector<std::uint8_t> wanted;
    for (const auto index : from)
      for (std::uint32_t layer = 0; layer < caches::layers; ++layer)
        wanted.insert(wanted.end(), some.block(layer, index), some.block(layer, index) + size);
    BOOST_TEST((some.download(staging, wanted.size()) == wanted));

    some.launch(launch_plan{kernel_index<scatter_blocks, all_kernels>::value, grid},
                staging_arguments{some.there, some.upload(to), staging});
    for (std::uint32_t layer = 0; layer < caches::layers; ++layer)
      for (unsigned i = 0; i < 2; ++i)
        std::copy_n(some.block(layer, from[i]), size, some.block(layer, to[i]));
    BOOST_TEST((some.now() == some.bytes));
  }
}

BOOST_AUTO_TEST_SUITE_END()
