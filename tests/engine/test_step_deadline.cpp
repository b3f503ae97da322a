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

BOOST_AUTO_TEST_SUITE_END()
