// Where a ZeroMQ socket may listen without keys.
#include <boost/test/unit_test.hpp>

#include "actors/zmq_access.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(zmq_access_rules)

BOOST_AUTO_TEST_CASE(without_keys_or_consent_only_this_machine_can_connect) {
  const zmq_access none, consent{{}, {}, true}, keys{std::string(curve_key_characters, '0'), {}, false};
  for (const auto* endpoint : {"ipc:///tmp/x", "tcp://127.0.0.1:5555", "tcp://127.3.2.1:*", "tcp://[::1]:5555"})
    BOOST_TEST(check_access(none, endpoint, "--zmq").has_value(), endpoint);
  for (const auto* endpoint :
       {"tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://[::]:5555", "tcp://192.168.1.2:5555", "tcp://eth0:5555",
        "tcp://128.0.0.1:5555", "tcp://127.0.0.1.example.org:5555", "pgm://eth0;239.0.0.1:5555", "vmci://*:5555"}) {
    const auto refused = check_access(none, endpoint, "--admin-zmq");
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code == errc::invalid_argument));
    for (const auto* word : {"--admin-zmq", endpoint, "--zmq-curve-server-key", "--allow-open-access"})
      BOOST_TEST(refused.error().message.find(word) != std::string::npos, word);
    BOOST_TEST(check_access(consent, endpoint, "--zmq").has_value());
    BOOST_TEST(check_access(keys, endpoint, "--zmq").has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_key_has_forty_characters_of_its_own_alphabet) {
  BOOST_TEST(is_curve_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")); // RFC 26's example.
  BOOST_TEST(!is_curve_key(""));
  BOOST_TEST(!is_curve_key(std::string(39, '0')));
  BOOST_TEST(!is_curve_key(std::string(41, '0')));
  BOOST_TEST(!is_curve_key(std::string(40, '~')));
  BOOST_TEST(!is_curve_key(std::string(40, '\xff')));
}

BOOST_AUTO_TEST_SUITE_END()
