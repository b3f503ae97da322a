#include <map>
#include <numeric>

#include "model/tokenizer/merges.hpp"
#include "tests/model/tokenizer/support.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(merging)

namespace {

// Random merges over a few letters, each of two tokens that are there already, with a plain model of them.
struct random_merges {
  std::vector<std::pair<std::pair<token_id, token_id>, token_id>> list;
  merge_table table;

  random_merges(std::mt19937& random, token_id letters, std::size_t count) : table(count) {
    token_id next = letters;
    for (std::uint32_t rank = 0; rank < count; ++rank) {
      auto pick = [&] {
        return static_cast<token_id>(random() % static_cast<unsigned>(random() % 2 ? letters : next));
      };
      std::pair pair{pick(), pick()};
      if (table.find(pair.first, pair.second).rank != merge_table::no_rank)
        continue;
      // Some merges give the same token as another, as where "a" + "bc" and "ab" + "c" are both known.
      auto result =
        next > letters && random() % 4 == 0 ? static_cast<token_id>(letters + random() % (next - letters)) : next++;
      table.add(pair.first, pair.second, {rank, result});
      list.push_back({pair, result});
    }
  }

  // The definition: again and again the leftmost pair of the lowest rank.
  std::vector<token_id> apply_plainly(std::vector<token_id> symbols) const {
    for (;;) {
      std::size_t best_rank = list.size(), best_index = 0;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
        for (std::size_t rank = 0; rank < best_rank; ++rank)
          if (list[rank].first == std::pair{symbols[i], symbols[i + 1]})
            best_rank = rank, best_index = i;
      if (best_rank == list.size())
        return symbols;
      symbols[best_index] = list[best_rank].second;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_index) + 1);
    }
  }
};

std::vector<token_id> random_symbols(std::mt19937& random, token_id letters, std::size_t count) {
  std::vector<token_id> symbols(count);
  for (auto& symbol : symbols)
    symbol = static_cast<token_id>(random() % static_cast<unsigned>(letters));
  return symbols;
}

std::vector<token_id> merge_long(const merge_table& table, std::span<const token_id> symbols, std::size_t steps) {
  merger run(table);
  run.start(symbols);
  while (!run.done())
    BOOST_REQUIRE_LE(run.advance(steps), steps);
  std::vector<token_id> out;
  run.take(out);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(short_and_long_words_are_merged_as_the_definition_says) {
  std::mt19937 random(1);
  for (int round = 0; round < 400; ++round) {
    random_merges merges(random, 3, 1 + random() % 30);
    auto symbols = random_symbols(random, 3, 1 + random() % merger::short_word);
    auto wanted = merges.apply_plainly(symbols);
    BOOST_TEST(merge_long(merges.table, symbols, 1 + random() % 9) == wanted, boost::test_tools::per_element());
    symbols.resize(merger(merges.table).merge_short(symbols));
    BOOST_TEST(symbols == wanted, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(words_longer_than_short_ones_are_merged_as_the_definition_says) {
  std::mt19937 random(2);
  for (int round = 0; round < 60; ++round) {
    random_merges merges(random, 2 + round % 3, 1 + random() % 40);
    auto symbols = random_symbols(random, 2 + round % 3, 25 + random() % 200);
    BOOST_TEST(merge_long(merges.table, symbols, 1 + random() % 50) == merges.apply_plainly(symbols),
               boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_table_finds_each_pair_that_it_was_given_and_no_other) {
  std::mt19937 random(3);
  merge_table table(5000);
  std::map<std::pair<token_id, token_id>, std::uint32_t> wanted;
  for (std::uint32_t rank = 0; rank < 5000; ++rank) {
    std::pair pair{static_cast<token_id>(random() % 300), static_cast<token_id>(random() % 300)};
    table.add(pair.first, pair.second, {rank, static_cast<token_id>(rank + 1000)});
    wanted.emplace(pair, rank); // The first counts.
  }
  for (token_id left = 0; left < 300; ++left)
    for (token_id right = 0; right < 300; ++right) {
      auto found = wanted.find({left, right});
      BOOST_REQUIRE_EQUAL(table.find(left, right).rank, found == wanted.end() ? merge_table::no_rank : found->second);
    }
}

BOOST_AUTO_TEST_CASE(a_byte_without_a_token_merges_with_nothing_and_is_left_out) {
  merge_table table(1);
  table.add(0, 1, {0, 2});
  merger run(table);
  std::vector<token_id> symbols{0, no_token, 1, no_token, no_token, 0, 1};
  run.start(symbols);
  run.advance(100);
  std::vector<token_id> out;
  run.take(out);
  BOOST_TEST(out == (std::vector<token_id>{0, 1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
