#include "tools/troupe/bench/sse_reader.hpp"

#include <boost/test/unit_test.hpp>

#include <vector>

using namespace troupe::cli;

BOOST_AUTO_TEST_SUITE(sse_reader_suite)

namespace {

/// What comes of bytes that are fed in parts of `size`.
std::vector<std::string> events_of(std::string_view bytes, std::size_t size) {
  sse_reader reader;
  std::vector<std::string> events;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size())))
    BOOST_TEST(reader.feed(bytes.substr(0, size), [&](const std::string& data) { events.push_back(data); }));
  return events;
}

} // namespace

BOOST_AUTO_TEST_CASE(events_are_the_same_wherever_the_bytes_are_cut_and_however_lines_end) {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    std::string stream;
    for (const char* line : {": a comment", "data: one", "", "event: x", "data:two", "id: 7", "", "data: a",
                             "data: b", "", "", "data", "", "retry: 3", "", "data:  [DONE]", "", "data: not ended"})
      stream += line + end;
    const std::vector<std::string> wanted{"one", "two", "a\nb", "", " [DONE]"};
    for (std::size_t size = 1; size <= stream.size(); ++size)
      BOOST_TEST(events_of(stream, size) == wanted, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_passed_over_at_the_beginning_alone) {
  const auto events = events_of("\xEF\xBB\xBF"
                                "data: 1\n\n\xEF\xBB\xBF"
                                "data: 2\n\n",
                                2);
  BOOST_TEST(events == std::vector<std::string>{"1"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_event_that_is_too_long_ends_the_reading) {
  sse_reader reader;
  std::size_t events = 0;
  const auto count = [&](const std::string&) { ++events; };
  const std::string line = "data: " + std::string(1u << 20, 'x') + "\n";
  bool taken = true;
  for (int i = 0; i < 17 && taken; ++i)
    taken = reader.feed(line, count);
  BOOST_TEST(!taken);
  BOOST_TEST(!reader.feed("\n\ndata: 1\n\n", count));
  BOOST_TEST(events == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
