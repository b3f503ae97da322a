// What a worker wants of its device's memory, what it gets, and what others do meanwhile: on the shim.
#include <boost/test/unit_test.hpp>

#include <atomic>

#include <fmt/format.h>

#include "gpu/backend/gpu_backend.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"
#include "tests/cpu/support.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

constexpr std::uint64_t one_mib = 1 << 20;

struct some_model {
  std::shared_ptr<const gguf::file> file;
  model_program program;
};

some_model small_model() {
  auto file = gguf::parse(tiny_model({.seed = 3,
                                      .layers = 2,
                                      .width = 128,
                                      .heads = 6,
                                      .kv_heads = 2,
                                      .head_size = 64,
                                      .feed_forward = 256,
                                      .context = 1024,
                                      .type = gguf::tensor_type::q8_0}));
  BOOST_REQUIRE(file);
  auto program = make_program(**file);
  BOOST_REQUIRE(program);
  return {*file, *program};
}

backend_options some_options() {
  backend_options options;
  options.kv_blocks = 64;
  options.max_rows = 64;
  options.max_logit_rows = 16;
  return options;
}

/// Bytes of the device that a backend with `some_options` has.
std::uint64_t exact(const gpu_memory_needs& needs, std::uint32_t kv_blocks) {
  return needs.weights + needs.buffers + needs.cache(kv_blocks);
}

struct on_shim {
  gpu::shim::shim_runtime* device = nullptr;
  expected<std::unique_ptr<backend>> made;
};

on_shim make(const some_model& of, const backend_options& options, const gpu::shim::shim_options& shim,
             std::chrono::milliseconds patience = std::chrono::milliseconds(0)) {
  auto device = std::make_unique<gpu::shim::shim_runtime>(gpu::shim_kernels(), shim);
  auto* kept = device.get();
  return {kept, gpu::load_backend(std::move(device), "cuda-shim", of.file, of.program, options, patience)};
}

bool says(const error& problem, const std::string& words) {
  BOOST_TEST_MESSAGE(problem.message);
  return problem.message.find(words) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(memory_of_a_device)

BOOST_AUTO_TEST_CASE(what_is_counted_is_what_a_backend_allocates) {
  const auto model = small_model();
  for (const bool invariant : {false, true})
    for (const std::uint32_t kv_blocks : {3u, 64u, 500u}) {
      auto options = some_options();
      options.batch_invariant = invariant;
      options.kv_blocks = kv_blocks;
      const auto needs = gpu::count_needs(model.file, model.program, options);
      BOOST_REQUIRE(needs);
      const auto its = make(model, options, {.memory_bytes = 512 * one_mib});
      BOOST_REQUIRE(its.made);
      const auto account = (*its.made)->memory();
      BOOST_TEST(needs->weights == account.weight_bytes);
      BOOST_TEST(needs->buffers == account.workspace_bytes);
      BOOST_TEST(needs->cache(kv_blocks) == account.kv_bytes);
      BOOST_TEST(its.device->memory()->free_bytes == 512 * one_mib - exact(*needs, kv_blocks));
    }
}

BOOST_AUTO_TEST_CASE(a_cache_of_what_is_left_leaves_room_for_graphs_and_libraries) {
  const auto model = small_model();
  auto options = some_options();
  const auto needs = gpu_needs_of(model.file, model.program, options);
  BOOST_REQUIRE(needs);
  constexpr std::uint64_t total = 1024 * one_mib;
  const gpu_device device{"a device", total, total};
  const auto blocks = kv_blocks_in(device, 0.75, *needs);
  BOOST_REQUIRE(blocks);
  options.kv_blocks = *blocks;
  BOOST_TEST(*blocks > 1000u);
  const auto its = make(model, options, {.memory_bytes = total});
  BOOST_REQUIRE(its.made);
  const auto left = its.device->memory()->free_bytes;
  BOOST_TEST(left >= total / 4 + gpu::graph_room_bytes + gpu::library_room_bytes);
  BOOST_TEST(left < total / 4 + gpu::graph_room_bytes + gpu::library_room_bytes + needs->rounding + needs->block);
  const auto account = account_of(device, 0.75, *needs, *blocks);
  BOOST_TEST_MESSAGE(account);
  BOOST_TEST(account.find("1024 MiB, of which a worker may have 768") != std::string::npos);
  BOOST_TEST(account.find(fmt::format("({} tokens)", *blocks * 16)) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_share_that_is_not_free_is_refused_and_may_be_asked_for_again) {
  const auto model = small_model();
  const auto needs = gpu_needs_of(model.file, model.program, some_options());
  BOOST_REQUIRE(needs);
  const auto none = kv_blocks_in({"a device", 7000 * one_mib, 8000 * one_mib}, 0.9, *needs);
  BOOST_REQUIRE(!none);
  BOOST_TEST((none.error().code == errc::out_of_memory));
  BOOST_TEST(none.error().retry_after_ms > 0u);
  BOOST_TEST(says(none.error(), "may have 7200 MiB of a device's 8000"));
  BOOST_TEST(says(none.error(), "only 7000 are free"));
  BOOST_TEST(kv_blocks_in({"a device", 7200 * one_mib, 8000 * one_mib}, 0.9, *needs).has_value());
}

BOOST_AUTO_TEST_CASE(a_device_too_small_for_any_cache_is_refused_for_good) {
  const auto model = small_model();
  const auto needs = gpu_needs_of(model.file, model.program, some_options());
  BOOST_REQUIRE(needs);
  const auto without = needs->without_blocks();
  const auto none = kv_blocks_in({"a device", without, without}, 1, *needs);
  BOOST_REQUIRE(!none);
  BOOST_TEST((none.error().code == errc::out_of_memory));
  BOOST_TEST(none.error().retry_after_ms == 0u);
  BOOST_TEST(says(none.error(), "Nothing is left for the KV cache"));
  BOOST_TEST(*kv_blocks_in({"a device", without + needs->block, without + needs->block}, 1, *needs) == 1u);
}

BOOST_AUTO_TEST_CASE(memory_that_another_process_takes_while_a_worker_loads_is_said) {
  const auto model = small_model();
  const auto options = some_options();
  const auto needs = gpu::count_needs(model.file, model.program, options);
  BOOST_REQUIRE(needs);
  // Later and later: while weights, buffers or the cache are allocated.
  int refused = 0;
  for (int asked_before = 2; asked_before < 60; asked_before += 6) {
    int asked = 0;
    const auto others = [&]() -> std::size_t { return ++asked < asked_before ? 0 : 400 * one_mib; };
    const auto its = make(model, options, {.memory_bytes = 400 * one_mib, .taken_by_others = others});
    if (its.made)
      continue;
    ++refused;
    BOOST_TEST((its.made.error().code == errc::out_of_memory));
    BOOST_TEST(says(its.made.error(), "Another process has taken"));
  }
  BOOST_TEST(refused > 3);
}

BOOST_AUTO_TEST_CASE(memory_that_another_process_has_all_the_time_is_waited_for_and_then_said) {
  const auto model = small_model();
  const auto others = [] { return std::size_t{300 * one_mib}; };
  const auto its = make(model, some_options(), {.memory_bytes = 400 * one_mib, .taken_by_others = others},
                        std::chrono::milliseconds(150));
  BOOST_REQUIRE(!its.made);
  BOOST_TEST((its.made.error().code == errc::out_of_memory));
  BOOST_TEST(says(its.made.error(), "of the device's 400 MiB only 100 are free"));
  BOOST_TEST(says(its.made.error(), "another process has the others"));
}

BOOST_AUTO_TEST_CASE(a_successor_waits_until_the_memory_of_the_dead_is_free) {
  const auto model = small_model();
  std::atomic<int> asked{0};
  const auto others = [&]() -> std::size_t { return ++asked < 4 ? 390 * one_mib : 0; };
  const auto its =
    make(model, some_options(), {.memory_bytes = 400 * one_mib, .taken_by_others = others}, std::chrono::seconds(30));
  BOOST_REQUIRE_MESSAGE(its.made, its.made.error().message);
}

BOOST_AUTO_TEST_CASE(with_room_for_two_graphs_all_shapes_are_computed_right) {
  const auto model = small_model();
  const auto options = some_options();
  const auto needs = gpu::count_needs(model.file, model.program, options);
  BOOST_REQUIRE(needs);
  const auto tight_bytes = exact(*needs, options.kv_blocks) + 2 * one_mib + one_mib / 2;
  auto tight = make(model, options, {.memory_bytes = tight_bytes});
  auto eager_options = options;
  eager_options.graphs = false;
  auto plain = make(model, eager_options, {.memory_bytes = 400 * one_mib});
  BOOST_REQUIRE(tight.made);
  BOOST_REQUIRE(plain.made);
  loaded with_graphs{model.program, std::move(*tight.made)}, eager{model.program, std::move(*plain.made)};
  for (const auto count : {1u, 2u, 4u, 1u}) {
    auto sequences = random_sequences(model.program, std::vector<std::uint32_t>(count, 4), count);
    auto same = sequences;
    for (int i = 0; i < 3; ++i) {
      std::vector<piece> pieces, others;
      for (std::uint32_t k = 0; k < count; ++k) {
        pieces.push_back({&sequences[k], 1});
        others.push_back({&same[k], 1});
      }
      BOOST_TEST((forward(with_graphs, pieces) == forward(eager, others)));
    }
    BOOST_TEST(tight.device->memory()->free_bytes < 3 * one_mib);
  }
  // Steps still are launches of graphs.
  auto sequences = random_sequences(model.program, std::vector<std::uint32_t>{9}, 5);
  std::uint64_t launches = 0;
  for (int i = 0; i < 4; ++i) {
    const auto before = tight.device->calls().launches;
    forward(with_graphs, std::vector<piece>{{&sequences[0], 1}});
    launches = tight.device->calls().launches - before;
  }
  BOOST_TEST(launches == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
