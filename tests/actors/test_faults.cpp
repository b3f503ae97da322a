// A worker's death is not a request's death; and when the engine gives up, everybody is told why.
#include "tests/actors/engine_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(faults)

BOOST_AUTO_TEST_CASE(requests_outlive_a_worker_that_crashes_in_any_step) {
  for (int crash_after : {0, 1, 2, 7, 20}) {
    BOOST_TEST_CONTEXT("crash in step " << crash_after) {
      engine_fixture engine;
      client c(engine);
      engine.device->crash_in_steps = crash_after;
      for (std::uint32_t i = 0; i < 12; ++i)
        c.submit(i, numbered_prompt(i, 5 + 9 * i), 30);
      for (std::uint32_t i = 0; i < 12; ++i)
        BOOST_TEST(c.wait(i).tokens == engine.right_answer(numbered_prompt(i, 5 + 9 * i), 30),
                   boost::test_tools::per_element());
      BOOST_TEST(engine.device->made == 2);
    }
  }
}

BOOST_AUTO_TEST_CASE(requests_outlive_a_worker_that_is_killed_while_it_computes) {
  engine_fixture engine;
  engine.device->step_time = 1ms;
  client c(engine);
  for (std::uint32_t i = 0; i < 4; ++i)
    c.submit(i, numbered_prompt(i, 20), 40);
  c.take_until([&] { return c.answers[0].tokens.size() >= 5; });
  caf::anon_send_exit(engine.tree.engines.front().workers.front(), caf::exit_reason::kill);
  for (std::uint32_t i = 0; i < 4; ++i)
    BOOST_TEST(c.wait(i).tokens == engine.right_answer(numbered_prompt(i, 20), 40), boost::test_tools::per_element());
  BOOST_TEST(engine.device->made == 2);
}

BOOST_AUTO_TEST_CASE(a_request_may_be_cancelled_while_there_is_no_worker) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 400);
  c.take_until([&] { return c.answers[1].tokens.size() >= 3; });
  engine.device->loading_gate.shut();
  engine.device->crash_in_steps = 0;
  engine.device->loading_gate.wait_for_somebody(); // the next worker loads
  c.cancel(1);
  BOOST_CHECK(c.wait(1).ends[0].reason == finish_reason::cancelled);
  c.submit(2, numbered_prompt(2, 20), 10);
  engine.device->loading_gate.open();
  BOOST_TEST(c.wait(2).tokens == engine.right_answer(numbered_prompt(2, 20), 10), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_worker_that_crashes_again_and_again_is_given_up_with_the_reason) {
  engine_fixture engine([](engine_options& o) {
    o.max_restarts = 3;
    o.make_backend = []() -> expected<std::unique_ptr<backend>> {
      auto device = std::make_shared<fake_device>();
      device->vocabulary = tiny()->program.vocabulary;
      device->crash_in_steps = 0;
      return std::make_unique<fake_backend>(device, 64);
    };
  });
  engine.expect_failure = true;
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 10);
  const auto& a = c.wait(1);
  BOOST_CHECK(a.ends[0].failure.code == errc::unavailable);
  BOOST_TEST(a.ends[0].failure.message.find("4 times") != std::string::npos, a.ends[0].failure.message);
  BOOST_TEST(a.ends[0].failure.message.find("the device has crashed") != std::string::npos,
             a.ends[0].failure.message);
  c.submit(2, numbered_prompt(2, 20), 10); // and everyone later is told too
  BOOST_CHECK(c.wait(2).ends[0].failure.code == errc::unavailable);
}

BOOST_AUTO_TEST_CASE(weights_that_cannot_be_loaded_end_every_request_with_the_reason_and_are_not_tried_again) {
  int tries = 0;
  engine_fixture engine([&](engine_options& o) {
    o.make_backend = [&]() -> expected<std::unique_ptr<backend>> {
      ++tries;
      return fail(errc::out_of_memory, "There is no memory for the weights.");
    };
  });
  engine.expect_failure = true;
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 10);
  BOOST_CHECK(c.wait(1).ends[0].failure.code == errc::out_of_memory);
  auto info = engine.ask<expected<worker_info>>(engine.tree.engines.front().executor, info_atom::value);
  BOOST_REQUIRE(!info);
  BOOST_TEST(info.error().message == "There is no memory for the weights.");
  BOOST_TEST(tries == 1);
}

BOOST_AUTO_TEST_CASE(a_model_that_computes_no_numbers_is_an_error_and_not_an_answer) {
  class broken_backend : public fake_backend {
    using fake_backend::fake_backend;
    expected<void> forward(const forward_batch&, std::span<float> logits) override {
      std::fill(logits.begin(), logits.end(), std::numeric_limits<float>::quiet_NaN());
      return {};
    }
  };
  engine_fixture engine([](engine_options& o) {
    o.make_backend = []() -> expected<std::unique_ptr<backend>> {
      auto device = std::make_shared<fake_device>();
      device->vocabulary = tiny()->program.vocabulary;
      return std::make_unique<broken_backend>(device, 64);
    };
  });
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 10);
  BOOST_CHECK(c.wait(1).ends[0].failure.code == errc::internal);
  BOOST_TEST(c.answers[1].tokens.empty());
}

BOOST_AUTO_TEST_CASE(a_request_that_leaves_no_token_to_sample_ends_alone) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 60);
  c.take_until([&] { return c.answers[1].tokens.size() >= 2; });
  const auto nothing_left = [](generate_request& r) {
    r.sampling.allowed_tokens = tiny()->end_tokens();
    r.sampling.min_tokens = 1;
  };
  c.submit(2, numbered_prompt(2, 20), 10, nothing_left);
  c.submit(3, numbered_prompt(3, 20), 10, [&](generate_request& r) {
    nothing_left(r);
    r.n = 3;
  });
  BOOST_CHECK(c.wait(2).ends[0].failure.code == errc::invalid_argument);
  BOOST_TEST(c.answers[2].tokens.empty());
  BOOST_CHECK(c.wait(3).ends[0].failure.code == errc::invalid_argument);
  BOOST_TEST(c.wait(1).tokens == engine.right_answer(numbered_prompt(1, 20), 60), boost::test_tools::per_element());
  c.submit(4, numbered_prompt(4, 20), 10);
  BOOST_TEST(c.wait(4).tokens == engine.right_answer(numbered_prompt(4, 20), 10), boost::test_tools::per_element());
  BOOST_TEST(engine.device->made == 1);
}

BOOST_AUTO_TEST_CASE(an_engine_that_has_given_up_fails_its_check_and_ends_where_that_is_wanted) {
  for (const bool ends : {false, true}) {
    gate loading; // It ends when it cannot load, whether anybody waits for an answer or not.
    loading.shut();
    engine_fixture engine([&](engine_options& o) {
      o.stop_when_failed = ends;
      o.make_backend = [&loading]() -> expected<std::unique_ptr<backend>> {
        loading.pass();
        return fail(errc::out_of_memory, "There is no memory for the weights.");
      };
    });
    engine.expect_failure = true;
    client c(engine);
    c.submit(1, numbered_prompt(1, 20), 10);
    loading.open();
    BOOST_TEST(c.wait(1).ends[0].failure.message == "There is no memory for the weights.");
    if (!ends) {
      const auto checked = engine.ask<expected<nothing>>(engine.tree.engines.front().scheduler, check_atom::value);
      BOOST_REQUIRE(!checked);
      BOOST_TEST(checked.error().message == "There is no memory for the weights.");
      BOOST_TEST(
        engine.ask<executor_status>(engine.tree.engines.front().executor, status_atom::value).failed.has_value());
      continue;
    }
    caf::scoped_actor self(engine.system());
    self->monitor(engine.supervisor);
    self->receive(
      [](const caf::down_msg& down) {
        BOOST_TEST(caf::to_string(down.reason).find("no memory") != std::string::npos);
      },
      caf::after(20s) >> [] { BOOST_ERROR("the engine goes on"); });
  }
}

BOOST_AUTO_TEST_CASE(a_request_that_excludes_every_token_ends_alone) {
  engine_fixture engine;
  client c(engine);
  const auto letter = tiny()->tokens->encode("x");
  const auto end = tiny()->end_tokens().front();
  for (std::uint32_t i = 0; i < 4; ++i)
    c.submit(i, numbered_prompt(i, 20), 40);
  c.submit(10, numbered_prompt(10, 20), 40, [&](generate_request& r) {
    r.sampling.allowed_tokens = {end};
    r.sampling.min_tokens = 5;
  });
  c.submit(11, numbered_prompt(11, 20), 40, [&](generate_request& r) { // After some tokens, at once in all answers.
    r.sampling.allowed_tokens = letter;
    r.sampling.bad_words = {"xxx"};
    r.n = 2;
  });
  for (request_id id : {10, 11}) {
    BOOST_REQUIRE(c.wait(id).ends.size() == 1u);
    BOOST_CHECK(c.answers[id].ends[0].reason == finish_reason::error);
    BOOST_CHECK(c.answers[id].ends[0].failure.code == errc::invalid_argument);
  }
  BOOST_TEST(c.answers[10].tokens.empty());
  BOOST_TEST(c.answers[11].tokens.size() == 2u);
  for (std::uint32_t i = 0; i < 4; ++i)
    BOOST_TEST(c.wait(i).tokens == engine.right_answer(numbered_prompt(i, 20), 40), boost::test_tools::per_element());
  BOOST_TEST(engine.device->made == 1);
}

BOOST_AUTO_TEST_CASE(the_requests_of_a_stream_that_dies_leave_nothing_behind) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 400, [](generate_request& r) { r.credit = 1; });
  c.submit(2, numbered_prompt(2, 20), 400);
  c.take_until([&] { return c.answers[1].tokens.size() == 1; });
  c.kill_stream();
  engine.eventually("its tickets are void and its blocks free",
                    [&] { return engine.open_requests() == 0 && engine.blocks().owned == 0; });
}

BOOST_AUTO_TEST_CASE(
  a_question_before_the_weights_are_loaded_is_answered_when_the_engine_ends_and_keeps_nothing_of_it) {
  gate loading;
  loading.shut();
  engine_fixture engine([&](engine_options& o) {
    o.make_backend = [&loading]() -> expected<std::unique_ptr<backend>> {
      loading.pass();
      return fail(errc::out_of_memory, "There is no memory for the weights.");
    };
  });
  engine.expect_failure = true;
  const auto executor = caf::actor_cast<caf::weak_actor_ptr>(engine.tree.engines.front().executor);
  caf::scoped_actor self(engine.system());
  auto asked = self->request(engine.tree.engines.front().executor, 20s, info_atom::value);
  engine.stop();
  asked.receive(
    [](const expected<worker_info>& info) { BOOST_TEST(info.error().message == "The engine has ended."); },
    [](const caf::error& reason) { BOOST_ERROR("no answer: " << caf::to_string(reason)); });
  loading.open();
  engine.eventually("nobody keeps the executor", [&] { return executor.lock() == nullptr; });
}

BOOST_AUTO_TEST_SUITE_END()
