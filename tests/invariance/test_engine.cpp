// The same 64 requests, in every way that an engine may compute them: the same answers.
//
// Each variation proves that it has happened: rows beside others, steps cut by their limit, hits, preemptions. All
// that any engine here computes goes into one ledger (bit_ledger.hpp), so that of each prefix of tokens the logits
// and the keys and values are compared too, bit for bit.
#include <set>

#include "tests/invariance/real_engine.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

const std::vector<generate_request>& requests() {
  static const auto all = all_requests(*real_model());
  return all;
}

struct alone_result {
  answer_list answers;
  bit_ledger::counts seen;
};

/// Each request alone in the engine: what all else is compared with.
const alone_result& alone() {
  static const auto result = [] {
    real_engine engine({.name = "alone"});
    alone_result out;
    out.answers = engine.one_by_one(requests());
    out.seen = engine.seen();
    return out;
  }();
  return result;
}

/// Of a request with one answer: prompt and answer.
std::vector<token_id> whole(std::size_t index) {
  auto tokens = tokens_of(requests()[index]);
  const auto& answer = alone().answers[index].tokens;
  tokens.insert(tokens.end(), answer.begin(), answer.end());
  return tokens;
}

/// Blocks with generated tokens that this run has computed token by token, and again with all of them in one pass.
std::uint32_t decoded_and_recomputed_blocks() {
  std::uint32_t found = 0;
  for (std::size_t i = 0; i < requests().size(); ++i) {
    const auto tokens = whole(i);
    const auto prompt = static_cast<std::uint32_t>(tokens_of(requests()[i]).size());
    for (std::uint32_t end = tokens_per_block; end <= tokens.size(); end += tokens_per_block) {
      const auto begin = end - tokens_per_block, first = std::max(prompt, begin);
      if (first + 1 >= end)
        continue;
      const auto generated = static_cast<block_cuts>(0xffffu << (first - begin));
      const auto inner =
        static_cast<block_cuts>(generated & (generated << 1)); // Where a chunk may begin does not count.
      bool decoded = false, recomputed = false;
      for (auto cuts : common_ledger()->cuts_of(name_of(std::span(tokens).first(end)))) {
        decoded = decoded || (cuts & generated) == generated;
        recomputed = recomputed || (cuts & inner) == 0;
      }
      found += decoded && recomputed;
    }
  }
  return found;
}

} // namespace

BOOST_AUTO_TEST_SUITE(batch_invariance,
                      *boost::unit_test::precondition(needs_real_model) * boost::unit_test::label("slow"))

BOOST_AUTO_TEST_CASE(alone_means_alone_and_the_requests_are_worth_comparing) {
  std::uint32_t most = 0;
  std::set<std::vector<token_id>> different;
  std::uint32_t logprobs = 0, prompt_logprobs = 0, choices = 0;
  for (std::size_t i = 0; i < requests().size(); ++i) {
    const auto& answer = alone().answers[i];
    BOOST_REQUIRE(answer.ends.size() == 1u);
    BOOST_TEST(answer.ends[0].failure.message == "");
    BOOST_TEST(answer.tokens.size() >= 2u); // A stop string may come early.
    most = std::max(most, generated_for(requests()[i]));
    different.insert(answer.tokens);
    logprobs += answer.logprobs.size();
    prompt_logprobs += answer.prompt_logprobs.size();
    for (const auto& [choice, tokens] : answer.others) {
      BOOST_TEST((tokens != answer.tokens), "two answers to request " << i << " are the same");
      ++choices;
    }
  }
  BOOST_TEST(alone().seen.most_spans == most);
  BOOST_TEST(different.size() >= requests().size() / 2); // Greedy ones with the same beginning may agree.
  BOOST_TEST(logprobs > 100u);
  BOOST_TEST(prompt_logprobs > 100u);
  BOOST_TEST(choices >= 12u);
}

BOOST_AUTO_TEST_CASE(in_one_batch_each_request_gets_the_answer_that_it_gets_alone) {
  const auto& wanted = alone().answers;
  real_engine engine({.name = "in one batch"});
  check_same(requests(), wanted, engine.together(requests()));
  const auto seen = engine.seen();
  BOOST_TEST(seen.most_spans >= 64u);
  BOOST_TEST(seen.most_rows > 256u);
  BOOST_TEST(seen.rows_beside_others * 2 > seen.rows);
  BOOST_TEST(seen.logits_again > 64u * 12u);
  BOOST_TEST(seen.blocks_again > 64u);
}

// Where a step has one row, beginnings that many share are computed once: otherwise it would take as long as all
// the rest.
BOOST_AUTO_TEST_CASE(in_steps_of_1_7_and_64_rows_each_request_gets_the_answer_that_it_gets_alone) {
  const auto& wanted = alone().answers;
  for (const auto& how : {variation{.name = "in steps of 1 row", .rows = 1, .sequences = 1, .prefix_caching = true},
                          variation{.name = "in steps of 7 rows", .rows = 7, .sequences = 7},
                          variation{.name = "in steps of 64 rows", .rows = 64, .sequences = 64}}) {
    real_engine engine(how);
    check_same(requests(), wanted, engine.together(requests()));
    const auto seen = engine.seen();
    BOOST_TEST_CONTEXT(how.name) {
      BOOST_TEST(seen.most_rows == how.rows);
      BOOST_TEST(seen.longest_span > how.rows / 4); // Decodes have their share of a step.
      BOOST_TEST(seen.passes * how.rows >= seen.rows);
      BOOST_TEST((how.rows == 1 || seen.rows_beside_others > seen.rows / 2));
      BOOST_TEST(seen.blocks_again > 64u);
    }
  }
}

BOOST_AUTO_TEST_CASE(one_long_prompt_takes_as_many_steps_as_the_limit_says_and_has_the_same_logprobs) {
  auto request = requests()[11];
  BOOST_REQUIRE(tokens_of(request).size() == 150u);
  request.sampling = {.max_tokens = 1, .logprobs = 5, .prompt_logprobs = 5};
  std::optional<answer_list> wanted;
  for (const std::uint32_t rows :
       {512, 1, 7, 64}) { // With so many sequences no chunk is cut for want of leased blocks.
    real_engine engine({.name = "one long prompt", .rows = rows, .sequences = 16});
    const auto got = engine.one_by_one({request});
    BOOST_TEST(got[0].prompt_logprobs.size() == 149u);
    BOOST_TEST(got[0].logprobs.size() == 1u);
    BOOST_TEST(engine.seen().passes == (150 + rows - 1) / rows);
    BOOST_TEST(engine.seen().rows == 150u);
    if (wanted)
      check_same({request}, *wanted, got);
    else
      wanted = got;
  }
}

BOOST_AUTO_TEST_CASE(after_prefix_hits_each_request_gets_the_answer_that_it_gets_without) {
  const auto& wanted = alone().answers;
  real_engine engine({.name = "with a cache that fills", .prefix_caching = true});
  check_same(requests(), wanted, engine.together(requests()));
  const auto while_it_filled = engine.hit_tokens();
  common_ledger()->begin("after prefix hits");
  const auto again = engine.together(requests());
  check_same(requests(), wanted, again);
  BOOST_TEST(engine.preemptions() == 0u);
  std::uint64_t hits = 0;
  for (std::size_t i = 0; i < requests().size(); ++i) {
    const auto prompt = static_cast<std::uint32_t>(tokens_of(requests()[i]).size());
    const bool all_is_wanted = requests()[i].sampling.prompt_logprobs >= 0; // Then the prompt must be computed.
    const auto cached = all_is_wanted ? 0 : (prompt - 1) / tokens_per_block * tokens_per_block;
    BOOST_TEST(again[i].ends.at(0).usage.cached_prompt_tokens == cached, "request " << i);
    hits += cached;
  }
  BOOST_TEST(engine.hit_tokens() - while_it_filled >= hits);
  BOOST_TEST(hits > 1000u);
}

BOOST_AUTO_TEST_CASE(who_goes_on_from_a_decoded_answer_in_the_cache_gets_what_he_gets_when_all_is_prefilled) {
  std::vector<generate_request> longer;
  for (std::size_t i = 0; i < requests().size() && longer.size() < 8; ++i) {
    if (!has_long_answer(requests()[i]))
      continue;
    auto request = requests()[i];
    request.prompt = whole(i);
    request.sampling.max_tokens = 12;
    longer.push_back(std::move(request));
  }
  BOOST_REQUIRE(longer.size() == 8u);
  answer_list wanted;
  {
    real_engine engine({.name = "an answer prefilled"});
    wanted = engine.one_by_one(longer);
  }
  real_engine engine({.name = "an answer in the cache", .prefix_caching = true});
  std::vector<generate_request> first;
  for (const auto& request : longer)
    first.push_back(requests()[request.id]);
  engine.together(first);
  const auto got = engine.together(longer);
  check_same(longer, wanted, got);
  for (std::size_t i = 0; i < longer.size(); ++i) {
    const auto cached = got[i].ends.at(0).usage.cached_prompt_tokens;
    BOOST_TEST(cached > tokens_of(first[i]).size(), "request " << longer[i].id); // Generated ones among them.
  }
}

BOOST_AUTO_TEST_CASE(preempted_requests_get_the_answers_that_they_get_alone) {
  std::vector<generate_request> by_length; // Those that outgrow the blocks which they began with run together.
  answer_list wanted;
  for (const bool long_answers : {true, false})
    for (std::size_t i = 0; i < requests().size(); ++i)
      if (has_long_answer(requests()[i]) == long_answers) {
        by_length.push_back(requests()[i]);
        wanted.push_back(alone().answers[i]);
      }
  for (const auto& how : {variation{.name = "preempted and computed again", .sequences = 24, .kv_blocks = 14},
                          variation{.name = "preempted in small steps, with a cache",
                          .rows = 32,
                          .sequences = 24,
                          .kv_blocks = 14,
                          .prefix_caching = true}}) {
    real_engine engine(how);
    check_same(by_length, wanted, engine.together(by_length, 1));
    BOOST_TEST_CONTEXT(how.name) {
      BOOST_TEST(engine.preemptions() > 0u);
      BOOST_TEST((engine.hit_tokens() > 0) == how.prefix_caching);
      BOOST_TEST((how.prefix_caching || decoded_and_recomputed_blocks() > 0u));
      BOOST_TEST_MESSAGE(how.name << ": " << engine.preemptions() << " preemptions, "
                                  << decoded_and_recomputed_blocks() << " blocks decoded and computed again");
    }
  }
}

BOOST_AUTO_TEST_CASE(requests_whose_worker_dies_get_the_answers_that_they_get_alone) {
  const auto& wanted = alone().answers;
  const auto before = common_ledger()->backends.load();
  real_engine engine({.name = "after a worker's death", .prefix_caching = true});
  common_ledger()->crash_in_passes = 12; // Prompts are computed, and most answers have begun.
  check_same(requests(), wanted, engine.together(requests()));
  BOOST_TEST(common_ledger()->backends == before + 2);
  BOOST_TEST(decoded_and_recomputed_blocks() > 0u);
}

BOOST_AUTO_TEST_CASE(neither_overlap_nor_the_number_of_threads_changes_an_answer) {
  const auto& wanted = alone().answers;
  for (const auto& how : {variation{.name = "without overlap, one thread", .steps_ahead = 1, .threads = 1},
                          variation{.name = "three threads", .rows = 100, .threads = 3, .prefix_caching = true}}) {
    real_engine engine(how);
    check_same(requests(), wanted, engine.together(requests()));
    BOOST_TEST(engine.seen().most_spans >= 32u);
  }
}

// Stages change no bit, so they are compared with one worker; ranks add up in another order, so each degree is
// compared with itself. More workers than cores wait for each other a long time, so most degrees are for the night.
BOOST_AUTO_TEST_CASE(with_several_workers_each_request_gets_the_answer_that_it_gets_alone) {
  const bool all = scale() > 1;
  const std::vector<generate_request> some(requests().begin(), requests().begin() + (all ? 24 : 12));
  const answer_list wanted_of_stages(alone().answers.begin(),
                                     alone().answers.begin() + static_cast<std::ptrdiff_t>(some.size()));
  for (const unsigned stages : all ? std::vector{2u, 3u} : std::vector{2u}) {
    real_engine engine({.name = "in stages", .prefix_caching = true, .stages = stages});
    check_same(some, wanted_of_stages, engine.together(some));
  }
  for (const unsigned ranks : all ? std::vector{2u, 3u} : std::vector{2u}) {
    answer_list wanted;
    {
      real_engine engine({.name = "ranks, alone", .ranks = ranks});
      wanted = engine.one_by_one(some);
    }
    std::vector<variation> ways{{.name = "ranks, in one batch", .ranks = ranks},
                                {.name = "ranks in small steps, with a cache",
                                 .rows = 24,
                                 .sequences = 20,
                                 .kv_blocks = 14,
                                 .prefix_caching = true,
                                 .ranks = ranks}};
    if (all)
      ways.push_back({.name = "ranks and stages", .rows = 7, .sequences = 7, .ranks = ranks, .stages = 2});
    for (const auto& how : ways) {
      BOOST_TEST_CONTEXT(how.name << ", " << ranks) {
        real_engine engine(how);
        check_same(some, wanted, engine.together(some));
        BOOST_TEST((!all || (engine.preemptions() > 0) == (how.kv_blocks == 14)));
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
