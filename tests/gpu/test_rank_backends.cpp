// A model shared by several devices of the shim: the reference's logits, the same bits on each rank, and an error where a rank is missing.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <thread>

#include "gpu/backend/gpu_backend.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"
#include "tests/comm/groups.hpp"
#include "tests/cpu/support.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(rank_backends)

namespace {

constexpr std::uint32_t width = 128, max_rows = 192;
constexpr std::uint32_t many =
  175; ///< Rows of three ranks whose sums are the library's, unless they must be invariant.

std::shared_ptr<const gguf::file> three_groups() {
  static const auto file = gguf::parse(tiny_model({.seed = 3,
                                                   .layers = 1,
                                                   .width = width,
                                                   .heads = 6,
                                                   .kv_heads = 3,
                                                   .head_size = 64,
                                                   .feed_forward = 192,
                                                   .context = 1024,
                                                   .type = gguf::tensor_type::q8_0}));
  BOOST_REQUIRE(file);
  return *file;
}

backend_options sizes(bool batch_invariant) {
  backend_options options;
  options.kv_blocks = 64;
  options.max_rows = max_rows;
  options.max_logit_rows = 16;
  options.threads = 1;
  options.batch_invariant = batch_invariant;
  return options;
}

struct ranks_options {
  unsigned ranks = 2;
  bool batch_invariant = false;
  gpu::shim::planned_rank_fault fault = {}; ///< Of the last rank.
  std::chrono::milliseconds timeout = 60s;
};

/// The ranks of one model, each with a device.
class shared_model {
public:
  explicit shared_model(const ranks_options& options) {
    const auto file = three_groups();
    const auto whole = make_program(*file);
    const auto plan = plan_shards(*whole, *file, options.ranks);
    BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
    auto hosts = shared_memory_ranks(std::vector<unsigned>(options.ranks, 1), 1 << 18);
    for (unsigned rank = 0; rank < options.ranks; ++rank) {
      gpu::shim::shim_options device{
        .memory_bytes = std::size_t{1} << 28, .seed = ++seed_, .finds_global_races = true};
      if (rank + 1 == options.ranks)
        device.rank_fault = options.fault;
      auto own = sizes(options.batch_invariant);
      own.group = std::move(hosts[rank]);
      own.collective_timeout = options.timeout;
      auto program = program_of_rank(*whole, *plan, rank);
      auto made = gpu::load_backend(std::make_unique<gpu::shim::shim_runtime>(gpu::shim_kernels(), device),
                                    "cuda-shim", file, program, own);
      BOOST_REQUIRE_MESSAGE(made, made.error().message);
      ranks_.push_back({std::move(program), std::move(*made)});
    }
  }

  const model_program& program() const { return ranks_.front().program; }

  /// On all ranks; the logits of each.
  std::vector<std::vector<float>> forward(const batch_of_pieces& batch) {
    std::vector<std::vector<float>> logits(ranks_.size());
    why_.assign(ranks_.size(), std::nullopt);
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
      threads.emplace_back([&, rank] {
        logits[rank].resize(batch.logit_rows.size() * program().vocabulary);
        const auto done = ranks_[rank].backend->forward({batch.tokens, batch.spans, batch.logit_rows}, logits[rank]);
        if (!done)
          why_[rank] = done.error();
      });
    threads.clear();
    return logits;
  }
  /// Those of the last call.
  const std::vector<std::optional<error>>& errors() const { return why_; }

private:
  static inline std::uint32_t seed_ = 0;
  std::vector<loaded> ranks_;
  std::vector<std::optional<error>> why_;
};

double distance(std::span<const float> got, std::span<const float> wanted) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    difference += std::pow(double{got[i]} - wanted[i], 2);
    size += std::pow(double{wanted[i]}, 2);
  }
  return std::sqrt(difference / size);
}

std::vector<float> joined(const std::vector<std::vector<float>>& rows) {
  std::vector<float> out;
  for (const auto& each : rows)
    out.insert(out.end(), each.begin(), each.end());
  return out;
}

/// Logits on all ranks, which must be alike.
std::vector<float> forward_alike(shared_model& on, std::vector<piece> pieces) {
  const auto logits = on.forward(lay_out(pieces));
  for (const auto& each : on.errors())
    BOOST_REQUIRE_MESSAGE(!each, (each ? each->message : ""));
  for (const auto& each : logits)
    BOOST_TEST((each == logits[0]));
  return logits[0];
}

} // namespace

BOOST_AUTO_TEST_CASE(ranks_give_the_references_logits_and_all_the_same_bits) {
  for (const unsigned count : {2u, 3u})
    for (const bool invariant : {false, true}) {
      shared_model ranks({.ranks = count, .batch_invariant = invariant});
      auto reference = load(three_groups(), make_reference_backend, sizes(false));
      auto sequences = random_sequences(reference.program, std::vector<std::uint32_t>{200, 20}, 5);
      auto same = sequences;
      for (const auto& [first, second] :
           {std::pair(count == 3 && !invariant ? many : 30u, 10u), {1u, 1u}, {5u, 2u}}) {
        const auto got = forward_alike(ranks, {{&sequences[0], first}, {&sequences[1], second}});
        const auto wanted = joined(forward(reference, std::vector<piece>{{&same[0], first}, {&same[1], second}}));
        BOOST_TEST(distance(got, wanted) < 0.02);
      }
    }
}

BOOST_AUTO_TEST_CASE(with_batch_invariance_company_and_chunks_change_no_bit_of_ranks) {
  shared_model ranks({.ranks = 3, .batch_invariant = true});
  auto sequences = random_sequences(ranks.program(), std::vector<std::uint32_t>{many + 1, 10}, 9);
  const auto from_the_start = [&] {
    for (auto& each : sequences)
      each.done = 0;
  };
  std::vector<float> alone;
  for (const auto& chunks : {std::vector<std::uint32_t>{many, 1}, {2, many - 1}}) {
    from_the_start();
    std::vector<float> last;
    for (const auto rows : chunks)
      last = forward_alike(ranks, {{&sequences[0], rows}});
    if (alone.empty())
      alone = last;
    BOOST_TEST((last == alone));
  }
  from_the_start();
  auto together = forward_alike(ranks, {{&sequences[1], 10}, {&sequences[0], many + 1}});
  together.erase(together.begin(), together.end() - ranks.program().vocabulary);
  BOOST_TEST((together == alone));
}

BOOST_AUTO_TEST_CASE(a_rank_that_goes_wrong_in_a_step_is_an_error_on_all_of_them) {
  using gpu::shim::rank_fault;
  for (const auto what : {rank_fault::hang, rank_fault::abort, rank_fault::async_error})
    for (const std::uint64_t call : {0u, 1u, 2u, 5u}) { // 0: the group's making; a step has three sums.
      shared_model ranks({.fault = {.what = what, .call = call}, .timeout = 1s});
      auto sequences = random_sequences(ranks.program(), std::vector<std::uint32_t>{10}, 5);
      const auto steps = call <= 3 ? 1 : 2;
      for (int step = 1; step <= steps; ++step) {
        ranks.forward(lay_out(std::vector<piece>{{&sequences[0], 2}}));
        for (const auto& each : ranks.errors()) {
          BOOST_TEST(each.has_value() == (step == steps));
          if (each)
            BOOST_TEST((each->code == errc::unavailable), each->message);
        }
      }
    }
}

BOOST_AUTO_TEST_CASE(a_slow_rank_changes_no_bit_of_a_step) {
  const auto logits = [](gpu::shim::planned_rank_fault fault) {
    shared_model ranks({.fault = fault});
    auto sequences = random_sequences(ranks.program(), std::vector<std::uint32_t>{10}, 5);
    return forward_alike(ranks, {{&sequences[0], 10}});
  };
  BOOST_TEST((logits({.what = gpu::shim::rank_fault::slow, .call = 3, .delay = 50ms}) == logits({})));
}

BOOST_AUTO_TEST_SUITE_END()
