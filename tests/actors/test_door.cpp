// Where worker processes come in: it is there as long as the engine is, and no longer.
#include <fstream>
#include <sstream>
#include <unistd.h>

#include "actors/process/local_middleman.hpp"
#include "tests/actors/engine_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(door_suite)

namespace {

/// Sockets of this process that others can find.
bool is_open() {
  std::ifstream file("/proc/net/unix");
  std::stringstream all;
  all << file.rdbuf();
  return all.str().find("@troupe-" + std::to_string(getpid()) + "-") != std::string::npos;
}

void wait_until(bool open) {
  for (const auto end = std::chrono::steady_clock::now() + 30s; is_open() != open;) {
    BOOST_REQUIRE(std::chrono::steady_clock::now() < end);
    std::this_thread::sleep_for(1ms);
  }
}

struct system_of_processes {
  system_of_processes() {
    configure(config);
    configure_processes(config);
    system = std::make_unique<caf::actor_system>(config);
  }
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_door_that_is_closed_is_gone_before_its_actor_system_is) {
  system_of_processes s;
  for (int time = 0; time < 3; ++time) {
    const auto door = open_worker_door(*s.system);
    BOOST_REQUIRE_MESSAGE(door, door.error().message);
    BOOST_TEST(is_open());
    close_worker_door(*door);
    wait_until(false);
  }
}

BOOST_AUTO_TEST_CASE(the_door_of_an_engine_is_closed_when_it_has_ended_and_others_live_on_in_its_actor_system) {
  system_of_processes s;
  for (int time = 0; time < 2; ++time) {
    engine_options options;
    options.source = tiny();
    options.kv_blocks = 64;
    options.processes = worker_processes{{"/bin/sleep", "60"}, ""}; // They never connect.
    const auto supervisor = spawn_engine(*s.system, std::move(options));
    BOOST_TEST(is_open());
    caf::anon_send(supervisor, stop_atom::value);
    wait_until(false);
  }
}

BOOST_AUTO_TEST_CASE(an_engine_of_processes_in_a_system_that_has_none_ends_with_a_sentence) {
  caf::actor_system_config config;
  configure(config);
  caf::actor_system system(config);
  engine_options options;
  options.source = tiny();
  options.kv_blocks = 64;
  options.processes = worker_processes{{"/bin/sleep", "60"}, ""};
  caf::scoped_actor self(system);
  const auto supervisor = spawn_engine(system, std::move(options));
  self->monitor(supervisor);
  self->receive(
    [](const caf::down_msg& down) {
      BOOST_TEST(caf::to_string(down.reason).find("configure_processes") != std::string::npos);
    },
    caf::after(20s) >> [] { BOOST_ERROR("the engine goes on"); });
}

BOOST_AUTO_TEST_SUITE_END()
