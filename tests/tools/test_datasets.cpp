#include "tools/troupe/bench/datasets.hpp"

#include <boost/test/unit_test.hpp>

#include <set>

#include <nlohmann/json.hpp>

#include "tests/support/temporary_file.hpp"
#include "tests/support/tiny_tokens.hpp"
#include "tools/troupe/bench/server_address.hpp"

using namespace troupe;
using namespace troupe::cli;

namespace {

struct fixture {
  std::unique_ptr<text_codec> codec = [] {
    auto made = make_local_codec(test::tiny_tokens());
    BOOST_REQUIRE(made);
    return std::move(*made);
  }();
  dataset_flags flags;

  std::vector<conversation> make() {
    auto made = make_workload(flags, *codec);
    BOOST_REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return std::move(*made);
  }

  std::size_t tokens_of(const std::string& text) { return codec->encode(text)->size(); }
};

/// `words` letters with spaces between them.
std::string letters(std::size_t words) {
  std::string text;
  for (std::size_t i = 0; i < words; ++i)
    text += std::string(i ? " " : "") + static_cast<char>('a' + i % 26);
  return text;
}

test::temporary_file file_of(const std::string& text) {
  return test::temporary_file(std::as_bytes(std::span(text)), ".json");
}

std::string sharegpt_json(const std::vector<std::vector<std::string>>& conversations) {
  auto list = nlohmann::json::array();
  for (const auto& texts : conversations) {
    auto said = nlohmann::json::array();
    for (const auto& text : texts)
      said.push_back({{"from", "x"}, {"value", text}});
    list.push_back({{"conversations", std::move(said)}});
  }
  return list.dump();
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(datasets_suite, fixture)

BOOST_AUTO_TEST_CASE(random_prompts_have_the_tokens_that_were_asked_for_and_each_is_another) {
  flags.requests = 40;
  flags.random_input = 50;
  flags.random_output = 7;
  const auto work = make();
  BOOST_TEST(work.size() == 40u);
  std::set<std::string> texts;
  for (const auto& each : work) {
    BOOST_TEST(each.size() == 1u);
    BOOST_TEST(each[0].prompt_tokens == 50u);
    BOOST_TEST(tokens_of(each[0].text) + codec->added_tokens() == each[0].prompt_tokens);
    BOOST_TEST(each[0].output_tokens == 7u);
    texts.insert(each[0].text);
  }
  BOOST_TEST(texts.size() == 40u);
}

BOOST_AUTO_TEST_CASE(the_same_seed_makes_the_same_requests_and_another_others) {
  flags.requests = 5;
  flags.random_input = 20;
  const auto text = [&] { return make()[4][0].text; };
  const auto first = text();
  BOOST_TEST(text() == first);
  flags.seed = 1;
  BOOST_TEST(text() != first);
}

BOOST_AUTO_TEST_CASE(lengths_vary_by_the_range_and_no_further) {
  flags.requests = 200;
  flags.random_input = 40;
  flags.random_output = 10;
  flags.random_range = 0.5;
  std::set<std::uint32_t> inputs, outputs;
  const std::uint32_t added = codec->added_tokens();
  for (const auto& each : make()) {
    inputs.insert(each[0].prompt_tokens - added);
    outputs.insert(each[0].output_tokens);
  }
  BOOST_TEST(*inputs.begin() >= 19u);
  BOOST_TEST(*inputs.rbegin() <= 60u);
  BOOST_TEST(inputs.size() > 25u);
  BOOST_TEST((outputs == std::set<std::uint32_t>{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
}

BOOST_AUTO_TEST_CASE(a_common_prefix_is_at_the_front_of_every_random_prompt) {
  flags.requests = 10;
  flags.random_prefix = 30;
  flags.random_input = 10;
  const auto work = make();
  const auto first = *codec->encode(work[0][0].text);
  for (const auto& each : work) {
    const auto ids = *codec->encode(each[0].text);
    BOOST_TEST(ids.size() == 40u);
    BOOST_TEST(std::equal(first.begin(), first.begin() + 25, ids.begin())); // Where they meet, tokens may differ.
  }
}

BOOST_AUTO_TEST_CASE(a_prompt_without_a_token_is_refused) {
  flags.random_input = 0;
  const auto made = make_workload(flags, *codec);
  BOOST_TEST((made.error().code == errc::invalid_argument));
  BOOST_TEST(made.error().message.find("--random-input-len") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(each_prefix_is_repeated_as_often_as_the_others) {
  flags.name = "prefix_repetition";
  flags.requests = 23;
  flags.repeated_prefixes = 5;
  flags.repeated_prefix = 40;
  flags.repeated_suffix = 10;
  flags.repeated_output = 3;
  const auto work = make();
  BOOST_TEST(work.size() == 20u);
  std::multiset<std::string> beginnings;
  for (const auto& each : work) {
    beginnings.insert(each[0].text.substr(0, 20));
    BOOST_TEST(each[0].prompt_tokens == 50 + codec->added_tokens());
    BOOST_TEST(each[0].output_tokens == 3u);
  }
  for (const auto& each : beginnings)
    BOOST_TEST(beginnings.count(each) == 4u);
  flags.requests = 4;
  BOOST_TEST((make_workload(flags, *codec).error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(a_random_conversation_has_its_turns_and_the_last_what_is_left) {
  flags.name = "multi-turn";
  flags.requests = 10;
  flags.turns = 4;
  flags.random_input = 8;
  const auto work = make();
  BOOST_TEST(work.size() == 3u);
  BOOST_TEST(work[0].size() == 4u);
  BOOST_TEST(work[2].size() == 2u);
  BOOST_TEST(requests_of(work) == 10u);
}

BOOST_AUTO_TEST_CASE(a_conversation_from_a_file_is_taken_with_the_length_of_its_answer) {
  const auto file = file_of(sharegpt_json({{letters(9), letters(5), letters(10), letters(6)}, {"alone"}}));
  flags.name = "sharegpt";
  flags.path = file.path();
  flags.requests = 3; // More than there are: it is taken again.
  const auto work = make();
  BOOST_TEST(work.size() == 3u);
  for (const auto& each : work) {
    BOOST_TEST(each.size() == 1u);
    BOOST_TEST(each[0].text == letters(9));
    BOOST_TEST(each[0].output_tokens == tokens_of(letters(5)));
    BOOST_TEST(each[0].prompt_tokens == tokens_of(letters(9)) + codec->added_tokens());
  }
  flags.sharegpt_output = 2;
  BOOST_TEST(make()[0][0].output_tokens == 2u);
  flags.name = "multi-turn";
  flags.requests = 5;
  const auto talks = make();
  BOOST_TEST(talks.size() == 3u);
  BOOST_TEST(talks[0].size() == 2u);
  BOOST_TEST(talks[0][1].text == letters(10));
  BOOST_TEST(talks[2].size() == 1u);
}

BOOST_AUTO_TEST_CASE(texts_that_are_too_short_or_too_long_are_left_out) {
  const auto file = file_of(sharegpt_json(
    {{"a", letters(9)}, {letters(3000), letters(9)}, {letters(9), "a"}, {letters(500), letters(3000)}}));
  flags.name = "sharegpt";
  flags.path = file.path();
  const auto made = make_workload(flags, *codec);
  BOOST_REQUIRE(!made);
  BOOST_TEST(made.error().message.find("has no conversation") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(each_data_set_tells_how_far_it_is_and_can_be_stopped) {
  const auto file =
    file_of(sharegpt_json({{letters(9), letters(5)}, {letters(10), letters(6)}, {letters(11), letters(7)}}));
  for (const char* name : {"random", "prefix_repetition", "sharegpt"}) {
    flags.name = name;
    flags.path = flags.name == "sharegpt" ? file.path() : "";
    flags.requests = 3;
    flags.repeated_prefixes = 1;
    std::vector<std::uint32_t> told;
    const auto made = make_workload(flags, *codec, [&](std::uint32_t done) {
      told.push_back(done);
      return done < 2;
    });
    BOOST_REQUIRE(!made);
    BOOST_TEST((made.error().code == errc::cancelled));
    BOOST_TEST(told == (std::vector<std::uint32_t>{0, 1, 2}), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_file_that_is_not_there_or_of_another_shape_is_an_error_that_names_it) {
  flags.name = "sharegpt";
  BOOST_TEST(make_workload(flags, *codec).error().message.find("--dataset-path") != std::string::npos);
  BOOST_TEST((read_sharegpt("/nonexistent/talks.json").error().code == errc::not_found));
  for (const char* text :
       {"", "{}", "[1]", "[{}]", R"([{"conversations": 1}])", R"([{"conversations": [{"value": 1}]}])", "[{"}) {
    const auto file = file_of(text);
    const auto read = read_sharegpt(file.path());
    BOOST_REQUIRE(!read);
    BOOST_TEST((read.error().code == errc::malformed));
    BOOST_TEST(read.error().message.find(file.path().string()) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_server_is_named_by_its_url) {
  const auto full = parse_address("http://[::1]:8080/prefix/");
  BOOST_REQUIRE(full);
  BOOST_TEST(full->host == "::1");
  BOOST_TEST(full->port == "8080");
  BOOST_TEST(full->path == "/prefix");
  BOOST_TEST(full->url() == "http://[::1]:8080/prefix");
  BOOST_TEST(parse_address("http://example")->port == "80");
  BOOST_TEST((parse_address("https://example").error().code == errc::unsupported));
  for (const char* wrong :
       {"", "example:80", "http://", "http://a:b", "http://a:99999", "http://a:", "http://:80", "http://a b"})
    BOOST_TEST((parse_address(wrong).error().code == errc::invalid_argument), wrong);
}

BOOST_AUTO_TEST_SUITE_END()
