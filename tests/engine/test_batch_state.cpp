#include <boost/test/unit_test.hpp>

#include "engine/batch_state.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(batch_states)

namespace {

/// A step with one sequence in slot 2, whose table has `blocks`.
step_changes joining(std::vector<block_id> blocks, std::uint32_t prompt_tokens = 4) {
  step_changes step;
  step.snapshot = true;
  step.joined.push_back({2, 70, std::make_shared<sequence_sampling>(), prompt_tokens, nullptr, 0, 0});
  step.appended.push_back({2, 0, 0, static_cast<std::uint32_t>(blocks.size())});
  step.blocks = std::move(blocks);
  return step;
}

step_rows& add_rows(step_changes& step, std::uint32_t first, std::uint32_t count, std::vector<token_id> tokens) {
  step_rows rows;
  rows.slot = 2;
  rows.first_position = first;
  rows.count = count;
  rows.offset = static_cast<std::uint32_t>(step.tokens.size());
  step.tokens.insert(step.tokens.end(), tokens.begin(), tokens.end());
  step.rows.push_back(rows);
  return step.rows.back();
}

void refused(batch_state& batch, const step_changes& step) {
  auto result = batch.apply(step);
  BOOST_REQUIRE(!result);
  BOOST_TEST((result.error().code == errc::internal || result.error().code == errc::unsupported));
}

} // namespace

BOOST_AUTO_TEST_CASE(a_decode_row_goes_on_from_the_token_that_was_sampled_last) {
  batch_state batch;
  auto first = joining({5});
  add_rows(first, 0, 4, {10, 11, 12, 13}).samples = true;
  auto rows = batch.apply(first);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->tokens == (std::vector<token_id>{10, 11, 12, 13}), boost::test_tools::per_element());
  BOOST_REQUIRE((*rows)->samples.size() == 1u);
  BOOST_TEST((*rows)->samples[0].position == 4u);
  BOOST_TEST((*rows)->logit_rows == std::vector<std::uint32_t>{3}, boost::test_tools::per_element());
  batch.sampled(2, first.step, 99);
  step_changes next;
  auto& decode = add_rows(next, 4, 1, {});
  decode.samples = decode.holds_last = true;
  rows = batch.apply(next);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->tokens == std::vector<token_id>{99}, boost::test_tools::per_element());
  BOOST_TEST((*rows)->spans[0].tables[0] == std::vector<block_id>{5}, boost::test_tools::per_element());
}

/// A step after another, whose row goes on from what that has sampled.
step_changes going_on(std::uint64_t number, std::uint32_t position) {
  step_changes next;
  next.step = number;
  auto& decode = add_rows(next, position, 1, {});
  decode.samples = decode.holds_last = true;
  return next;
}

BOOST_AUTO_TEST_CASE(a_step_ahead_has_something_in_the_place_of_tokens_that_are_not_known) {
  batch_state batch;
  auto first = joining({5});
  first.step = 1;
  add_rows(first, 0, 4, {10, 11, 12, 13}).samples = true;
  BOOST_REQUIRE(batch.apply(first));
  const auto second = going_on(2, 4), third = going_on(3, 5), fourth = going_on(4, 6);
  auto rows = batch.apply(second, true);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->tokens == std::vector<token_id>{awaited_token(0)}, boost::test_tools::per_element());
  BOOST_TEST(is_awaited((*rows)->tokens[0]));
  batch.sampled(2, 1, 99); // That of the first step: what the third goes on from is not known yet.
  rows = batch.apply(third, true);
  BOOST_REQUIRE(rows);
  BOOST_TEST(is_awaited((*rows)->tokens[0]));
  batch.sampled(2, 2, 98);
  batch.sampled(2, 3, 97);
  rows = batch.apply(fourth, true);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->tokens == std::vector<token_id>{97}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(without_its_token_only_a_step_ahead_goes_on_and_never_after_drafts) {
  batch_state batch;
  auto first = joining({5});
  first.step = 1;
  add_rows(first, 0, 4, {10, 11, 12, 13}).samples = true;
  BOOST_REQUIRE(batch.apply(first));
  refused(batch, going_on(2, 4));
  batch = batch_state();
  first.rows.front().drafts = 1; // The last one: nobody knows after how many it will be.
  BOOST_REQUIRE(batch.apply(first));
  BOOST_TEST(!batch.apply(going_on(2, 4), true));
}

BOOST_AUTO_TEST_CASE(drafts_follow_the_held_token_and_each_has_logits) {
  batch_state batch;
  auto first = joining({5});
  add_rows(first, 0, 4, {10, 11, 12, 13}).samples = true;
  BOOST_REQUIRE(batch.apply(first));
  batch.sampled(2, first.step, 99);
  step_changes next;
  auto& decode = add_rows(next, 4, 3, {7, 8});
  decode.samples = decode.holds_last = true;
  decode.drafts = 2;
  auto rows = batch.apply(next);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->tokens == (std::vector<token_id>{99, 7, 8}), boost::test_tools::per_element());
  BOOST_TEST((*rows)->logit_rows == (std::vector<std::uint32_t>{0, 1, 2}), boost::test_tools::per_element());
  const auto& sample = (*rows)->samples.at(0);
  BOOST_TEST(sample.first_logit == 0u);
  BOOST_TEST(sample.position == 5u);
  BOOST_TEST(std::vector<token_id>(sample.drafts.begin(), sample.drafts.end()) == (std::vector<token_id>{7, 8}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(logprobs_of_a_prompt_want_every_row_and_the_token_after_the_last) {
  batch_state batch;
  auto step = joining({5}, 6);
  auto& rows = add_rows(step, 0, 3, {10, 11, 12, 13}); // Position 3 has 13: it follows, but is not computed.
  rows.prompt_logprobs = true;
  auto laid_out = batch.apply(step);
  BOOST_REQUIRE(laid_out);
  BOOST_TEST((*laid_out)->tokens.size() == 3u);
  BOOST_TEST((*laid_out)->logit_rows.size() == 3u);
  BOOST_REQUIRE((*laid_out)->prompt_parts.size() == 1u);
  const auto& part = (*laid_out)->prompt_parts[0];
  BOOST_TEST(part.position == 1u);
  BOOST_TEST(std::vector<token_id>(part.tokens.begin(), part.tokens.end()) == (std::vector<token_id>{11, 12, 13}),
             boost::test_tools::per_element());
}

/// Slot 1 is pooled and comes first in the step; slot 2 samples.
step_changes pooled_beside_another(pooling how) {
  auto step = joining({5});
  auto sampling = std::make_shared<sequence_sampling>();
  sampling->pooling = how;
  step.joined.push_back({1, 71, sampling, 5, nullptr, 0, 0});
  step.appended.push_back({1, 0, 1, 1});
  step.blocks.push_back(6);
  add_rows(step, 0, 3, {20, 21, 22}).slot = 1;
  add_rows(step, 0, 4, {10, 11, 12, 13}).samples = true;
  return step;
}

BOOST_AUTO_TEST_CASE(rows_that_are_pooled_lie_behind_all_others_on_every_stage) {
  for (auto place : {stage_place::first, stage_place::middle, stage_place::last}) {
    batch_state batch(1, place);
    const auto step = pooled_beside_another(pooling::mean);
    auto rows = batch.apply(step);
    BOOST_REQUIRE(rows);
    BOOST_TEST((*rows)->tokens == (std::vector<token_id>{10, 11, 12, 13, 20, 21, 22}),
               boost::test_tools::per_element());
    const bool last = place == stage_place::last;
    BOOST_TEST((*rows)->logit_rows == (last ? std::vector<std::uint32_t>{3} : std::vector<std::uint32_t>{}));
    BOOST_TEST((*rows)->hidden_rows == (last ? std::vector<std::uint32_t>{4, 5, 6} : std::vector<std::uint32_t>{}));
    if (!last)
      continue;
    BOOST_TEST((*rows)->samples.at(0).row == 1u); // As the step has it.
    const auto& part = (*rows)->pooled_parts.at(0);
    BOOST_TEST(part.slot == 1u);
    BOOST_TEST(part.row == 0u);
    BOOST_TEST(part.first_hidden == 0u);
    BOOST_TEST(part.count == 3u);
    BOOST_TEST(!part.ends);
  }
}

BOOST_AUTO_TEST_CASE(of_a_prompt_that_is_pooled_by_its_last_token_only_that_row_is_wanted) {
  batch_state batch;
  const auto first = pooled_beside_another(pooling::last);
  auto rows = batch.apply(first);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->hidden_rows.empty());
  BOOST_TEST((*rows)->pooled_parts.empty());
  step_changes rest;
  add_rows(rest, 3, 2, {23, 24}).slot = 1;
  rows = batch.apply(rest);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->hidden_rows == std::vector<std::uint32_t>{1}, boost::test_tools::per_element());
  BOOST_TEST((*rows)->pooled_parts.at(0).ends);
  step_changes wrong;
  auto& sampling = add_rows(wrong, 4, 1, {24});
  sampling.slot = 1;
  sampling.samples = true;
  refused(batch, wrong);
}

BOOST_AUTO_TEST_CASE(every_group_has_a_table_of_its_own) {
  batch_state batch(2);
  auto step = joining({5});
  step.appended.push_back({2, 1, 1, 1});
  step.blocks.push_back(8);
  add_rows(step, 0, 2, {1, 2});
  auto rows = batch.apply(step);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->spans[0].tables[0][0] == 5u);
  BOOST_TEST((*rows)->spans[0].tables[1][0] == 8u);
}

BOOST_AUTO_TEST_CASE(a_slot_is_free_for_another_when_its_sequence_has_left) {
  batch_state batch;
  auto first = joining({5});
  add_rows(first, 0, 2, {1, 2});
  BOOST_REQUIRE(batch.apply(first));
  BOOST_TEST(batch.sequences() == 1u);
  auto second = joining({6});
  second.snapshot = false;
  refused(batch, second);
  batch_state again;
  BOOST_REQUIRE(again.apply(first));
  second.left.push_back(2);
  add_rows(second, 0, 2, {3, 4});
  auto rows = again.apply(second);
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->spans[0].tables[0][0] == 6u);
  BOOST_TEST(again.sequences() == 1u);
}

BOOST_AUTO_TEST_CASE(wrong_steps_are_refused_and_a_snapshot_heals) {
  const auto good = [] {
    auto step = joining({5});
    add_rows(step, 0, 2, {1, 2});
    return step;
  };
  batch_state batch;
  step_changes unknown;
  add_rows(unknown, 0, 1, {1});
  refused(batch, unknown);
  auto no_blocks = good();
  no_blocks.rows[0].first_position = 15; // Ends past its one block.
  refused(batch, no_blocks);
  auto no_tokens = good();
  no_tokens.tokens.pop_back();
  refused(batch, no_tokens);
  auto nothing_held = good();
  nothing_held.rows[0].holds_last = true;
  refused(batch, nothing_held);
  auto only_drafts = good();
  only_drafts.rows[0].drafts = 2;
  refused(batch, only_drafts);
  auto other_group = good();
  other_group.appended[0].group = 1;
  refused(batch, other_group);
  auto masked = good();
  masked.joined[0].mask = 1;
  refused(batch, masked);
  BOOST_TEST(batch.apply(good()).has_value());
}

namespace {

/// A step with rows of the sequence in slot 2, the first of them at `position`, going on from the token sampled last.
step_changes decode(std::uint64_t number, std::uint32_t position, std::vector<token_id> drafts = {}) {
  step_changes step;
  step.step = number;
  const auto count = static_cast<std::uint32_t>(drafts.size()) + 1;
  auto& rows = add_rows(step, position, count, std::move(drafts));
  rows.drafts = static_cast<std::uint16_t>(count - 1);
  rows.samples = rows.holds_last = true;
  return step;
}

/// Step 1 of epoch 3: slot 2 has a prompt of four tokens.
step_changes prompt() {
  auto step = joining({5, 6});
  step.epoch = 3;
  step.step = 1;
  add_rows(step, 0, 4, {10, 11, 12, 13}).samples = true;
  return step;
}

std::vector<token_id> tokens_of(batch_state& batch, const step_changes& step) {
  auto rows = batch.apply(step);
  BOOST_REQUIRE_MESSAGE(rows, rows.error().message);
  return (*rows)->tokens;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_first_stage_goes_on_when_the_last_one_has_told_what_it_sampled) {
  batch_state batch(1, stage_place::first);
  BOOST_TEST(batch.has_tokens_for(prompt()));
  auto rows = batch.apply(prompt());
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->logit_rows.empty());
  BOOST_TEST((*rows)->samples.empty());
  BOOST_TEST(!batch.has_tokens_for(decode(2, 4)));
  step_changes other; // A step of others goes on meanwhile.
  other.joined.push_back({0, 71, std::make_shared<sequence_sampling>(), 4, nullptr, 0, 0});
  other.appended.push_back({0, 0, 0, 1});
  other.blocks = {7};
  other.step = 2;
  add_rows(other, 0, 2, {1, 2}).slot = 0;
  BOOST_TEST(batch.has_tokens_for(other));
  BOOST_REQUIRE(batch.apply(other));
  BOOST_TEST(batch.take_tokens({2, 1, {44}, {}}).has_value());
  BOOST_TEST(!batch.has_tokens_for(decode(3, 4)), "those were of another epoch");
  BOOST_TEST(batch.take_tokens({3, 1, {99}, {}}).has_value());
  BOOST_TEST(batch.has_tokens_for(decode(3, 4)));
  BOOST_TEST(tokens_of(batch, decode(3, 4)) == std::vector<token_id>{99}, boost::test_tools::per_element());
  BOOST_TEST(batch.take_tokens({3, 2, {}, {}}).has_value(), "nothing was sampled in it");
  BOOST_TEST(!batch.has_tokens_for(decode(4, 5)));
  refused(batch, decode(4, 5));
}

BOOST_AUTO_TEST_CASE(of_drafts_the_last_token_that_was_sampled_counts_of_each_row) {
  batch_state batch(1, stage_place::first);
  auto step = prompt();
  step.joined.push_back({0, 71, std::make_shared<sequence_sampling>(), 4, nullptr, 0, 0});
  step.appended.push_back({0, 0, 2, 1});
  step.blocks.push_back(7);
  auto& second = add_rows(step, 0, 2, {1, 2});
  second.slot = 0;
  second.samples = true;
  BOOST_REQUIRE(batch.apply(step));
  BOOST_REQUIRE(batch.take_tokens({3, 1, {98, 50}, {}}));
  auto both = decode(2, 4, {7, 8, 9});
  auto& rows = add_rows(both, 2, 1, {});
  rows.slot = 0;
  rows.samples = rows.holds_last = true;
  BOOST_TEST(tokens_of(batch, both) == (std::vector<token_id>{98, 7, 8, 9, 50}), boost::test_tools::per_element());
  BOOST_REQUIRE(batch.take_tokens({3, 2, {7, 8, 30, 51}, {2, 0}}));
  auto next = decode(3, 7);
  auto& other = add_rows(next, 3, 1, {});
  other.slot = 0;
  other.samples = other.holds_last = true;
  BOOST_TEST(tokens_of(batch, next) == (std::vector<token_id>{30, 51}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(tokens_of_who_has_left_are_not_those_of_who_came_in_its_place) {
  batch_state batch(1, stage_place::first);
  BOOST_REQUIRE(batch.apply(prompt()));
  auto again = joining({6}); // Even the same sequence, after a preemption.
  again.snapshot = false;
  again.step = 2;
  again.left.push_back(2);
  add_rows(again, 0, 5, {10, 11, 12, 13, 99}).samples = true;
  BOOST_TEST(batch.has_tokens_for(again));
  BOOST_REQUIRE(batch.apply(again));
  BOOST_TEST(batch.take_tokens({3, 1, {99}, {}}).has_value());
  BOOST_TEST(!batch.has_tokens_for(decode(3, 5)), "that was the token of step 1");
  BOOST_TEST(batch.take_tokens({3, 2, {no_token}, {}}).has_value());
  BOOST_TEST(batch.has_tokens_for(decode(3, 5)));
  BOOST_TEST(tokens_of(batch, decode(3, 5)) == std::vector<token_id>{0}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(tokens_that_fit_no_step_are_refused_and_a_snapshot_awaits_none) {
  batch_state batch(1, stage_place::first);
  BOOST_REQUIRE(batch.apply(prompt()));
  BOOST_TEST(!batch.take_tokens({3, 2, {1}, {}}), "another step");
  BOOST_TEST(!batch.take_tokens({3, 1, {1, 2}, {}}), "two tokens");
  BOOST_REQUIRE(batch.apply(prompt()));
  BOOST_TEST(!batch.take_tokens({3, 1, {1}, {1}}), "a draft whose token is not there");
  BOOST_REQUIRE(batch.apply(prompt()));
  BOOST_TEST(!batch.take_tokens({3, 1, {1}, {0, 0}}), "two rows");
  BOOST_REQUIRE(batch.apply(prompt()));
  auto healed = prompt();
  healed.epoch = 4;
  healed.step = 9;
  BOOST_TEST(batch.has_tokens_for(healed));
  BOOST_REQUIRE(batch.apply(healed));
  BOOST_TEST(batch.take_tokens({3, 1, {1}, {}}).has_value());
  BOOST_TEST(!batch.has_tokens_for(decode(10, 4)));
  BOOST_TEST(batch.take_tokens({4, 9, {2}, {}}).has_value());
  BOOST_TEST(tokens_of(batch, decode(10, 4)) == std::vector<token_id>{2}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_stage_in_the_middle_needs_no_token) {
  batch_state batch(1, stage_place::middle);
  auto rows = batch.apply(prompt());
  BOOST_REQUIRE(rows);
  BOOST_TEST((*rows)->logit_rows.empty());
  for (std::uint32_t i = 0; i < 3; ++i) {
    BOOST_TEST(batch.has_tokens_for(decode(2 + i, 4 + i)));
    BOOST_TEST(tokens_of(batch, decode(2 + i, 4 + i)).size() == 1u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
