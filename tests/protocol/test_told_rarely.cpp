// What others can cause as often as they like does not fill the log.
#include <boost/test/unit_test.hpp>

#include "protocol/told_rarely.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(told_rarely_suite)

BOOST_AUTO_TEST_CASE(one_an_interval_is_said_with_how_many_were_not) {
  told_rarely refusals;
  const told_rarely::time_point begin{};
  BOOST_TEST(refusals.next(begin).value() == 0u);
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(!refusals.next(begin + told_rarely::interval / 2));
  BOOST_TEST(refusals.next(begin + told_rarely::interval).value() == 3u);
  BOOST_TEST(refusals.next(begin + told_rarely::interval * 3).value() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
