#include <boost/test/unit_test.hpp>

#include "engine/step_deadline.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(step_deadlines)

BOOST_AUTO_TEST_CASE(nothing_is_late_before_some_steps_have_been_seen) {
  step_deadline deadline(600000);
  for (std::size_t i = 0; i + 1 < step_deadline::enough; ++i)
    deadline.took(4, 1);
  BOOST_TEST(deadline.limit_ms(1) == 600000);
  deadline.took(4, 1);
  BOOST_TEST(deadline.limit_ms(1) == 2000);
}

BOOST_AUTO_TEST_CASE(a_step_may_take_ten_times_what_nearly_all_take) {
  step_deadline deadline(600000);
  for (int i = 0; i < 1000; ++i)
    deadline.took(i % 100 == 7 ? 5000 : 500, 64); // One in a hundred is not nearly all.
  BOOST_TEST(deadline.limit_ms(64) == 5000);
}

BOOST_AUTO_TEST_CASE(a_long_prompt_after_many_small_steps_has_time_for_each_row) {
  step_deadline deadline(600000);
  for (int i = 0; i < 300; ++i)
    deadline.took(100, 1);
  BOOST_TEST(deadline.limit_ms(512) == 10 * 512 * 100.0);
  BOOST_TEST(deadline.limit_ms(100000) == 600000); // But no longer than any step.
}

BOOST_AUTO_TEST_CASE(what_was_long_ago_is_forgotten) {
  step_deadline deadline(600000);
  for (int i = 0; i < 300; ++i)
    deadline.took(60000, 1);
  for (std::size_t i = 0; i < step_deadline::remembered; ++i)
    deadline.took(10, 1);
  BOOST_TEST(deadline.limit_ms(1) == 2000);
}

namespace {

/// Steps of 4 ms have been usual.
step_deadline of_quick_steps() {
  step_deadline deadline(600000);
  for (std::size_t i = 0; i < step_deadline::remembered; ++i)
    deadline.took(4, 1);
  return deadline;
}

} // namespace

BOOST_AUTO_TEST_CASE(after_each_alarm_a_step_may_take_twice_as_long_up_to_four_times) {
  auto deadline = of_quick_steps();
  for (const double limit : {2000, 4000, 8000, 8000, 8000}) {
    BOOST_TEST(deadline.limit_ms(1) == limit);
    deadline.gave_up();
  }
}

BOOST_AUTO_TEST_CASE(a_step_that_was_late_and_has_ended_gives_those_after_it_twice_its_time) {
  auto deadline = of_quick_steps();
  deadline.took(7000, 1);
  BOOST_TEST(deadline.limit_ms(1) == 14000);
  deadline.gave_up(); // It was longer still: alarms alone do not make it more than four times,
  BOOST_TEST(deadline.limit_ms(1) == 14000);
  deadline.took(500000, 1);
  BOOST_TEST(deadline.limit_ms(1) == 600000); // and nothing makes it more than any step's.
}

BOOST_AUTO_TEST_CASE(an_engine_that_becomes_slow_at_once_is_not_taken_for_hung_again_and_again) {
  auto deadline = of_quick_steps();
  unsigned alarms = 0;
  for (int step = 0; step < 300; ++step) {
    while (deadline.limit_ms(1) < 6000) { // Another worker computes it, no sooner.
      deadline.gave_up();
      ++alarms;
    }
    deadline.took(6000, 1);
  }
  BOOST_TEST(alarms == 2u);
}

BOOST_AUTO_TEST_CASE(patience_ends_when_steps_come_in_time_again) {
  auto deadline = of_quick_steps();
  deadline.gave_up();
  deadline.took(7000, 1);
  for (std::size_t i = 0; i + 1 < step_deadline::remembered; ++i)
    deadline.took(4, 1);
  BOOST_TEST(deadline.limit_ms(1) == 14000);
  deadline.took(4, 1);
  BOOST_TEST(deadline.limit_ms(1) == 2000);
}

BOOST_AUTO_TEST_SUITE_END()
