// The real model against tests/oracle/smollm2_greedy.json: what transformers computes in float32 from the same file.
#include <algorithm>
#include <cmath>
#include <fstream>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "tests/cpu/support.hpp"
#include "tests/support/real_model.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

constexpr double smallest_margin = 0.002; // Below it two correct computations may choose different tokens.

struct oracle_case {
  std::string prompt;
  std::vector<token_id> prompt_ids, greedy_ids;
  std::vector<double> margin;
  std::vector<std::pair<token_id, float>> first_top5;
};

std::vector<oracle_case> read_cases() {
  std::ifstream file(TROUPE_ORACLE_FOLDER "/smollm2_greedy.json");
  BOOST_REQUIRE(file);
  std::vector<oracle_case> out;
  const auto all = nlohmann::json::parse(file);
  for (const auto& from : all.at("cases"))
    out.push_back(
      {from.at("prompt"), from.at("prompt_ids"), from.at("greedy_ids"), from.at("margin"), from.at("first_top5")});
  BOOST_REQUIRE_EQUAL(out.size(), 17u);
  return out;
}

loaded load_real(maker make) {
  auto file = gguf::open(real_model_path());
  BOOST_REQUIRE_MESSAGE(file, file.error().message);
  return load(*file, make, {.kv_blocks = 80, .max_rows = 512, .max_logit_rows = 64});
}

/// The logits before each of the case's tokens, given the oracle's tokens before it: those of greedy decoding, as long
/// as it agrees (rows do not depend on how they are batched; other tests show it).
std::vector<std::vector<float>> logits_of(loaded& on, const oracle_case& from) {
  auto tokens = from.prompt_ids;
  tokens.insert(tokens.end(), from.greedy_ids.begin(), from.greedy_ids.end() - 1);
  const auto length = static_cast<std::uint32_t>(tokens.size());
  auto one = random_sequences(on.program, std::vector{length}, 1).front();
  one.tokens = tokens;
  const auto wanted = static_cast<std::uint32_t>(from.greedy_ids.size());
  while (length - one.done > 512)
    forward(on, std::vector<piece>{{&one, std::min(512u, length - wanted - one.done), 0}});
  return forward(on, std::vector<piece>{{&one, length - one.done, wanted}});
}

/// Kullback-Leibler divergence in nats of softmax(q) from softmax(p).
double divergence(std::span<const float> p, std::span<const float> q) {
  const auto log_total = [](std::span<const float> x) {
    const double largest = *std::ranges::max_element(x);
    double total = 0;
    for (float value : x)
      total += std::exp(value - largest);
    return largest + std::log(total);
  };
  const double p_total = log_total(p), q_total = log_total(q);
  double out = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    out += std::exp(p[i] - p_total) * ((p[i] - p_total) - (q[i] - q_total));
  return out;
}

} // namespace

BOOST_AUTO_TEST_SUITE(oracle, *boost::unit_test::precondition(needs_real_model) * boost::unit_test::label("slow"))

BOOST_AUTO_TEST_CASE(the_reference_backend_gives_the_oracles_tokens_and_first_logits) {
  auto on = load_real(make_reference_backend);
  for (const auto& from : read_cases()) {
    const auto logits = logits_of(on, from);
    for (const auto& [token, logit] : from.first_top5)
      BOOST_TEST(std::abs(logits[0].at(static_cast<std::size_t>(token)) - logit) < 0.01, from.prompt);
    for (std::size_t i = 0; i < from.greedy_ids.size(); ++i) {
      if (argmax(logits[i]) == from.greedy_ids[i])
        continue;
      BOOST_TEST(from.margin[i] < smallest_margin, from.prompt << ": token " << i << " differs");
      break;
    }
  }
}

BOOST_AUTO_TEST_CASE(
  the_cpu_backend_agrees_with_the_oracle_on_the_top_token_of_95_percent_and_stays_near_the_reference) {
  const auto cases = read_cases();
  std::vector<std::vector<std::vector<float>>> exact; // Of a few cases, which are enough.
  auto reference = load_real(make_reference_backend);
  for (std::size_t i = 0; i < 3; ++i)
    exact.push_back(logits_of(reference, cases[i]));
  // The first is half of what llama.cpp has; bench/precision measures more positions.
  for (const auto& [make, largest_mean] :
       {std::pair<maker, double>{make_cpu_backend, 0.00145}, {make_bf16_backend, 0.0005}}) {
    auto on = load_real(make);
    std::size_t positions = 0, same = 0, compared = 0;
    double total_divergence = 0;
    for (std::size_t c = 0; c < cases.size(); ++c) {
      const auto logits = logits_of(on, cases[c]);
      for (std::size_t i = 0; i < logits.size(); ++i) {
        if (cases[c].margin[i] < smallest_margin)
          continue;
        ++positions;
        same += argmax(logits[i]) == cases[c].greedy_ids[i];
      }
      for (std::size_t i = 0; c < exact.size() && i < exact[c].size(); ++i, ++compared)
        total_divergence += divergence(exact[c][i], logits[i]);
    }
    const double share = static_cast<double>(same) / static_cast<double>(positions);
    const double mean = total_divergence / static_cast<double>(compared);
    BOOST_TEST_MESSAGE(on.backend->name() << ": same top token at " << same << " of " << positions
                                          << " positions; mean divergence " << mean << " nats");
    BOOST_TEST(share >= 0.95);
    BOOST_TEST(mean < largest_mean);
  }
}

BOOST_AUTO_TEST_CASE(the_cpu_backend_decodes_the_capital_of_france_as_the_oracle_does) {
  auto on = load_real(make_cpu_backend);
  const auto cases = read_cases();
  const auto& from = cases.front();
  auto one =
    random_sequences(on.program, std::vector{static_cast<std::uint32_t>(from.prompt_ids.size() + 32)}, 1).front();
  one.tokens = from.prompt_ids;
  auto rows = static_cast<std::uint32_t>(one.tokens.size());
  for (std::size_t i = 0; i < 32 && one.tokens.back() != 2; ++i) {
    one.tokens.push_back(argmax(forward(on, std::vector<piece>{{&one, rows}}).front()));
    rows = 1;
  }
  const std::vector<token_id> answer(one.tokens.begin() + static_cast<std::ptrdiff_t>(from.prompt_ids.size()),
                                     one.tokens.end());
  BOOST_TEST(answer == from.greedy_ids, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
