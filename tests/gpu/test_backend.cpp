// The whole backend on the shim, or on a device (kernel_device.hpp), beside the reference backend: the same program, the same file, the
// same batches.
#include <boost/test/unit_test.hpp>

#include <cmath>

#include "gpu/backend/gpu_backend.hpp"
#include "gpu/backends.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"
#include "tests/cpu/support.hpp"
#include "tests/gpu/kernel_device.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;
using troupe::gpu::test::on_cuda;
using troupe::gpu::test::only_on_the_shim;

namespace {

backend_options sizes() {
  backend_options options;
  options.kv_blocks = 64;
  options.max_rows = 192;
  options.max_logit_rows = 16;
  options.threads = 1;
  return options;
}

expected<std::unique_ptr<backend>> make_on_device(std::shared_ptr<const gguf::file> file,
                                                  const model_program& program, const backend_options& options) {
#ifdef TROUPE_CUDA
  if (on_cuda())
    return make_cuda_backend(std::move(file), program, options);
#endif
  static std::uint32_t seed = 0;
  return make_shim_backend(std::move(file), program, options,
                           {.seed = ++seed, .memory_bytes = std::size_t{1} << 28, .finds_global_races = true});
}

std::shared_ptr<const gguf::file> file_of(const tiny_model_options& options) {
  auto file = gguf::parse(tiny_model(options));
  BOOST_REQUIRE(file);
  return *file;
}

tiny_model_options model_of(gguf::tensor_type type, std::uint32_t heads = 6, std::uint32_t kv_heads = 2,
                            std::uint32_t head_size = 64) {
  return {.seed = 3,
          .layers = 2,
          .width = 128,
          .heads = heads,
          .kv_heads = kv_heads,
          .head_size = head_size,
          .feed_forward = 256,
          .context = 1024,
          .type = type};
}

/// How far logits are from the reference's: root mean square of the difference over that of the logits.
double distance(const std::vector<float>& got, const std::vector<float>& wanted) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    difference += std::pow(double{got[i]} - wanted[i], 2);
    size += std::pow(double{wanted[i]}, 2);
  }
  return std::sqrt(difference / size);
}

/// What brain floats cost a model of two layers; a wrong lane, block or position costs all.
constexpr double tolerance = 0.02;

void compare(loaded& shim, loaded& reference, std::vector<sequence>& sequences,
             std::vector<std::vector<std::pair<std::size_t, std::uint32_t>>> steps) {
  auto copies = sequences;
  for (const auto& step : steps) {
    std::vector<piece> pieces, same;
    for (const auto& [which, rows] : step) {
      pieces.push_back({&sequences[which], rows, std::min(rows, 2u)});
      same.push_back({&copies[which], rows, std::min(rows, 2u)});
    }
    const auto got = forward(shim, pieces), wanted = forward(reference, same);
    BOOST_REQUIRE(got.size() == wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto far = distance(got[i], wanted[i]);
      BOOST_TEST_MESSAGE("relative distance " << far);
      BOOST_TEST(far < tolerance);
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(shim_backend)

BOOST_AUTO_TEST_CASE(logits_are_the_references_for_each_type_of_weight) {
  using gguf::tensor_type;
  for (const auto type : {tensor_type::f32, tensor_type::f16, tensor_type::q8_0, tensor_type::q4_1}) {
    const auto file = file_of(model_of(type));
    auto shim = load(file, make_on_device, sizes()), reference = load(file, make_reference_backend, sizes());
    auto sequences = random_sequences(shim.program, std::vector<std::uint32_t>{90, 7}, 5);
    compare(shim, reference, sequences, {{{0, 80}, {1, 5}}, {{0, 1}, {1, 1}}, {{1, 1}, {0, 9}}});
  }
}

BOOST_AUTO_TEST_CASE(rows_of_all_kinds_share_a_step) {
  const auto file = file_of(model_of(gguf::tensor_type::q8_0));
  auto shim = load(file, make_on_device, sizes()), reference = load(file, make_reference_backend, sizes());
  auto sequences = random_sequences(shim.program, std::vector<std::uint32_t>{300, 40, 70, 12}, 6);
  compare(shim, reference, sequences,
          {{{0, 130}, {1, 30}},
           {{0, 139}},
           {{1, 1}, {0, 2}, {2, 64}, {3, 1}},
           {{0, 1}, {1, 1}, {2, 1}, {3, 10}},
           {{3, 1}, {0, 1}}});
}

BOOST_AUTO_TEST_CASE(every_shape_of_heads_gives_the_references_logits) {
  struct shape {
    std::uint32_t heads, kv_heads, head_size;
  };
  for (const auto& [heads, kv_heads, head_size] : {shape{4, 1, 64}, {5, 5, 64}, {14, 2, 64}, {4, 2, 128}}) {
    const auto file = file_of(model_of(gguf::tensor_type::f32, heads, kv_heads, head_size));
    auto shim = load(file, make_on_device, sizes()), reference = load(file, make_reference_backend, sizes());
    auto sequences = random_sequences(shim.program, std::vector<std::uint32_t>{70, 20}, 7);
    compare(shim, reference, sequences, {{{0, 66}, {1, 17}}, {{0, 1}, {1, 1}}});
  }
}

BOOST_AUTO_TEST_CASE(with_batch_invariance_company_and_chunks_change_no_bit) {
  const auto file = file_of(model_of(gguf::tensor_type::q4_1));
  auto options = sizes();
  options.batch_invariant = true;
  auto shim = load(file, make_on_device, options), reference = load(file, make_reference_backend, sizes());
  auto sequences = random_sequences(shim.program, std::vector<std::uint32_t>{70, 30, 12}, 9);
  const auto from_the_start = [&] {
    for (auto& each : sequences)
      each.done = 0;
  };
  std::vector<float> alone;
  for (const auto& chunks : {std::vector<std::uint32_t>{69, 1}, {70}, {1, 40, 29}}) {
    from_the_start();
    std::vector<std::vector<float>> last;
    for (const auto rows : chunks)
      last = forward(shim, std::vector<piece>{{&sequences[0], rows}});
    if (alone.empty())
      alone = last.back();
    BOOST_TEST((last.back() == alone));
  }
  from_the_start();
  forward(shim, std::vector<piece>{{&sequences[1], 20}, {&sequences[0], 50}, {&sequences[2], 1}});
  BOOST_TEST(
    (forward(shim, std::vector<piece>{{&sequences[2], 1}, {&sequences[0], 20}, {&sequences[1], 10}})[1] == alone));
  from_the_start();
  BOOST_TEST(distance(alone, forward(reference, std::vector<piece>{{&sequences[0], 70}}).back()) < tolerance);
}

BOOST_AUTO_TEST_CASE(graphs_give_what_single_launches_give) {
  const auto file = file_of(model_of(gguf::tensor_type::q8_0));
  auto options = sizes();
  options.graphs = false;
  auto eager = load(file, make_on_device, options);
  options.graphs = true;
  auto graphs = load(file, make_on_device, options);
  for (const auto count :
       {1u, 3u, 8u, 11u}) { // Over 64 rows go through the vendor's product, where those that are added count.
    auto sequences = random_sequences(eager.program, std::vector<std::uint32_t>(count, 20), count);
    auto same = sequences;
    const auto step = [&](loaded& on, std::vector<sequence>& of, std::uint32_t rows) {
      std::vector<piece> pieces;
      for (auto& each : of)
        pieces.push_back({&each, rows});
      return forward(on, pieces);
    };
    BOOST_TEST((step(graphs, same, 14) == step(eager, sequences, 14)));
    for (int i = 0; i < 5; ++i) // The first as single launches, the second makes the graph.
      BOOST_TEST((step(graphs, same, 1) == step(eager, sequences, 1)));
  }
}

BOOST_AUTO_TEST_CASE(rows_are_added_to_a_step_only_while_there_is_room) {
  const auto file = file_of(model_of(gguf::tensor_type::q8_0));
  auto options = sizes();
  options.max_rows = 5; // Of which 8 would be the rung.
  auto shim = load(file, make_on_device, options), reference = load(file, make_reference_backend, sizes());
  auto sequences = random_sequences(shim.program, std::vector<std::uint32_t>(5, 4), 2);
  const std::vector<std::pair<std::size_t, std::uint32_t>> all{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}};
  compare(shim, reference, sequences, {all, all, all});
}

/// A backend on a device of the shim that the test keeps an eye on.
struct watched {
  gpu::shim::shim_runtime* device;
  loaded on;
};

watched on_device(const gpu::shim::shim_options& device_options) {
  const auto file = file_of(model_of(gguf::tensor_type::q8_0));
  auto program = make_program(*file);
  BOOST_REQUIRE(program);
  auto device = std::make_unique<gpu::shim::shim_runtime>(gpu::shim_kernels(), device_options);
  auto* watched_device = device.get();
  auto made = gpu::load_backend(std::move(device), "cuda-shim", file, *program, sizes());
  BOOST_REQUIRE_MESSAGE(made, made.error().message);
  return {watched_device, {*program, std::move(*made)}};
}

BOOST_AUTO_TEST_CASE(a_steady_step_is_one_launch_and_two_copies, *only_on_the_shim()) {
  auto own = on_device({.memory_bytes = 1 << 28});
  auto sequences = random_sequences(own.on.program, std::vector<std::uint32_t>{30, 30, 30}, 4);
  const auto step = [&] {
    forward(own.on, std::vector<piece>{{&sequences[0], 1}, {&sequences[1], 1}, {&sequences[2], 1}});
  };
  step();
  step();
  for (int i = 0; i < 4; ++i) {
    const auto before = own.device->calls();
    step();
    const auto after = own.device->calls();
    BOOST_TEST(after.launches - before.launches == 1u);
    BOOST_TEST(after.copies - before.copies == 2u);
    BOOST_TEST(after.synchronisations - before.synchronisations == 1u);
  }
}

BOOST_AUTO_TEST_CASE(without_room_for_graphs_steps_go_on_as_single_launches, *only_on_the_shim()) {
  auto plain = on_device({.memory_bytes = 1 << 28}),
       tight = on_device({.memory_bytes = 1 << 28, .no_room_for_graphs = true});
  auto sequences = random_sequences(plain.on.program, std::vector<std::uint32_t>{12}, 3);
  auto same = sequences;
  for (int i = 0; i < 6; ++i)
    BOOST_TEST((forward(tight.on, std::vector<piece>{{&same[0], 1}}) ==
                forward(plain.on, std::vector<piece>{{&sequences[0], 1}})));
  const auto launches = [](watched& of, auto& which) {
    const auto before = of.device->calls().launches;
    forward(of.on, std::vector<piece>{{&which[0], 1}});
    return of.device->calls().launches - before;
  };
  BOOST_TEST(launches(plain, sequences) == 1u);
  BOOST_TEST(launches(tight, same) > 10u);
}

BOOST_AUTO_TEST_CASE(a_block_of_a_device_that_is_lost_is_an_error_and_not_the_one_before, *only_on_the_shim()) {
  auto own = on_device({.memory_bytes = 1 << 28});
  auto sequences = random_sequences(own.on.program, std::vector<std::uint32_t>{34}, 8);
  forward(own.on, std::vector<piece>{{&sequences[0], 33}});
  auto& backend = *own.on.backend;
  std::vector<std::byte> contents(backend.block_bytes(0));
  BOOST_REQUIRE(backend.read_block(0, sequences[0].blocks[0], contents));
  const auto stream = own.device->make_stream();
  BOOST_REQUIRE(stream);
  (void)own.device->fill(*stream, 64, 0, 1); // Of no allocation.
  (void)own.device->synchronize(*stream);
  const auto before = contents;
  BOOST_TEST(!backend.read_block(0, sequences[0].blocks[1], contents));
  BOOST_TEST((contents == before));
  BOOST_TEST(!backend.write_block(0, sequences[0].blocks[1], contents));
  BOOST_TEST(!backend.copy_block(0, sequences[0].blocks[0], sequences[0].blocks[1]));
}

BOOST_AUTO_TEST_CASE(blocks_come_back_as_they_were) {
  const auto file = file_of(model_of(gguf::tensor_type::f32));
  auto shim = load(file, make_on_device, sizes());
  auto sequences = random_sequences(shim.program, std::vector<std::uint32_t>{34}, 8);
  auto& own = sequences.front();
  forward(shim, std::vector<piece>{{&own, 32}});
  auto copied = own, moved = own;
  const auto wanted = forward(shim, std::vector<piece>{{&own, 1}});
  auto& device = *shim.backend;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto from = copied.blocks[i];
    copied.blocks[i] = static_cast<block_id>(40 + i);
    BOOST_REQUIRE(device.copy_block(0, from, copied.blocks[i]));
    std::vector<std::byte> contents(device.block_bytes(0));
    BOOST_REQUIRE(device.read_block(0, from, contents));
    moved.blocks[i] = static_cast<block_id>(50 + i);
    BOOST_REQUIRE(device.write_block(0, moved.blocks[i], contents));
  }
  copied.blocks[2] = 42;
  moved.blocks[2] = 52;
  BOOST_TEST((forward(shim, std::vector<piece>{{&copied, 1}}) == wanted));
  BOOST_TEST((forward(shim, std::vector<piece>{{&moved, 1}}) == wanted));
}

BOOST_AUTO_TEST_CASE(what_there_are_no_kernels_for_is_refused_by_name) {
  const auto refused = [](const tiny_model_options& model, auto change) {
    const auto file = file_of(model);
    auto program = make_program(*file);
    BOOST_REQUIRE(program);
    auto options = sizes();
    change(options);
    const auto made = make_on_device(file, *program, options);
    BOOST_REQUIRE(!made);
    BOOST_TEST((made.error().code == errc::unsupported));
    return made.error().message;
  };
  const auto none = [](auto&) {};
  BOOST_TEST(refused(model_of(gguf::tensor_type::f32, 4, 2, 16), none).find("heads of 64 and 128, and not of 16") !=
             std::string::npos);
  const auto int8 = [](backend_options& options) { options.kv_dtype = kv_cache_dtype::int8; };
  BOOST_TEST(refused(model_of(gguf::tensor_type::f32), int8).find("int8") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_device_without_enough_memory_says_what_wanted_how_much, *only_on_the_shim()) {
  const auto file = file_of(model_of(gguf::tensor_type::f32));
  auto program = make_program(*file);
  const auto made = make_shim_backend(file, *program, sizes(), {.memory_bytes = std::size_t{70} << 20});
  BOOST_REQUIRE(!made);
  BOOST_TEST((made.error().code == errc::out_of_memory));
  BOOST_TEST_MESSAGE(made.error().message);
  BOOST_TEST(made.error().message.find("of a device that has 70 MiB in all") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
