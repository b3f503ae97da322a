// The cost of steps on machines that are made up: known costs, noise, hiccups and changes of speed.
#include "engine/step_cost.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(step_cost_suite)

namespace {

struct machine {
  double step_ms = 4, row_ms = 0.2, attended_ms = 0.0001;
  double time(const step_work& work) const {
    return step_ms + row_ms * static_cast<double>(work.rows) + attended_ms * static_cast<double>(work.attended);
  }
};

step_work decodes(std::uint64_t sequences, std::uint64_t context) { return {sequences, sequences * context}; }

step_work prefill(std::uint32_t position, std::uint32_t rows) { return with_rows({}, position, rows); }

/// Mixed work as an engine has it: some decodes, often a chunk of a prompt.
step_work mixed(std::mt19937& rng) {
  auto work = decodes(rng() % 33, 50 + rng() % 1000);
  return rng() % 3 == 0 && work.rows > 0 ? work : with_rows(work, rng() % 2000, 1 + rng() % 256);
}

double noise(std::mt19937& rng, double share) { return 1 + share * (static_cast<double>(rng() % 2001) / 1000 - 1); }

double relative_error(double predicted, double real) { return std::abs(predicted - real) / real; }

const std::vector<step_work> typical{decodes(1, 100), decodes(8, 500),  decodes(32, 1000),
                                     prefill(0, 256), prefill(1500, 64), prefill(0, 512)};

void require_close(const step_cost& cost, const machine& m, double share) {
  for (const auto& work : typical)
    BOOST_TEST_CONTEXT(work.rows << " rows, " << work.attended << " attended: " << cost.predict(work) << " and "
                                 << m.time(work))
      BOOST_REQUIRE_LT(relative_error(cost.predict(work), m.time(work)), share);
}

void check_monotone(const step_cost& cost) {
  for (auto& work : typical) {
    BOOST_REQUIRE_GE(cost.predict(work), 0);
    BOOST_REQUIRE_LE(cost.predict(work), cost.predict({work.rows + 1, work.attended}));
    BOOST_REQUIRE_LE(cost.predict(work), cost.predict({work.rows, work.attended + 1000}));
    BOOST_REQUIRE(std::isfinite(cost.predict(work)));
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(as_long_as_nothing_was_learnt_all_rows_fit) {
  step_cost cost;
  BOOST_TEST(cost.predict({100, 1000}) == 0);
  BOOST_TEST(cost.rows_within(1, {100, 1000}, 50, 256) == 256u);
  BOOST_TEST(cost.steps() == 0u);
}

BOOST_AUTO_TEST_CASE(the_rows_of_a_chunk_look_at_all_before_them_and_at_themselves) {
  const auto work = with_rows({3, 10}, 5, 4);
  BOOST_TEST(work.rows == 7u);
  BOOST_TEST(work.attended == 10u + 6 + 7 + 8 + 9);
}

BOOST_AUTO_TEST_CASE(noisy_steps_are_learnt_to_a_few_percent) {
  const machine machines[] = {{4, 0.2, 0.0001}, {20, 0.05, 0}, {0.01, 0.002, 1e-7}, {0, 1, 0.001}, {500, 10, 0.01}};
  for (const auto& m : machines)
    for (unsigned seed = 0; seed < 20; ++seed)
      BOOST_TEST_CONTEXT("seed " << seed << ", " << m.step_ms << " ms a step") {
        std::mt19937 rng(seed);
        step_cost cost;
        for (int i = 0; i < 400; ++i) {
          const auto work = mixed(rng);
          cost.learn(work, m.time(work) * noise(rng, 0.05));
        }
        require_close(cost, m, 0.25);
        BOOST_TEST(cost.steps() > 380u);
      }
}

BOOST_AUTO_TEST_CASE(steps_without_noise_are_learnt_nearly_exactly) {
  std::mt19937 rng(1);
  const machine m;
  step_cost cost;
  for (int i = 0; i < 300; ++i) {
    const auto work = mixed(rng);
    cost.learn(work, m.time(work));
  }
  require_close(cost, m, 0.001);
}

BOOST_AUTO_TEST_CASE(a_machine_that_changes_its_speed_is_followed_both_ways) {
  for (unsigned seed = 0; seed < 20; ++seed)
    for (double factor : {2.0, 10.0, 0.1})
      BOOST_TEST_CONTEXT("seed " << seed << ", factor " << factor) {
        std::mt19937 rng(seed);
        machine m;
        step_cost cost;
        auto run = [&](int steps) {
          for (int i = 0; i < steps; ++i) {
            const auto work = mixed(rng);
            cost.learn(work, m.time(work) * noise(rng, 0.05));
            check_monotone(cost);
          }
        };
        run(300);
        m = {m.step_ms * factor, m.row_ms * factor, m.attended_ms * factor};
        run(400);
        require_close(cost, m, 0.3);
      }
}

BOOST_AUTO_TEST_CASE(one_step_that_was_held_up_changes_little_and_going_slow_is_believed) {
  std::mt19937 rng(3);
  const machine m;
  step_cost cost;
  for (int i = 0; i < 200; ++i) {
    const auto work = mixed(rng);
    cost.learn(work, m.time(work) * noise(rng, 0.05));
  }
  cost.learn(decodes(8, 500), 60000);
  require_close(cost, m, 0.3);
  for (int i = 0; i < 60; ++i)
    cost.learn(decodes(8, 500), 60);
  BOOST_TEST(relative_error(cost.predict(decodes(8, 500)), 60) < 0.1);
}

BOOST_AUTO_TEST_CASE(slow_first_steps_are_soon_forgotten) {
  std::mt19937 rng(4);
  const machine m;
  step_cost cost;
  for (int i = 0; i < 100; ++i) {
    const auto work = mixed(rng);
    cost.learn(work, m.time(work) * (i < 3 ? 100 : noise(rng, 0.05)));
  }
  require_close(cost, m, 0.3);
}

BOOST_AUTO_TEST_CASE(decodes_alone_never_make_a_prompts_rows_look_free) {
  step_cost cost;
  for (int i = 0; i < 1000; ++i) // one sequence: only its context grows
    cost.learn(decodes(1, 100 + static_cast<std::uint64_t>(i)), 10);
  check_monotone(cost);
  BOOST_TEST(relative_error(cost.predict(decodes(1, 1100)), 10) < 0.05);
  const auto first = cost.rows_within(50, decodes(1, 1100), 0, 512);
  BOOST_TEST(first >= 1u);
  BOOST_TEST(first <= 16u); // careful, as what a row costs is not known
  // Then it finds out: a row costs little, the step much.
  const machine m{9, 0.1, 0};
  std::uint32_t rows = first;
  for (int i = 0; i < 40; ++i) {
    const auto work = with_rows(decodes(1, 1100), 0, rows);
    cost.learn(work, m.time(work));
    rows = cost.rows_within(50, decodes(1, 1100), 0, 512);
  }
  BOOST_TEST(rows > 330u);
  BOOST_TEST(rows < 430u); // (50 - 9.1) / 0.1
}

BOOST_AUTO_TEST_CASE(hours_of_decodes_do_not_make_it_forget_what_a_prompt_costs) {
  std::mt19937 rng(5);
  const machine m;
  step_cost cost;
  for (int i = 0; i < 200; ++i) {
    const auto work = mixed(rng);
    cost.learn(work, m.time(work) * noise(rng, 0.05));
  }
  for (int i = 0; i < 50000; ++i) {
    const auto work = decodes(4, 100 + static_cast<std::uint64_t>(i % 900));
    cost.learn(work, m.time(work) * noise(rng, 0.05));
  }
  require_close(cost, m, 0.5);
}

BOOST_AUTO_TEST_CASE(times_that_are_no_times_teach_nothing_and_zero_and_huge_ones_break_nothing) {
  step_cost cost;
  cost.learn({4, 100}, -1);
  cost.learn({4, 100}, std::nan(""));
  cost.learn({4, 100}, std::numeric_limits<double>::infinity());
  cost.learn({0, 0}, 5);
  BOOST_TEST(cost.steps() == 0u);
  for (int i = 0; i < 50; ++i)
    cost.learn({4, 100}, 0);
  BOOST_TEST(cost.predict({400, 100}) == 0);
  BOOST_TEST(cost.rows_within(1, {4, 100}, 0, 99) == 99u);
  for (int i = 0; i < 50; ++i) {
    cost.learn({4, 100}, std::numeric_limits<double>::max());
    cost.learn({~std::uint64_t{0}, ~std::uint64_t{0}}, 1e9);
    check_monotone(cost);
  }
  const machine m;
  std::mt19937 rng(6);
  for (int i = 0; i < 3000; ++i) {
    const auto work = mixed(rng);
    cost.learn(work, m.time(work));
    check_monotone(cost);
  }
  require_close(cost, m, 0.5);
}

BOOST_AUTO_TEST_CASE(rows_within_keep_the_predicted_step_in_the_budget_and_one_more_would_not) {
  for (unsigned seed = 0; seed < 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 rng(seed);
      step_cost cost;
      const machine m{static_cast<double>(rng() % 20), 0.01 * (rng() % 50), 1e-6 * (rng() % 1000)};
      const auto steps = 1 + rng() % 60;
      for (unsigned i = 0; i < steps; ++i) {
        const auto work = mixed(rng);
        cost.learn(work, m.time(work) * noise(rng, 0.5));
      }
      for (int i = 0; i < 50; ++i) {
        const double budget = static_cast<double>(rng() % 200);
        const auto work = mixed(rng);
        const std::uint32_t position = rng() % 5000, most = rng() % 1000;
        const auto rows = cost.rows_within(budget, work, position, most);
        BOOST_REQUIRE_LE(rows, most);
        if (rows > 0)
          BOOST_REQUIRE_LE(cost.predict(with_rows(work, position, rows)), budget);
        if (rows < most)
          BOOST_REQUIRE_GT(cost.predict(with_rows(work, position, rows + 1)), budget);
        BOOST_REQUIRE_LE(rows, cost.rows_within(budget + 10, work, position, most));
        BOOST_REQUIRE_GE(rows, cost.rows_within(budget, work, position + 100, most));
        BOOST_REQUIRE_GE(rows, cost.rows_within(budget, {work.rows + 5, work.attended + 50}, position, most));
        BOOST_REQUIRE_LE(rows, cost.rows_within(budget, work, position, most + 7));
      }
    }
}

BOOST_AUTO_TEST_CASE(the_same_steps_give_the_same_bits) {
  auto learnt = [] {
    std::mt19937 rng(7);
    step_cost cost;
    for (int i = 0; i < 500; ++i) {
      const auto work = mixed(rng);
      cost.learn(work, machine{}.time(work) * noise(rng, 0.2));
    }
    return cost;
  };
  const auto one = learnt(), other = learnt();
  for (const auto& work : typical)
    BOOST_TEST(one.predict(work) == other.predict(work));
}

BOOST_AUTO_TEST_SUITE_END()
