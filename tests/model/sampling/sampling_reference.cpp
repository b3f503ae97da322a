#include "tests/model/sampling/sampling_reference.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "model/sampling/noise.hpp"

namespace troupe::tests {

namespace {

constexpr float masked = -std::numeric_limits<float>::infinity();

/// How near to its target a share may be, in parts of the whole, before the result is called close.
constexpr double share_margin = 2e-6;

struct token_weight {
  token_id token = 0;
  float logit = 0;
  double exponent = 0; ///< (logit - largest) / temperature
  double weight = 0;
};

using tokens_left = std::vector<token_weight>;

bool completes(const std::vector<token_id>& word, std::span<const token_id> answer) {
  if (word.size() - 1 > answer.size())
    return false;
  for (std::size_t i = 0; i + 1 < word.size(); ++i)
    if (answer[answer.size() - (word.size() - 1) + i] != word[i])
      return false;
  return true;
}

void penalise(const reference_input& input, std::vector<float>& row) {
  const auto& s = input.sampling;
  std::map<token_id, std::pair<bool, int>> seen; // In prompt or answer; how often in the answer.
  for (std::size_t i = 0; i < input.history.size(); ++i) {
    auto& entry = seen[input.history[i]];
    entry.first = true;
    entry.second += i >= input.prompt_tokens;
  }
  for (const auto& [token, counts] : seen) {
    auto& logit = row[static_cast<std::size_t>(token)];
    logit = logit > 0 ? logit / s.repetition_penalty : logit * s.repetition_penalty;
    if (counts.second > 0) {
      logit -= s.frequency_penalty * static_cast<float>(counts.second);
      logit -= s.presence_penalty;
    }
  }
}

double total_of(const tokens_left& tokens) {
  double total = 0;
  for (const auto& t : tokens)
    total += t.weight;
  return total;
}

/// Keeps the shortest beginning with `share` of the weight; the order is given.
void keep_share(tokens_left& tokens, double share, bool& is_close) {
  const double total = total_of(tokens), target = share * total;
  double sum = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const double before = sum;
    sum += tokens[i].weight;
    if (sum < target && i + 1 < tokens.size())
      continue;
    is_close |= std::fabs(sum - target) < share_margin * total || (i > 0 && target - before < share_margin * total);
    tokens.resize(i + 1);
    return;
  }
}

void sort_by_logit(tokens_left& tokens) {
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
  });
}

void keep_typical(tokens_left& tokens, double share, bool& is_close) {
  const double total = total_of(tokens);
  double mean = 0;
  for (const auto& t : tokens)
    mean += t.weight > 0 ? t.weight / total * t.exponent : 0;
  const auto distance = [&](const token_weight& t) { return std::fabs(t.exponent - mean); };
  std::sort(tokens.begin(), tokens.end(), [&](const auto& a, const auto& b) {
    return distance(a) < distance(b) || (distance(a) == distance(b) && a.token < b.token);
  });
  const auto all = tokens;
  keep_share(tokens, share, is_close);
  const auto& last = tokens.back();
  for (const auto& t : all)
    is_close |= t.logit != last.logit &&
                std::fabs(distance(t) - distance(last)) < 3e-6 * (std::fabs(last.exponent) + std::fabs(mean));
}

void keep_min_p(tokens_left& tokens, double min_p, bool& is_close) {
  const double least = std::log(min_p);
  for (const auto& t : tokens)
    is_close |= std::fabs(t.exponent - least) < 1e-6 * (1 + std::fabs(least)) && t.exponent < 0;
  std::erase_if(tokens, [&](const auto& t) { return t.exponent < least; });
}

tokens_left weigh(const std::vector<float>& row, float temperature) {
  const float largest = *std::max_element(row.begin(), row.end());
  tokens_left out;
  for (std::size_t i = 0; i < row.size(); ++i)
    if (row[i] != masked) {
      const double exponent = (static_cast<double>(row[i]) - largest) / temperature;
      out.push_back({static_cast<token_id>(i), row[i], exponent, std::exp(exponent)});
    }
  return out;
}

tokens_left truncate(const sequence_sampling& s, tokens_left tokens, bool& is_close) {
  if (s.min_p > 0)
    keep_min_p(tokens, s.min_p, is_close);
  sort_by_logit(tokens);
  if (s.top_k > 0)
    tokens.resize(std::min<std::size_t>(tokens.size(), s.top_k));
  if (s.top_p < 1)
    keep_share(tokens, s.top_p, is_close);
  if (s.typical_p < 1)
    keep_typical(tokens, s.typical_p, is_close);
  return tokens;
}

} // namespace

std::vector<float> process_by_reference(const reference_input& input) {
  const auto& s = input.sampling;
  std::vector<float> row(input.logits.begin(), input.logits.end());
  const auto answer = input.history.subspan(std::min<std::size_t>(input.prompt_tokens, input.history.size()));
  const auto mask = [&](token_id token) { row[static_cast<std::size_t>(token)] = masked; };
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto token = static_cast<token_id>(i);
    const auto& allowed = s.allowed_tokens;
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), token) == allowed.end())
      mask(token);
    if (!input.mask.empty() && !input.mask[i])
      mask(token);
  }
  for (const auto& word : s.bad_words)
    if (completes(word, answer))
      mask(word.back());
  if (answer.size() < s.min_tokens)
    std::for_each(s.end_tokens.begin(), s.end_tokens.end(), mask);
  for (const auto& b : s.logit_bias)
    row[static_cast<std::size_t>(b.token)] += b.bias;
  penalise(input, row);
  return row;
}

reference_result sample_by_reference(const reference_input& input) {
  const auto& s = input.sampling;
  const auto row = process_by_reference(input);
  const auto first = std::max_element(row.begin(), row.end());
  reference_result out;
  out.left.resize(row.size());
  if (*first == masked)
    return out;
  if (s.temperature == 0) {
    out.token = static_cast<token_id>(first - row.begin());
    out.left[static_cast<std::size_t>(out.token)] = true;
    return out;
  }
  double best = -std::numeric_limits<double>::infinity();
  auto tokens = truncate(s, weigh(row, s.temperature), out.is_close);
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.token < b.token; });
  for (const auto& t : tokens) {
    out.left[static_cast<std::size_t>(t.token)] = true;
    const double score = static_cast<double>(t.logit) * (1.0 / s.temperature) +
                         gumbel_noise(s, static_cast<std::uint32_t>(input.history.size()), t.token);
    if (score > best) {
      best = score;
      out.token = t.token;
    }
  }
  return out;
}

} // namespace troupe::tests
