// `traceparent`: what W3C Trace Context takes, and what it has one ignore.
#include <boost/test/unit_test.hpp>

#include <string>

#include "protocol/trace_context.hpp"
#include "protocol/validate.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(trace_context)

namespace {

const std::string sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

std::string with(std::size_t at, char c) {
  auto text = sound;
  text[at] = c;
  return text;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_specifications_example_is_taken_apart) {
  const auto parsed = parse_traceparent(sound);
  BOOST_REQUIRE(parsed);
  BOOST_TEST(parsed->trace_id == "0af7651916cd43dd8448eb211c80319c");
  BOOST_TEST(parsed->parent_id == "b7ad6b7169203331");
  BOOST_TEST(sound.size() == traceparent_bytes);
}

BOOST_AUTO_TEST_CASE(what_is_no_traceparent_is_nothing) {
  for (const auto& wrong : {std::string(), std::string("00"), sound.substr(0, 54), sound + "0", sound + "-",
                            " " + sound, "00-" + std::string(32, '0') + "-b7ad6b7169203331-01",
                            "00-0af7651916cd43dd8448eb211c80319c-" + std::string(16, '0') + "-01",
                            "ff" + sound.substr(2), "FF" + sound.substr(2), "0x" + sound.substr(2)})
    BOOST_TEST(!parse_traceparent(wrong), wrong);
  for (std::size_t at = 0; at < sound.size(); ++at)
    for (const char c : {'g', 'A', ' ', '\0', '\n'})
      BOOST_TEST(!parse_traceparent(with(at, c)), "'" << c << "' at " << at);
}

BOOST_AUTO_TEST_CASE(a_later_version_may_have_more_behind_a_dash) {
  const auto later = "cc" + sound.substr(2);
  BOOST_TEST(parse_traceparent(later).has_value());
  BOOST_TEST(parse_traceparent(later + "-what-comes").has_value());
  BOOST_TEST(!parse_traceparent(later + "what-comes"));
}

BOOST_AUTO_TEST_CASE(a_request_has_a_sound_one_or_none) {
  generate_request request{.id = 1, .prompt = prompt_text("x")};
  BOOST_TEST(validate(request).has_value());
  request.origin.traceparent = sound;
  BOOST_TEST(validate(request).has_value());
  for (const auto& wrong : {with(3, 'x'), "cc" + sound.substr(2) + "-more"}) { // ... and of one length.
    request.origin.traceparent = wrong;
    BOOST_REQUIRE(!validate(request));
    BOOST_TEST((validate(request).error().code == errc::invalid_argument));
    BOOST_TEST(validate(request).error().message.find("'traceparent'") != std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()
