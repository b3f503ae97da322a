// Contracts of a request's life: one ending, the right tokens, cancel in every phase, no leak.
#include "tests/actors/engine_fixture.hpp"

#include "model/answer_text.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(requests)

BOOST_AUTO_TEST_CASE(a_request_gets_its_tokens_and_exactly_one_ending) {
  engine_fixture engine;
  client c(engine);
  const auto prompt = numbered_prompt(1, 40);
  c.submit(1, prompt, 25);
  const auto& a = c.wait(1);
  BOOST_TEST(a.tokens == engine.right_answer(prompt, 25), boost::test_tools::per_element());
  BOOST_REQUIRE(a.ends.size() == 1u);
  BOOST_CHECK(a.ends[0].reason == finish_reason::length);
  BOOST_TEST(a.ends[0].usage.prompt_tokens == 40u);
  BOOST_TEST(a.ends[0].timings.first_token_ms > 0);
  BOOST_TEST(a.ends[0].timings.total_ms >= a.ends[0].timings.first_token_ms);
  answer_text text(tiny()->tokens, {});
  std::string shown;
  for (auto token : a.tokens)
    shown += text.feed(token);
  BOOST_TEST(a.text == shown + text.finish());
}

BOOST_AUTO_TEST_CASE(a_text_prompt_is_encoded_as_it_stands_and_a_chat_by_the_template) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, prompt_text("hello <|im_end|>"), 4);
  c.submit(2, prompt_messages{{"user", "hello"}}, 4);
  const auto text = tiny()->tokens->encode({{"hello <|im_end|>", false}});
  BOOST_TEST(c.wait(1).tokens == engine.right_answer(text, 4), boost::test_tools::per_element());
  auto parts = prompt_text_of(*tiny(), prompt_messages{{"user", "hello"}}, 0);
  BOOST_REQUIRE(parts);
  BOOST_TEST(c.wait(2).tokens == engine.right_answer(tiny()->tokens->encode(*parts), 4),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_of_64_requests_at_once_gets_the_tokens_that_it_gets_alone_although_blocks_are_short) {
  engine_fixture engine([](engine_options& o) { o.kv_blocks = 24; });
  std::vector<std::unique_ptr<client>> clients;
  for (int i = 0; i < 8; ++i)
    clients.push_back(std::make_unique<client>(engine));
  for (std::uint32_t i = 0; i < 64; ++i)
    clients[i % 8]->submit(i, numbered_prompt(i, 1 + i % 50), 60);
  for (std::uint32_t i = 0; i < 64; ++i)
    BOOST_TEST(clients[i % 8]->wait(i).tokens == engine.right_answer(numbered_prompt(i, 1 + i % 50), 60),
               boost::test_tools::per_element());
  BOOST_TEST(engine.counts().preemptions > 0u);
  BOOST_TEST(engine.device->most_rows <= 64u);
}

BOOST_AUTO_TEST_CASE(a_thousand_requests_in_a_row_leak_no_block) {
  engine_fixture engine;
  client c(engine);
  for (std::uint32_t i = 0; i < 1000; ++i) {
    c.submit(i, numbered_prompt(i, 20), 3);
    BOOST_REQUIRE(c.wait(i).tokens.size() == 3u);
  }
  engine.eventually("all blocks are free again", [&] { return engine.blocks().owned == 0; });
}

BOOST_AUTO_TEST_CASE(a_request_can_be_cancelled_before_while_and_after_it_runs) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 30), 500); // at once: it is being admitted
  c.cancel(1);
  BOOST_CHECK(c.wait(1).ends[0].reason == finish_reason::cancelled);
  c.submit(2, prompt_text(std::string(300, 'x')), 10, [](generate_request& r) { r.credit = 0; }); // or encoded
  c.cancel(2);
  BOOST_CHECK(c.wait(2).ends[0].reason == finish_reason::cancelled);
  engine.device->steps_gate.shut();
  c.submit(3, numbered_prompt(3, 400), 100); // in its prefill, which takes seven steps
  engine.device->steps_gate.wait_for_somebody();
  c.cancel(3);
  BOOST_CHECK(c.wait(3).ends[0].reason == finish_reason::cancelled);
  engine.device->steps_gate.open();
  BOOST_TEST(c.answers[3].tokens.empty());
  c.submit(4, numbered_prompt(4, 10), 500, [](generate_request& r) { r.credit = 5; }); // while it decodes
  c.take_until([&] { return c.answers[4].tokens.size() == 5; });
  c.cancel(4);
  BOOST_CHECK(c.wait(4).ends[0].reason == finish_reason::cancelled);
  c.cancel(4); // after its end: nothing
  c.cancel(99);
  c.answers[4] = {};
  c.submit(4, numbered_prompt(4, 10), 2); // its id is free again
  BOOST_CHECK(c.wait(4).ends[0].reason == finish_reason::length);
}

BOOST_AUTO_TEST_CASE(a_request_waits_until_its_first_step_is_planned_and_that_step_is_its_prefill) {
  struct ends final : observer {
    void ended(const request_record& request) override { records.push_back(request); }
    std::vector<request_record> records;
  };
  const auto seen = std::make_shared<ends>();
  constexpr auto held = 200ms;
  {
    engine_fixture engine([&](engine_options& o) { o.observed_by.push_back(seen); });
    client c(engine);
    engine.device->steps_gate.shut();
    c.submit(1, numbered_prompt(1, 20), 2);
    engine.device->steps_gate.wait_for_somebody();
    std::this_thread::sleep_for(held);
    engine.device->steps_gate.open();
    c.wait(1);
  }
  BOOST_REQUIRE(seen->records.size() == 1u);
  const auto& record = seen->records.front();
  BOOST_REQUIRE((record.queue_s && record.prefill_s));
  BOOST_TEST(*record.prefill_s >= std::chrono::duration<double>(held).count());
  BOOST_TEST(record.longest_answer == 2u);
}

BOOST_AUTO_TEST_CASE(a_cancelled_request_frees_its_blocks_within_two_steps) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 100), 400);
  c.take_until([&] { return !c.answers[1].tokens.empty(); });
  engine.device->steps_gate.shut();
  engine.device->steps_gate.wait_for_somebody(); // in flight
  const auto before = engine.device->steps.load();
  c.cancel(1);
  c.wait(1);
  BOOST_TEST(engine.blocks().owned > 0u);
  engine.device->steps_gate.open();
  engine.eventually("its blocks are free", [&] { return engine.blocks().owned == 0; });
  BOOST_TEST(engine.device->steps.load() <= before + 2);
}

BOOST_AUTO_TEST_CASE(a_client_that_goes_away_is_cancelled) {
  engine_fixture engine;
  {
    client c(engine);
    c.submit(1, numbered_prompt(1, 100), 400);
    c.submit(2, prompt_text("some text"), 400);
    c.take_until([&] { return !c.answers[1].tokens.empty(); });
  }
  engine.eventually("nothing of it is left",
                    [&] { return engine.open_requests() == 0 && engine.blocks().owned == 0; });
}

BOOST_AUTO_TEST_CASE(a_request_without_credit_pauses_alone_and_goes_on_when_granted) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 10), 40, [](generate_request& r) { r.credit = 5; });
  c.submit(2, numbered_prompt(2, 10), 40);
  c.wait(2);
  BOOST_TEST(c.answers[1].tokens.size() == 5u);
  engine.eventually("it is paused", [&] { return engine.counts().paused == 1; });
  c.grant(1, 10);
  c.take_until([&] { return c.answers[1].tokens.size() == 15; });
  c.grant(1, 1000);
  BOOST_TEST(c.wait(1).tokens == engine.right_answer(numbered_prompt(1, 10), 40), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_id_that_is_open_is_refused_and_the_first_request_goes_on) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 10), 30, [](generate_request& r) { r.credit = 3; });
  c.submit(1, numbered_prompt(2, 10), 30);
  c.take_until([&] { return c.errors.size() == 1; });
  BOOST_CHECK(c.errors[0].failure.code == errc::invalid_argument);
  c.grant(1, 100);
  BOOST_TEST(c.wait(1).tokens == engine.right_answer(numbered_prompt(1, 10), 30), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_request_is_its_ending) {
  engine_fixture engine;
  client c(engine);
  auto refused = [&](request_id id, errc code, const char* names) {
    const auto& a = c.wait(id);
    BOOST_TEST_CONTEXT("request " << id << ": " << a.ends[0].failure.message) {
      BOOST_CHECK(a.ends[0].reason == finish_reason::error);
      BOOST_CHECK(a.ends[0].failure.code == code);
      BOOST_TEST(a.ends[0].failure.message.find(names) != std::string::npos);
    }
  };
  c.submit(1, numbered_prompt(1, 10), 0);
  refused(1, errc::invalid_argument, "max_tokens");
  c.submit(2, numbered_prompt(1, 10), 5, [](generate_request& r) { r.sampling.temperature = -1; });
  refused(2, errc::invalid_argument, "temperature");
  c.submit(3, prompt_tokens{}, 5);
  refused(3, errc::invalid_argument, "");
  c.submit(4, prompt_text(""), 5);
  refused(4, errc::invalid_argument, "");
  c.submit(5, prompt_tokens{1, 2, 1000000}, 5);
  refused(5, errc::invalid_argument, "tokens[2]");
  c.submit(6, numbered_prompt(1, 600), 5);
  refused(6, errc::context_overflow, "600");
  c.submit(7, prompt_text("\xff\xfe"), 5);
  refused(7, errc::malformed, "UTF-8");
}

BOOST_AUTO_TEST_CASE(a_full_queue_refuses_and_takes_again_when_there_is_room) {
  engine_fixture engine([](engine_options& o) { o.limits.max_open_requests = 2; });
  client c(engine);
  auto held = [](generate_request& r) { r.credit = 1; };
  c.submit(1, numbered_prompt(1, 10), 30, held);
  c.submit(2, numbered_prompt(2, 10), 30, held);
  c.submit(3, numbered_prompt(3, 10), 30);
  BOOST_CHECK(c.wait(3).ends[0].failure.code == errc::queue_full);
  c.cancel(1);
  c.wait(1);
  c.submit(4, numbered_prompt(4, 10), 5);
  BOOST_CHECK(c.wait(4).ends[0].reason == finish_reason::length);
  c.cancel(2);
  c.wait(2);
}

BOOST_AUTO_TEST_CASE(an_answer_ends_before_a_stop_string) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 10), 60);
  const auto shown = c.wait(1).text; // as UTF-8: broken bytes are replaced
  const auto letter = std::find_if(shown.begin() + 5, shown.end(),
                                   [](char ch) { return std::isalnum(static_cast<unsigned char>(ch)); });
  BOOST_REQUIRE(letter != shown.end());
  const std::string stop(1, *letter);
  c.submit(2, numbered_prompt(1, 10), 60, [&](generate_request& r) { r.sampling.stop = {stop}; });
  const auto& a = c.wait(2);
  BOOST_CHECK(a.ends[0].reason == finish_reason::stop);
  BOOST_TEST(a.text == shown.substr(0, shown.find(stop)));
  BOOST_TEST(a.tokens.size() < 60u);
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_answer_and_another_seed_another) {
  engine_fixture engine;
  client c(engine);
  auto seeded = [](std::uint64_t seed) {
    return [=](generate_request& r) {
      r.sampling.temperature = 1;
      r.sampling.seed = seed;
      r.sampling.ignore_eos = true;
    };
  };
  c.submit(1, numbered_prompt(1, 10), 30, seeded(5));
  c.submit(2, numbered_prompt(1, 10), 30, seeded(5));
  c.submit(3, numbered_prompt(1, 10), 30, seeded(6));
  BOOST_TEST(c.wait(1).tokens == c.wait(2).tokens, boost::test_tools::per_element());
  BOOST_TEST((c.wait(1).tokens != c.wait(3).tokens));
}

BOOST_AUTO_TEST_CASE(a_short_prompt_is_not_held_up_by_a_long_one) {
  tiny_model_options long_context;
  long_context.context = 1u << 23;
  engine_fixture engine([&](engine_options& o) {
    o.tokenizers = 1;
    o.source = load_tiny(long_context);
    o.kv_blocks = long_context.context / tokens_per_block;
  });
  client c(engine);
  std::string text;
  for (int i = 0; text.size() < 8000000; ++i)
    text += "word" + std::to_string(i) + " ";
  c.submit(1, prompt_text(text), 5); // hundreds of slices
  c.submit(2, prompt_text("short"), 1);
  c.wait(2);
  BOOST_TEST(!c.answers[1].ended());
  c.cancel(1);
  BOOST_CHECK(c.wait(1).ends[0].reason == finish_reason::cancelled);
}

BOOST_AUTO_TEST_CASE(a_prompt_that_is_too_long_is_not_encoded_to_its_end) {
  engine_fixture engine;
  client c(engine);
  std::string text;
  while (text.size() < 20000000)
    text += "word ";
  c.submit(1, prompt_text(text), 5);
  BOOST_CHECK(c.wait(1).ends[0].failure.code == errc::context_overflow);
  BOOST_TEST(c.answers[1].ends[0].usage.prompt_tokens == 0u); // it was never counted
}

BOOST_AUTO_TEST_CASE(several_answers_are_each_what_one_alone_with_its_noise_is_and_share_the_prompt) {
  engine_fixture engine;
  client c(engine);
  const auto seeded = [](std::uint32_t n) {
    return [=](generate_request& r) {
      r.n = n;
      r.sampling.temperature = 1;
      r.sampling.seed = 5;
      r.sampling.ignore_eos = true;
    };
  };
  c.submit(1, numbered_prompt(1, 100), 30, seeded(4));
  c.submit(2, numbered_prompt(2, 40), 30, seeded(2));
  c.submit(3, numbered_prompt(1, 100), 30, seeded(1));
  for (request_id id : {1, 2, 3})
    BOOST_CHECK(c.wait(id).ends[0].reason == finish_reason::length);
  auto& four = c.answers[1];
  BOOST_TEST(four.tokens == c.answers[3].tokens, boost::test_tools::per_element());
  BOOST_REQUIRE(four.others.size() == 3u);
  for (std::uint32_t choice = 1; choice < 4; ++choice) {
    BOOST_TEST(four.others[choice].size() == 30u);
    BOOST_TEST((four.others[choice] != four.tokens));
  }
  BOOST_TEST((four.others[1] != four.others[2]));
  BOOST_TEST(four.ends[0].usage.prompt_tokens == 100u);
  BOOST_TEST(four.ends[0].usage.completion_tokens == 120u);
}

BOOST_AUTO_TEST_CASE(greedy_answers_to_one_prompt_are_all_the_right_one) {
  engine_fixture engine([](engine_options& o) { o.kv_blocks = 24; }); // and some are preempted
  client c(engine);
  for (request_id id = 1; id <= 6; ++id)
    c.submit(id, numbered_prompt(static_cast<std::uint32_t>(id), 50), 40, [](generate_request& r) { r.n = 3; });
  for (request_id id = 1; id <= 6; ++id) {
    const auto right = engine.right_answer(numbered_prompt(static_cast<std::uint32_t>(id), 50), 40);
    BOOST_TEST(c.wait(id).tokens == right, boost::test_tools::per_element());
    for (std::uint32_t choice : {1, 2})
      BOOST_TEST(c.answers[id].others[choice] == right, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(answers_share_their_requests_credit_until_it_is_used_up) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 30, [](generate_request& r) {
    r.n = 3;
    r.credit = 10;
  });
  const auto given = [&] {
    auto sum = c.answers[1].tokens.size();
    for (const auto& [choice, tokens] : c.answers[1].others)
      sum += tokens.size();
    return sum;
  };
  for (std::size_t granted = 10; granted < 90; granted += 7) {
    c.take_until([&] { return given() >= granted; });
    engine.eventually("all are paused", [&] { return engine.counts().paused == 3; }); // They grow alike.
    c.take_present();
    BOOST_TEST(given() == granted);
    c.grant(1, 7);
  }
  BOOST_CHECK(c.wait(1).ends[0].reason == finish_reason::length);
  BOOST_TEST(given() == 90u);
}

BOOST_AUTO_TEST_CASE(a_paused_request_gets_no_tokens_and_goes_on_where_it_was_when_resumed) {
  engine_fixture engine;
  client c(engine);
  c.submit(1, numbered_prompt(1, 20), 300);
  c.take_until([&] { return c.answers[1].tokens.size() >= 5; });
  c.pause(1);
  engine.eventually("it is paused", [&] { return engine.counts().paused == 1; });
  c.take_present();
  const auto so_far = c.answers[1].tokens.size();
  c.submit(2, numbered_prompt(2, 20), 50);
  c.wait(2);
  BOOST_TEST(c.answers[1].tokens.size() <= so_far + 2); // of steps that were in flight
  c.resume(1);
  BOOST_TEST(c.wait(1).tokens == engine.right_answer(numbered_prompt(1, 20), 300), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_best_answer_of_several_is_one_of_them) {
  engine_fixture engine;
  client c(engine);
  const auto sampled = [](std::uint32_t n, std::uint32_t best_of) {
    return [=](generate_request& r) {
      r.n = n;
      r.best_of = best_of;
      r.sampling.temperature = 1;
      r.sampling.ignore_eos = true;
      r.sampling.logprobs = 0;
    };
  };
  c.submit(1, numbered_prompt(1, 20), 12, sampled(4, 0));
  c.submit(2, numbered_prompt(1, 20), 12, sampled(1, 4));
  const auto all = c.wait(1).ends[0].choices;
  const auto& best = c.wait(2);
  BOOST_REQUIRE(all.size() == 4u);
  BOOST_REQUIRE(best.ends[0].choices.size() == 1u);
  const auto first = std::max_element(all.begin(), all.end(),
                                      [](const auto& a, const auto& b) { return a.mean_logprob < b.mean_logprob; });
  BOOST_REQUIRE(first->mean_logprob);
  BOOST_TEST(*best.ends[0].choices[0].mean_logprob == *first->mean_logprob);
  BOOST_TEST(best.tokens == (first->choice == 0 ? c.answers[1].tokens : c.answers[1].others[first->choice]),
             boost::test_tools::per_element());
  BOOST_TEST(best.logprobs.size() == 12u);
  BOOST_TEST(best.ends[0].usage.completion_tokens == 48u);
}

BOOST_AUTO_TEST_CASE(logprobs_of_the_prompt_are_all_there_whatever_its_chunks) {
  engine_fixture engine([](engine_options& o) { o.plan.max_batched_tokens = 16; });
  client c(engine);
  c.submit(1, numbered_prompt(1, 75), 3, [](generate_request& r) {
    r.n = 2;
    r.sampling.prompt_logprobs = 1;
  });
  const auto& a = c.wait(1);
  BOOST_REQUIRE(a.prompt_logprobs.size() == 74u);
  const auto prompt = numbered_prompt(1, 75);
  for (std::size_t i = 0; i < 74; ++i)
    BOOST_TEST(a.prompt_logprobs[i].token == prompt[i + 1]);
}

BOOST_AUTO_TEST_CASE(stopping_ends_every_request_with_a_reason) {
  auto engine = std::make_unique<engine_fixture>();
  client c(*engine);
  c.submit(1, numbered_prompt(1, 10), 400, [](generate_request& r) { r.credit = 2; });
  c.take_until([&] { return c.answers[1].tokens.size() == 2; });
  caf::anon_send(engine->supervisor, stop_atom::value);
  BOOST_CHECK(c.wait(1).ends[0].failure.code == errc::unavailable);
  engine->expect_failure = true; // there is nobody left to ask
}

BOOST_AUTO_TEST_SUITE_END()
