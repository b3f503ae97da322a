// The real model's hidden states against tests/oracle/smollm2_embeddings.json: what transformers computes in float32 from
// the same file.
#include <cmath>
#include <cstring>
#include <fstream>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "model/prompt_pooler.hpp"
#include "tests/cpu/support.hpp"
#include "tests/support/base64.hpp"
#include "tests/support/real_model.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

std::vector<float> floats_of(const std::string& base64) {
  const auto bytes = from_base64(base64);
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

/// Of two vectors of length 1.
double cosine(std::span<const float> a, std::span<const float> b) {
  BOOST_REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += double{a[i]} * b[i];
  return sum;
}

/// One pass over a whole prompt, pooled as a worker does.
std::vector<float> embedding_of(loaded& on, const std::vector<token_id>& tokens, pooling how) {
  const auto length = static_cast<std::uint32_t>(tokens.size());
  auto one = random_sequences(on.program, std::vector{length}, 1).front();
  one.tokens = tokens;
  const auto batch = lay_out(std::vector<piece>{{&one, length, 0}});
  batch_state::rows rows;
  for (std::uint32_t row = how == pooling::mean ? 0 : length - 1; row < length; ++row)
    rows.hidden_rows.push_back(row);
  rows.pooled_parts.push_back({0, 0, 0, static_cast<std::uint32_t>(rows.hidden_rows.size()), true});
  std::vector<float> hidden(rows.hidden_rows.size() * on.program.width);
  forward_batch pass{batch.tokens, batch.spans, {}};
  pass.hidden_rows = rows.hidden_rows;
  pass.hidden = hidden;
  BOOST_REQUIRE(on.backend->forward(pass, {}));
  prompt_pooler pooler;
  step_result result;
  pooler.pool(rows, hidden, on.program.width, result);
  BOOST_REQUIRE(result.embeddings.size() == 1u);
  return result.embeddings[0].values;
}

/// The lowest cosine of all cases. `most_tokens`: longer ones are left out.
double lowest_cosine(maker make, std::size_t most_tokens) {
  std::ifstream file(TROUPE_ORACLE_FOLDER "/smollm2_embeddings.json");
  BOOST_REQUIRE(file);
  auto source = gguf::open(real_model_path());
  BOOST_REQUIRE_MESSAGE(source, source.error().message);
  auto on = load(*source, make, {.kv_blocks = 80, .max_rows = 512, .max_logit_rows = 1});
  double lowest = 1;
  std::size_t compared = 0;
  const auto all = nlohmann::json::parse(file);
  for (const auto& each : all.at("cases")) {
    const std::vector<token_id> ids = each.at("ids");
    if (ids.size() > most_tokens)
      continue;
    for (auto how : {pooling::last, pooling::mean}) {
      const auto wanted = floats_of(each.at(std::string(to_string(how))));
      lowest = std::min(lowest, cosine(wanted, embedding_of(on, ids, how)));
      ++compared;
    }
  }
  BOOST_TEST(compared >= 14u);
  BOOST_TEST_MESSAGE(on.backend->name() << ": cosine at least " << lowest);
  return lowest;
}

} // namespace

BOOST_AUTO_TEST_SUITE(embedding_oracle,
                      *boost::unit_test::precondition(needs_real_model) * boost::unit_test::label("slow"))

BOOST_AUTO_TEST_CASE(the_reference_backend_computes_what_transformers_computes) {
  BOOST_TEST(lowest_cosine(make_reference_backend, 64) > 0.99999);
}

BOOST_AUTO_TEST_CASE(the_cpu_backend_is_near) {
  BOOST_TEST(lowest_cosine(make_cpu_backend, 512) > 0.999);
  BOOST_TEST(lowest_cosine(make_bf16_backend, 512) > 0.9999);
}

BOOST_AUTO_TEST_SUITE_END()
