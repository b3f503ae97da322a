// What an operator's programs are told.
#include <boost/asio/steady_timer.hpp>

#include "tests/serve/http/http_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(probes)

BOOST_AUTO_TEST_CASE(a_server_that_loads_lives_and_takes_nothing) {
  http_fixture fixture({}, false);
  BOOST_TEST(fixture.get("/live").status == 200u);
  for (const std::string path : {"/ready", "/health", "/load", "/v1/models"})
    BOOST_TEST(fixture.get(path).status == 503u, path);
  http_client client(fixture.server->port());
  client.post("/v1/echo", "{}");
  const auto refused = client.read();
  BOOST_TEST(refused.status == 503u);
  BOOST_TEST(refused.fields.at("retry-after") == "1");
  fixture.attach();
  for (const std::string path : {"/ready", "/health", "/load", "/v1/models"})
    BOOST_TEST(fixture.get(path).status == 200u, path);
}

BOOST_AUTO_TEST_CASE(a_server_that_drains_answers_what_is_open_and_refuses_the_rest) {
  http_fixture fixture;
  http_client client(fixture.server->port());
  client.post("/v1/echo", R"({"stream": true})");
  const auto id = fixture.engine->request(1).id;
  fixture.engine->say(id, "a");
  client.until("a\r\n");
  std::atomic<bool> quiet = false;
  fixture.server->drain([&] { quiet = true; });
  BOOST_TEST(fixture.get("/live").status == 200u);
  BOOST_TEST(fixture.get("/ready").status == 503u);
  http_client late(fixture.server->port());
  late.post("/v1/echo", "{}");
  BOOST_TEST(late.read().status == 503u);
  BOOST_TEST(late.rest().empty()); // It was told to close.
  BOOST_TEST(!quiet);
  fixture.engine->say(id, "b");
  fixture.engine->end(id);
  BOOST_TEST(client.read().body == "ab[DONE]");
  for (int i = 0; i < 3000 && !quiet; ++i)
    std::this_thread::sleep_for(10ms);
  BOOST_TEST(quiet);
}

BOOST_AUTO_TEST_CASE(an_engine_that_does_not_answer_is_neither_ready_nor_healthy) {
  http_fixture fixture([](http_options& o) { o.limits.status_ms = 50; });
  fixture.engine->answers_questions = false;
  for (const std::string path : {"/ready", "/health", "/load"})
    BOOST_TEST(fixture.get(path).status == 503u, path);
  BOOST_TEST(fixture.get("/live").status == 200u);
}

BOOST_AUTO_TEST_CASE(many_who_ask_at_once_are_one_question) {
  http_fixture fixture([](http_options& o) { o.limits.status_ms = 300; });
  fixture.engine->answers_questions = false;
  std::vector<std::unique_ptr<http_client>> clients;
  for (int i = 0; i < 20; ++i)
    clients.emplace_back(std::make_unique<http_client>(fixture.server->port()))->get("/health");
  for (auto& client : clients)
    BOOST_TEST(client->read().status == 503u);
  BOOST_TEST(fixture.engine->questions <= 3);
}

BOOST_AUTO_TEST_CASE(only_who_shows_actors_asks_for_them) {
  http_fixture fixture;
  for (const std::string path : {"/ready", "/health", "/load"})
    BOOST_TEST(fixture.get(path).status == 200u, path);
  BOOST_TEST(fixture.engine->questions_of_actors == 0);
  for (const std::string path : {"/stage", "/metrics"})
    BOOST_TEST(fixture.get(path).status == 200u, path);
  BOOST_TEST(fixture.engine->questions_of_actors == 2);
}

BOOST_AUTO_TEST_CASE(who_waits_is_told_once_though_the_answer_comes_when_its_time_has_run_out) {
  struct silent : engine_link {
    std::optional<std::uint32_t> choose_stream() override { return std::nullopt; }
    void submit(std::uint32_t, generate_request) override {}
    void cancel(std::uint32_t, request_id) override {}
    void pause(std::uint32_t, request_id) override {}
    void resume(std::uint32_t, request_id) override {}
    void ask_report(bool, report_taker asked) override { take = std::move(asked); }
    report_taker take;
  };
  boost::asio::io_context thread;
  http_limits limits;
  limits.status_ms = 2;
  status_board board(thread.get_executor(), limits);
  const auto engine = std::make_shared<silent>();
  board.attach(engine);
  boost::asio::steady_timer answer(thread, 1ms); // Both timers have run out when the thread looks.
  answer.async_wait([&](const boost::system::error_code&) { engine->take(engine_report{}); });
  int told = 0;
  board.ask([&](const expected<engine_report>& report) {
    ++told;
    BOOST_TEST(report.has_value());
  });
  std::this_thread::sleep_for(20ms);
  thread.run();
  BOOST_TEST(told == 1);
}

BOOST_AUTO_TEST_CASE(a_stuck_step_lost_workers_or_no_engine_make_it_unhealthy) {
  http_fixture fixture;
  fixture.engine->report.step_ms = 31000;
  BOOST_TEST(fixture.get("/health").status == 503u);
  BOOST_TEST(fixture.get("/ready").status == 200u); // Requests are taken.
  fixture.engine->report.step_ms = 29000;
  BOOST_TEST(fixture.get("/health").status == 200u);
  fixture.engine->report.sick = error{errc::unavailable, "Its workers are gone."};
  BOOST_TEST(fixture.get("/health").status == 503u);
  fixture.engine->report.sick.reset();
  fixture.engine->report.status.engines = 0;
  BOOST_TEST(fixture.get("/health").status == 503u);
  BOOST_TEST(fixture.get("/ready").status == 503u);
}

BOOST_AUTO_TEST_CASE(version_load_and_models_have_the_shapes_that_others_read) {
  http_fixture fixture;
  auto& status = fixture.engine->report.status;
  status.kv_blocks = 100;
  status.kv_free = 40;
  status.kv_cached = 30;
  status.kv_leased = 5;
  status.running = 7;
  status.tiers.push_back({.name = "host"});
  BOOST_TEST(nlohmann::json::parse(fixture.get("/version").body)["version"] == "1.2.3");
  const auto load = nlohmann::json::parse(fixture.get("/load").body);
  BOOST_TEST(load["running"] == 7);
  BOOST_TEST(load["kv_usage"].get<double>() == 0.25);
  BOOST_TEST(load["tiers"][0]["name"] == "host");
  const auto models = nlohmann::json::parse(fixture.get("/v1/models").body);
  BOOST_TEST(models["object"] == "list");
  BOOST_REQUIRE(models["data"].size() == 1u);
  BOOST_TEST(models["data"][0]["id"] == "tiny");
  BOOST_TEST(models["data"][0]["max_model_len"] == 512);
  BOOST_TEST(nlohmann::json::parse(fixture.get("/v1/models/t%69ny").body)["id"] == "tiny");
  BOOST_TEST(fixture.get("/v1/models/other").status == 404u);
}

BOOST_AUTO_TEST_SUITE_END()
