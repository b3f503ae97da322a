// What the log says of HTTP: bugs, answers that nobody gets whole, and refusals, of which there may be many.
#include "tests/serve/http/http_fixture.hpp"

#include <algorithm>
#include <mutex>

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(http_log)

namespace {

/// Keeps entries, whichever thread says them.
class heard {
public:
  logger log() {
    return {[this](const log_entry& entry) {
              const std::lock_guard guard(lock_);
              entries_.push_back(entry);
            },
            log_level::debug};
  }

  std::vector<log_entry> of(std::string_view event) {
    const std::lock_guard guard(lock_);
    std::vector<log_entry> found;
    std::copy_if(entries_.begin(), entries_.end(), std::back_inserter(found),
                 [&](const auto& entry) { return entry.event == event; });
    return found;
  }

  /// The only one; waits for it.
  log_entry one(std::string_view event) {
    for (auto until = std::chrono::steady_clock::now() + patience; std::chrono::steady_clock::now() < until;) {
      if (auto found = of(event); !found.empty()) {
        BOOST_TEST(found.size() == 1u);
        return found.front();
      }
      std::this_thread::sleep_for(1ms);
    }
    BOOST_FAIL("nothing was said of " << event);
    return {};
  }

private:
  std::mutex lock_;
  std::vector<log_entry> entries_;
};

std::string text_in(const log_entry& entry, std::string_view name) {
  for (const auto& field : entry.fields)
    if (field.name == name)
      return std::get<std::string>(field.value);
  return {};
}

void check_bug(const log_entry& bug) {
  BOOST_TEST((bug.level == log_level::error));
  BOOST_TEST(text_in(bug, "exception") == "std::runtime_error");
  BOOST_TEST(text_in(bug, "path") == "/v1/echo");
  BOOST_TEST(text_in(bug, "request") == "mine");
  for (const auto& field : bug.fields)
    if (const auto* text = std::get_if<std::string>(&field.value))
      BOOST_TEST(text->find("as the test wanted") == text->npos);
}

const std::string mine = "X-Request-Id: mine\r\n";

} // namespace

BOOST_AUTO_TEST_CASE(a_bug_is_told_by_its_type_wherever_it_is) {
  const std::string large(3u << 20, 'x');
  for (const std::string& body : {std::string(R"({"throw": 1})"), R"({"throw": ")" + large + R"("})"}) {
    heard said;
    http_fixture fixture([&](http_options& o) { o.log = said.log(); });
    http_client client(fixture.server->port());
    client.post("/v1/echo", body, mine);
    BOOST_TEST(client.read().status == 500u);
    check_bug(said.one("http_failed"));
  }
  heard said;
  http_fixture fixture([&](http_options& o) { o.log = said.log(); });
  http_client client(fixture.server->port());
  client.post("/v1/echo", R"({"stream": true})", mine);
  const auto id = fixture.engine->request(1).id;
  fixture.engine->say(id, "some");
  client.until("some");
  fixture.engine->say(id, "throw");
  client.rest();
  check_bug(said.one("http_failed"));
  said.one("http_unfinished");
}

BOOST_AUTO_TEST_CASE(an_answer_that_its_client_did_not_wait_for_is_told) {
  heard said;
  http_fixture fixture([&](http_options& o) { o.log = said.log(); });
  http_client client(fixture.server->port());
  client.post("/v1/echo", "{}", mine);
  fixture.engine->request(1);
  client.reset();
  const auto unfinished = said.one("http_unfinished");
  BOOST_TEST((unfinished.level == log_level::debug));
  BOOST_TEST(text_in(unfinished, "request") == "mine");
  BOOST_TEST(said.of("http_answer").empty());
}

BOOST_AUTO_TEST_CASE(refusals_are_counted_rather_than_told_one_by_one_and_no_path_is_long) {
  heard said;
  http_fixture fixture([&](http_options& o) {
    o.log = said.log();
    BOOST_REQUIRE(o.keys.add_list("the-key", "the test"));
  });
  http_client client(fixture.server->port());
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    client.get("/v1/models/" + std::string(2000, 'x'));
    BOOST_TEST(client.read().status == 401u);
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun);
  const auto told = said.of("client_refused");
  BOOST_REQUIRE(!told.empty());
  BOOST_TEST(told.size() <= static_cast<std::size_t>(seconds.count()) + 1);
  BOOST_TEST(told.size() + said.of("http_answer").size() == 20u);
  BOOST_TEST(text_in(told.front(), "path").size() == http_limits().max_logged_path_bytes);
}

BOOST_AUTO_TEST_SUITE_END()
