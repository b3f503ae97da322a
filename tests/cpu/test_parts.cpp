// The parts of the threaded backend that decide or prepare: unpacking, packing, planning, threads, sines.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <sched.h>

#include <boost/test/unit_test.hpp>

#include "cpu/packed_matrix.hpp"
#include "cpu/plan.hpp"
#include "cpu/sine.hpp"
#include "cpu/thread_pool.hpp"
#include "cpu/work_shares.hpp"
#include "model/gguf/half.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::cpu;

BOOST_AUTO_TEST_SUITE(parts)

namespace {

constexpr gguf::tensor_type quantised_types[] = {
  gguf::tensor_type::q4_0, gguf::tensor_type::q4_1, gguf::tensor_type::q5_0, gguf::tensor_type::q5_1,
  gguf::tensor_type::q8_0, gguf::tensor_type::q4_k, gguf::tensor_type::q5_k, gguf::tensor_type::q6_k};

/// Where a stored block has halves that scale it.
std::vector<std::size_t> halves_of(gguf::tensor_type type) {
  using enum gguf::tensor_type;
  switch (type) {
  case q4_1:
  case q5_1:
  case q4_k:
  case q5_k:
    return {0, 2};
  case q6_k:
    return {208};
  default:
    return {0};
  }
}

/// Random blocks, whose scales are ordinary numbers.
std::vector<std::byte> random_blocks(gguf::tensor_type type, std::size_t elements, std::mt19937_64& random) {
  const auto format = gguf::format_of(type);
  std::vector<std::byte> out(elements / format.elements * format.bytes);
  for (auto& byte : out)
    byte = static_cast<std::byte>(random());
  for (std::size_t at = 0; at < out.size(); at += format.bytes)
    for (auto offset : halves_of(type)) {
      const auto half = static_cast<std::uint16_t>(0x2000 + random() % 0x1000 + (random() % 2 << 15));
      std::memcpy(out.data() + at + offset, &half, 2);
    }
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(unpacked_blocks_are_the_weights_that_dequantising_gives) {
  std::mt19937_64 random(1);
  for (auto type : quantised_types) {
    const auto stored = random_blocks(type, 2048, random);
    std::vector<float> wanted(2048);
    gguf::dequantise(type, stored, wanted);
    for (std::uint32_t b = 0; b < 64; ++b) {
      const auto block = unpack(type, stored.data(), b);
      for (unsigned i = 0; i < 32; ++i) {
        const float product = block.scale[i / 16] * block.quants[i];
        BOOST_TEST(product + block.min == wanted[b * 32 + i], gguf::to_string(type) << " " << b << " " << i);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(packed_matrices_multiply_like_the_weights_in_the_file) {
  std::mt19937_64 random(2);
  std::vector<gguf::tensor_type> types(std::begin(quantised_types), std::end(quantised_types));
  types.insert(types.end(), {gguf::tensor_type::f16, gguf::tensor_type::bf16, gguf::tensor_type::f32});
  constexpr std::uint32_t rows = 37, columns = 512; // The last panel has five outputs.
  const auto& kernels = kernels_for(best_instruction_set());
  for (auto type : types) {
    std::vector<std::byte> stored;
    if (gguf::format_of(type).elements > 1) {
      stored = random_blocks(type, rows * columns, random);
    } else {
      stored.resize(std::size_t{rows} * columns * gguf::format_of(type).bytes);
      for (std::size_t i = 0; i < rows * columns; ++i) {
        const std::uint32_t bits = 0x3c003c00u + static_cast<std::uint32_t>(random() % 0x400) * 0x10001u;
        std::memcpy(stored.data() + i * gguf::format_of(type).bytes, &bits, gguf::format_of(type).bytes);
      }
    }
    const gguf::tensor tensor{.name = "test", .type = type, .shape = {columns, rows}, .data = stored};
    auto matrix = packed_matrix::plan(tensor);
    BOOST_REQUIRE(matrix);
    const std::unique_ptr<std::uint8_t, decltype(&std::free)> memory(
      static_cast<std::uint8_t*>(std::aligned_alloc(64, (matrix->bytes() + 63) / 64 * 64)), &std::free);
    std::memset(memory.get(), 0, matrix->bytes());
    matrix->place(memory.get());
    for (std::uint32_t p = 0; p < matrix->panels(); ++p)
      matrix->pack(tensor, p);
    std::vector<float> weights(rows * columns), x(columns), out(48);
    gguf::dequantise(type, stored, weights);
    for (auto& v : x)
      v = static_cast<float>(static_cast<std::int32_t>(random() % 2001) - 1000) * 1e-3f;
    std::vector<activation_block<2>> tile(columns / block_columns);
    kernels.quantise_two_bytes(x.data(), columns, tile.data(), 0);
    for (std::uint32_t p = 0; p < matrix->panels(); ++p) {
      const product_target target{.out = out.data() + p * 16, .stride = 0, .outputs = std::min(16u, rows - p * 16)};
      if (is_quantised(matrix->kind()))
        kernels.matmul_two_bytes(matrix->view(p), tile.data(), 1, target);
      else
        kernels.matmul_float(matrix->view(p), x.data(), columns, 1, target);
    }
    for (std::uint32_t n = 0; n < rows; ++n) {
      double wanted = 0, size = 0;
      for (std::uint32_t k = 0; k < columns; ++k) {
        wanted += double{weights[n * columns + k]} * x[k];
        size += std::abs(double{weights[n * columns + k]} * x[k]);
      }
      BOOST_TEST(std::abs(out[n] - wanted) < 1e-4 * size + 1e-20, gguf::to_string(type) << " row " << n);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_quantised_matrix_whose_columns_are_no_whole_blocks_is_refused_by_name) {
  const gguf::tensor tensor{.name = "odd.weight", .type = gguf::tensor_type::q8_0, .shape = {48, 16}, .data = {}};
  const auto matrix = packed_matrix::plan(tensor);
  BOOST_REQUIRE(!matrix);
  BOOST_TEST((matrix.error().code == errc::unsupported));
  BOOST_TEST(matrix.error().message.find("odd.weight") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_layer_of_llama_is_planned_as_nine_steps_with_its_sums_inside_the_products) {
  const auto file = gguf::parse(test::tiny_model({.layers = 3}));
  BOOST_REQUIRE(file);
  const auto program = make_program(**file);
  BOOST_REQUIRE(program);
  const auto steps = plan_steps(*program, [](const std::string&) { return true; });
  // Rows (embedding, norm), then for each layer: query, key and value; turn and store; attention; its output; norm; gate and
  // up; swiglu; down; and the rows of the next layer's norm. The last layer takes the wanted rows after its attention.
  std::vector<step_kind> layer{step_kind::product, step_kind::rows,    step_kind::attention,
                               step_kind::product, step_kind::rows,    step_kind::product,
                               step_kind::rows,    step_kind::product, step_kind::rows};
  std::vector<step_kind> wanted{step_kind::rows}, got;
  for (int i = 0; i < 3; ++i)
    wanted.insert(wanted.end(), layer.begin(), layer.end());
  wanted.insert(wanted.end() - 6, {step_kind::take_rows, step_kind::rows}); // And quantises what it took.
  wanted.push_back(step_kind::product);
  for (const auto& step : steps)
    got.push_back(step.kind);
  BOOST_TEST((got == wanted));
  for (const auto& step : steps)
    for (const auto& operation : step.row_operations)
      BOOST_TEST((operation.form != activation_form::floats || operation.op.kind != op_kind::add));
}

BOOST_AUTO_TEST_CASE(every_product_finds_its_input_in_the_form_that_it_takes) {
  const auto file = gguf::parse(test::tiny_model({.layers = 2}));
  BOOST_REQUIRE(file);
  const auto program = make_program(**file);
  BOOST_REQUIRE(program);
  for (auto arithmetic : {cpu_arithmetic::int8, cpu_arithmetic::bf16}) {
    std::map<buffer, activation_form> forms;
    std::map<activation_form, unsigned> products;
    for (const auto& step : plan_steps(
           *program, [](const std::string&) { return true; }, arithmetic)) {
      for (const auto& operation : step.row_operations)
        forms[operation.form != activation_form::floats ? operation.op.input : operation.op.output] = operation.form;
      for (const auto& product : step.products) {
        BOOST_TEST((forms[product.op.input] == product.form), product.op.weight);
        ++products[product.form];
      }
      for (const auto& product : step.products)
        forms[product.op.output] = activation_form::floats;
      if (step.kind == step_kind::attention)
        forms[step.op.output] = step.form;
      if (step.kind == step_kind::take_rows)
        forms.clear();
    }
    const bool rounded = arithmetic == cpu_arithmetic::bf16;
    BOOST_TEST(products[activation_form::floats] == 0u);
    BOOST_TEST(products[activation_form::bfloats] == (rounded ? 15u : 0u));
    // One byte: of the first layer attention's output, gate, up and down. Two: queries, keys and values of both; the last
    // layer's others; logits.
    BOOST_TEST(products[activation_form::one_byte] == (rounded ? 0u : 4u));
    BOOST_TEST(products[activation_form::two_bytes] == (rounded ? 0u : 2 * 3u + 4 + 1));
  }
}

BOOST_AUTO_TEST_CASE(without_quantised_weights_nothing_is_quantised) {
  const auto file = gguf::parse(test::tiny_model());
  BOOST_REQUIRE(file);
  const auto program = make_program(**file);
  BOOST_REQUIRE(program);
  for (const auto& step : plan_steps(*program, [](const std::string&) { return false; })) {
    BOOST_TEST((step.form == activation_form::floats));
    for (const auto& operation : step.row_operations)
      BOOST_TEST((operation.form == activation_form::floats));
  }
}

BOOST_AUTO_TEST_CASE(threads_take_every_unit_of_all_shares_once) {
  for (unsigned threads : {1u, 2u, 5u}) {
    thread_pool pool(threads);
    work_shares work(threads);
    for (std::uint32_t count : {0u, 1u, 3u, 1000u}) {
      std::vector<std::atomic<int>> taken(count);
      pool.run([&](unsigned thread) {
        if (thread == threads - 1 && count > 3) // Late: the others do its share.
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        const auto size_of = [&](unsigned owner) { return share_of(count, owner, threads).size(); };
        while (const auto piece = work.take(thread, 3, size_of))
          for (std::uint32_t i = piece->first; i < piece->end; ++i)
            ++taken.at(share_of(count, piece->owner, threads).begin + i);
        pool.barrier();
        work.reset(thread);
      });
      for (const auto& times : taken)
        BOOST_TEST(times == 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_pool_with_a_thread_for_each_cpu_keeps_each_but_the_callers_on_one) {
  const auto cpus = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
  };
  const int all = cpus();
  for (unsigned threads : {static_cast<unsigned>(all), static_cast<unsigned>(all) + 1}) {
    thread_pool pool(threads);
    std::vector<int> seen(threads);
    pool.run([&](unsigned thread) { seen[thread] = cpus(); });
    BOOST_TEST(seen[0] == all);
    for (unsigned thread = 1; thread < threads; ++thread)
      BOOST_TEST(seen[thread] == (threads == static_cast<unsigned>(all) ? 1 : all));
  }
}

BOOST_AUTO_TEST_CASE(threads_see_at_a_barrier_what_the_others_wrote_before_it) {
  for (unsigned threads : {1u, 2u, 5u}) {
    thread_pool pool(threads);
    std::vector<std::uint64_t> values(threads);
    std::atomic<bool> right = true;
    for (int run = 0; run < 20; ++run) {
      std::fill(values.begin(), values.end(), 0);
      pool.run([&](unsigned index) {
        for (std::uint64_t round = 1; round <= 50; ++round) {
          values[index] += round;
          pool.barrier();
          for (auto value : values)
            if (value != round * (round + 1) / 2)
              right = false;
          pool.barrier();
        }
      });
    }
    BOOST_TEST(right);
  }
}

BOOST_AUTO_TEST_CASE(sines_and_cosines_are_those_of_the_library_within_rounding) {
  for (double x = -3; x < 1e6; x = x * 1.0003 + 0.01) {
    const auto got = sine_and_cosine(x);
    BOOST_TEST(std::abs(got.sine - std::sin(x)) < 2e-15, x);
    BOOST_TEST(std::abs(got.cosine - std::cos(x)) < 2e-15, x);
  }
}

BOOST_AUTO_TEST_SUITE_END()
