// The main() of every test binary; its files only add cases.
#define BOOST_TEST_MODULE troupe
#include <boost/test/unit_test.hpp>
