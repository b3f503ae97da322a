// Workers whose device samples by itself, and begins a step before the one before it has ended.
#include "tests/actors/engine_fixture.hpp"
#include "tests/support/sampling_backend.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

struct ahead_fixture {
  sampling_backend::counter ahead = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::shared_ptr<fake_device> device = std::make_shared<fake_device>();
  engine_fixture engine{[this](engine_options& o) {
    device->vocabulary = tiny()->program.vocabulary;
    o.make_backend = [this, blocks = o.kv_blocks]() -> expected<std::unique_ptr<backend>> {
      return std::make_unique<sampling_backend>(std::make_unique<fake_backend>(device, blocks), device->vocabulary,
                                                ahead, 10'000);
    };
  }};
};

} // namespace

BOOST_AUTO_TEST_SUITE(running_ahead)

BOOST_AUTO_TEST_CASE(an_answer_is_the_same_whoever_knows_its_tokens_first) {
  ahead_fixture f;
  client c(f.engine);
  for (std::uint32_t i = 0; i < 6; ++i)
    c.submit(i, numbered_prompt(i, 10 + i * 9), 40);
  for (std::uint32_t i = 0; i < 6; ++i)
    BOOST_TEST(c.wait(i).tokens == f.engine.right_answer(numbered_prompt(i, 10 + i * 9), 40),
               boost::test_tools::per_element());
  BOOST_TEST(*f.ahead > 20u);
}

BOOST_AUTO_TEST_CASE(steps_that_need_more_than_a_token_wait_for_the_one_before) {
  ahead_fixture f;
  client c(f.engine);
  const auto prompt = numbered_prompt(1, 12);
  const auto right = f.engine.right_answer(prompt, 30);
  c.submit(1, prompt, 30,
           [](generate_request& r) { r.sampling.repetition_penalty = 1.0001f; }); // Of logits that are 0 or 1.
  c.wait(1);
  BOOST_TEST(*f.ahead == 0u);
  c.submit(2, prompt, 30, [](generate_request& r) { r.sampling.logprobs = 2; });
  c.submit(3, prompt, 30, [](generate_request& r) { r.sampling.prompt_logprobs = 1; });
  BOOST_TEST(c.wait(2).tokens == right, boost::test_tools::per_element());
  BOOST_TEST(c.wait(3).tokens == right, boost::test_tools::per_element());
  BOOST_TEST(c.answers[2].logprobs.size() == 30u);
  BOOST_TEST(c.answers[3].prompt_logprobs.size() > 0u);
  BOOST_TEST(*f.ahead > 0u);
}

BOOST_AUTO_TEST_CASE(a_token_that_cannot_be_sampled_ends_its_sequence_alone) {
  ahead_fixture f;
  client c(f.engine);
  c.submit(1, numbered_prompt(1, 20), 60);
  c.take_until([&] { return c.answers[1].tokens.size() >= 2; });
  c.submit(2, numbered_prompt(2, 20), 10, [](generate_request& r) {
    r.sampling.allowed_tokens = tiny()->end_tokens();
    r.sampling.min_tokens = 1;
  });
  BOOST_CHECK(c.wait(2).ends[0].failure.code == errc::invalid_argument);
  BOOST_TEST(c.wait(1).tokens == f.engine.right_answer(numbered_prompt(1, 20), 60), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_worker_that_dies_with_steps_under_way_costs_no_token) {
  ahead_fixture f;
  client c(f.engine);
  f.device->crash_in_steps = 12;
  for (std::uint32_t i = 0; i < 4; ++i)
    c.submit(i, numbered_prompt(i, 20), 40);
  for (std::uint32_t i = 0; i < 4; ++i)
    BOOST_TEST(c.wait(i).tokens == f.engine.right_answer(numbered_prompt(i, 20), 40),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
