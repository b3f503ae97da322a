// Both CPU backends on small random models: they agree, and a row's results depend on its own sequence alone.
#include <cmath>
#include <cstring>

#include <boost/test/unit_test.hpp>

#include "cpu/instruction_set.hpp"
#include "tests/cpu/support.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(backends)

namespace {

using gguf::tensor_type;
using rows_of_logits = std::vector<std::vector<float>>;

const backend_options sizes{.kv_blocks = 64, .max_rows = 256, .max_logit_rows = 256, .threads = 2};

std::shared_ptr<const gguf::file> tiny_file(const tiny_model_options& options) {
  auto file = gguf::parse(tiny_model(options));
  BOOST_REQUIRE(file);
  return *file;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

bool same_bits(const rows_of_logits& a, const rows_of_logits& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) { return same_bits(x, y); });
}

constexpr std::uint32_t lengths[] = {1, 7, 16, 17, 40, 65};

/// The logits of all positions of each sequence, each fed alone and whole.
std::vector<rows_of_logits> alone(loaded& on) {
  std::vector<rows_of_logits> out;
  for (auto& one : random_sequences(on.program, lengths, 9)) {
    const auto length = static_cast<std::uint32_t>(one.tokens.size());
    out.push_back(forward(on, std::vector<piece>{{&one, length, length}}));
  }
  return out;
}

/// The same, in batches of random pieces of all of them.
std::vector<rows_of_logits> mixed(loaded& on, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  auto all = random_sequences(on.program, lengths, 9);
  std::vector<rows_of_logits> out(all.size());
  for (bool more = true; more;) {
    more = false;
    std::vector<piece> pieces;
    std::vector<std::size_t> of;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto left = static_cast<std::uint32_t>(all[i].tokens.size()) - all[i].done;
      const auto rows = std::min<std::uint32_t>(left, static_cast<std::uint32_t>(random() % 20));
      more = more || left > 0;
      if (rows == 0)
        continue;
      pieces.push_back({&all[i], rows, rows});
      of.insert(of.end(), rows, i);
    }
    if (pieces.empty())
      continue;
    auto logits = forward(on, pieces);
    for (std::size_t r = 0; r < logits.size(); ++r)
      out[of[r]].push_back(std::move(logits[r]));
  }
  return out;
}

constexpr maker makers[] = {make_reference_backend, make_cpu_backend, make_bf16_backend};
constexpr maker cpu_makers[] = {make_cpu_backend, make_bf16_backend};

backend_options with(kv_cache_dtype dtype, backend_options options = sizes) {
  options.kv_dtype = dtype;
  return options;
}

/// Each backend with each way in which it keeps keys and values.
struct kind {
  maker make;
  backend_options options;
};
const kind kinds[] = {{make_reference_backend, sizes},
                      {make_cpu_backend, sizes},
                      {make_cpu_backend, with(kv_cache_dtype::int8)},
                      {make_bf16_backend, sizes},
                      {make_bf16_backend, with(kv_cache_dtype::int8)}};
constexpr kv_cache_dtype kv_dtypes[] = {kv_cache_dtype::bf16, kv_cache_dtype::int8};

/// Root of the mean square, against that of what is wanted.
double relative_difference(const std::vector<rows_of_logits>& wanted, const std::vector<rows_of_logits>& got) {
  double difference = 0, size = 0;
  for (std::size_t s = 0; s < wanted.size(); ++s)
    for (std::size_t r = 0; r < wanted[s].size(); ++r)
      for (std::size_t i = 0; i < wanted[s][r].size(); ++i) {
        difference += std::pow(wanted[s][r][i] - got[s][r][i], 2);
        size += std::pow(wanted[s][r][i], 2);
      }
  BOOST_TEST(size > 0);
  return std::sqrt(difference / size);
}

constexpr tensor_type types[] = {tensor_type::f32, tensor_type::f16, tensor_type::q8_0, tensor_type::q4_1};

} // namespace

BOOST_AUTO_TEST_CASE(the_cpu_backend_is_near_the_reference_backend_for_every_weight_type_and_shape) {
  std::vector<tiny_model_options> models;
  for (auto type : types)
    models.push_back({.seed = 3, .type = type});
  models.push_back({.heads = 6, .kv_heads = 2, .head_size = 24, .type = tensor_type::f16, .tied_embeddings = false});
  models.push_back({.heads = 20, .kv_heads = 1, .head_size = 32, .feed_forward = 96, .type = tensor_type::q4_1});
  for (const auto& model : models) {
    auto reference = load(tiny_file(model), make_reference_backend, sizes);
    const auto wanted = alone(reference);
    for (auto make : cpu_makers)
      for (auto dtype : kv_dtypes) {
        auto fast = load(tiny_file(model), make, with(dtype));
        // Rounding activations to 8 bits costs up to 1.5 % in such small layers, where little averages out.
        const double difference = relative_difference(wanted, alone(fast));
        BOOST_TEST(difference < 0.02, fast.backend->name() << " " << gguf::to_string(model.type) << " "
                                                           << to_string(dtype) << ": " << difference);
      }
  }
}

BOOST_AUTO_TEST_CASE(a_sequences_logits_are_the_same_bits_alone_and_in_any_batch_and_chunking) {
  for (const auto& [make, options] : kinds)
    for (auto type : types) {
      auto on = load(tiny_file({.seed = 5, .type = type}), make, options);
      const auto wanted = alone(on);
      for (std::uint64_t seed : {1, 2, 3}) {
        const auto got = mixed(on, seed);
        for (std::size_t i = 0; i < wanted.size(); ++i)
          BOOST_TEST(same_bits(wanted[i], got[i]), on.backend->name()
                                                     << " " << gguf::to_string(type) << " length " << lengths[i]);
      }
    }
}

BOOST_AUTO_TEST_CASE(the_cpu_backend_knows_the_largest_logits) { // `forward` checks them, here and elsewhere.
  auto on = load(tiny_file({.seed = 5}), make_cpu_backend, sizes);
  for (std::uint32_t rows : {1u, 17u, 40u}) {
    auto one = random_sequences(on.program, std::vector<std::uint32_t>{40}, 9).front();
    forward(on, std::vector<piece>{{&one, rows, rows}});
    BOOST_TEST(on.backend->largest_logits().size() == rows * sampling::blocks_of(on.program.vocabulary));
  }
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_changes_no_bit) {
  for (auto [make, options] : kinds) {
    std::vector<std::vector<rows_of_logits>> all;
    for (std::uint32_t threads : {1u, 2u, 3u, 7u}) {
      options.threads = threads;
      auto on = load(tiny_file({.seed = 6, .type = tensor_type::q4_1}), make, options);
      all.push_back(mixed(on, 4));
    }
    for (const auto& other : all)
      for (std::size_t i = 0; i < other.size(); ++i)
        BOOST_TEST(same_bits(all[0][i], other[i]));
  }
}

BOOST_AUTO_TEST_CASE(threads_that_share_one_querys_context_change_no_bit) {
  for (auto dtype : kv_dtypes) {
    std::vector<rows_of_logits> all;
    for (std::uint32_t threads : {1u, 2u, 3u, 7u}) {
      auto on = load(tiny_file({.seed = 7, .context = 1024, .type = tensor_type::q8_0}), make_cpu_backend,
                     with(dtype, {.kv_blocks = 96, .max_rows = 256, .max_logit_rows = 4, .threads = threads}));
      auto two = random_sequences(on.program, std::vector{790u, 300u}, 3);
      for (std::uint32_t rows :
           {200u, 50u, 256u, 250u}) // One of the pieces begins in one segment and ends in the next.
        forward(on, std::vector<piece>{{&two[0], rows, 0}});
      forward(on, std::vector<piece>{{&two[1], 250, 0}});
      auto& logits = all.emplace_back();
      for (int step = 0; step < 20; ++step)
        for (auto& row : forward(on, std::vector<piece>{{&two[0], 1, 1}, {&two[1], 1, 1}}))
          logits.push_back(std::move(row));
    }
    for (const auto& other : all)
      BOOST_TEST(same_bits(all[0], other));
  }
}

BOOST_AUTO_TEST_CASE(the_instruction_set_changes_no_bit) {
  for (auto make : cpu_makers)
    for (auto type : types)
      for (auto dtype : kv_dtypes) {
        std::vector<std::vector<rows_of_logits>> all;
        for (auto which : cpu::instruction_sets) {
          const std::string name(cpu::to_string(which));
          const forced_instruction_set forced(name);
          auto file = tiny_file({.seed = 8, .type = type});
          const auto program = make_program(*file);
          BOOST_REQUIRE(program);
          if (!cpu::has_instruction_set(which)) {
            const auto made = make(file, *program, sizes);
            BOOST_REQUIRE(!made);
            BOOST_TEST((made.error().code == errc::unsupported), made.error().message);
            continue;
          }
          auto on = load(file, make, with(dtype));
          BOOST_TEST(on.backend->name() == (make == make_cpu_backend ? "cpu-" : "cpu-bf16-") + name);
          all.push_back(mixed(on, 4));
        }
        BOOST_TEST(all.size() >= 1);
        for (const auto& other : all)
          for (std::size_t i = 0; i < other.size(); ++i)
            BOOST_TEST(same_bits(all[0][i], other[i]), gguf::to_string(type));
      }
}

BOOST_AUTO_TEST_CASE(the_arithmetics_differ_and_so_do_their_names) {
  auto integers = load(tiny_file({.seed = 8, .type = tensor_type::q4_1}), make_cpu_backend, sizes);
  auto bfloats = load(tiny_file({.seed = 8, .type = tensor_type::q4_1}), make_bf16_backend, sizes);
  BOOST_TEST(!same_bits(mixed(integers, 4)[5], mixed(bfloats, 4)[5]));
  BOOST_TEST(integers.backend->name() != bfloats.backend->name());
  BOOST_TEST(fingerprint_of(cpu_arithmetic::int8) != fingerprint_of(cpu_arithmetic::bf16));
}

BOOST_AUTO_TEST_CASE(the_reference_backend_refuses_another_arithmetic_than_its_own) {
  auto file = tiny_file({});
  const auto program = make_program(*file);
  BOOST_REQUIRE(program);
  auto options = sizes;
  options.arithmetic = cpu_arithmetic::bf16;
  const auto made = make_reference_backend(file, *program, options);
  BOOST_REQUIRE(!made);
  BOOST_TEST((made.error().code == errc::unsupported));
}

BOOST_AUTO_TEST_CASE(what_a_block_held_before_does_not_matter) {
  for (const auto& [make, options] : kinds) {
    auto used = load(tiny_file({.seed = 7}), make, options), fresh = load(tiny_file({.seed = 7}), make, options);
    auto before = random_sequences(used.program, std::vector{90u}, 1).front();
    forward(used, std::vector<piece>{{&before, 90}});
    for (auto* on : {&used, &fresh}) {
      auto after = random_sequences(on->program, std::vector{50u}, 2).front();
      after.blocks.assign(before.blocks.begin(), before.blocks.begin() + 4);
      static rows_of_logits first;
      const auto logits = forward(*on, std::vector<piece>{{&after, 50, 50}});
      if (on == &used)
        first = logits;
      else
        BOOST_TEST(same_bits(first, logits));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_pass_that_wants_no_logits_still_stores_its_keys_and_values) {
  for (auto make : makers) {
    auto on = load(tiny_file({.seed = 7, .type = tensor_type::q8_0}), make, sizes);
    auto one = random_sequences(on.program, std::vector{30u}, 1).front(), two = one;
    const auto wanted = forward(on, std::vector<piece>{{&one, 30, 1}});
    forward(on, std::vector<piece>{{&two, 29, 0}});
    BOOST_TEST(same_bits(wanted, forward(on, std::vector<piece>{{&two, 1, 1}})));
  }
}

BOOST_AUTO_TEST_CASE(memory_that_cannot_be_had_is_an_error) {
  for (auto make : makers) {
    auto file = tiny_file({.layers = 200});
    const auto program = make_program(*file);
    BOOST_REQUIRE(program);
    const auto made =
      make(file, *program, {.kv_blocks = 0xffffffff, .max_rows = 16, .max_logit_rows = 16, .threads = 1});
    BOOST_REQUIRE(!made);
    BOOST_TEST((made.error().code == errc::out_of_memory));
    BOOST_TEST(made.error().message.find("KV cache") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(int8_keys_and_values_take_about_half_the_memory_and_have_a_name_of_their_own) {
  for (std::uint32_t head : {24u, 64u}) {
    const std::uint32_t padded = (head + 15) / 16 * 16;
    for (auto dtype : kv_dtypes) {
      auto on = load(tiny_file({.head_size = head}), make_cpu_backend, with(dtype));
      BOOST_TEST(on.backend->kv_type() == to_string(dtype));
      const auto bytes = on.backend->block_bytes(0);
      const std::size_t of_a_position =
        dtype == kv_cache_dtype::int8 ? head + padded + 2 * sizeof(float) : (head + padded) * 2;
      BOOST_TEST(bytes == on.program.layers * on.program.kv_heads * 16 * of_a_position);
      BOOST_TEST(bytes == cpu_kv_block_bytes(on.program, dtype));
      BOOST_TEST(on.backend->memory().kv_bytes >= bytes * sizes.kv_blocks);
      BOOST_TEST(on.backend->memory().kv_bytes < bytes * sizes.kv_blocks + (4u << 20)); // Whole pages.
    }
  }
}

BOOST_AUTO_TEST_CASE(the_reference_has_no_int8_keys_and_values_and_says_so) {
  auto file = tiny_file({});
  const auto program = make_program(*file);
  BOOST_REQUIRE(program);
  const auto made = make_reference_backend(file, *program, with(kv_cache_dtype::int8));
  BOOST_REQUIRE(!made);
  BOOST_TEST((made.error().code == errc::unsupported));
  BOOST_TEST(made.error().message.find("int8") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_instruction_set_that_does_not_exist_is_refused_by_name) {
  const forced_instruction_set forced("sse9");
  auto file = tiny_file({});
  const auto program = make_program(*file);
  BOOST_REQUIRE(program);
  const auto made = make_cpu_backend(file, *program, sizes);
  BOOST_REQUIRE(!made);
  BOOST_TEST((made.error().code == errc::invalid_argument));
  BOOST_TEST(made.error().message.find("sse9") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
