// What it costs to sample a token from 49,152 logits, by parameters.
//   sampling [--all] [LOGITS]     --all: with every instruction set of this machine, not the best alone
//                                 LOGITS: a file of float32 rows of 49,152; by default 64 rows are made up
// Prints microseconds a row on one thread, the mean over 64 rows of each row's best of many rounds (neighbours on the
// machine only ever make it slower), and last milliseconds for 64 rows that have ten different sets of parameters.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "model/sampling/logprobs.hpp"
#include "model/sampling/sampler.hpp"

namespace {

using namespace troupe;

constexpr std::size_t vocabulary = 49152, rows = 64;
constexpr std::uint32_t history_tokens = 1000;
constexpr int rounds = 41;

using logits_row = std::vector<float>;

/// Normal numbers with a few likely tokens on top, roughly as a small language model has them: at temperature 1 the
/// likeliest token of most rows has a tenth to nine tenths of the probability.
std::vector<logits_row> made_up() {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0, 2.5f);
  std::vector<logits_row> out(rows, logits_row(vocabulary));
  for (auto& row : out) {
    for (auto& logit : row)
      logit = normal(random);
    float likely = 13.0f + static_cast<float>(random() % 6);
    for (int i = 0; i < 100; ++i, likely -= 0.2f)
      row[random() % vocabulary] = likely;
  }
  return out;
}

std::vector<logits_row> read(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<logits_row> out(rows, logits_row(vocabulary));
  for (auto& row : out)
    in.read(reinterpret_cast<char*>(row.data()), static_cast<std::streamsize>(row.size() * sizeof(float)));
  if (!in) {
    std::fprintf(stderr, "%s has fewer than %zu rows of %zu numbers.\n", path, rows, vocabulary);
    std::exit(1);
  }
  return out;
}

struct setting {
  const char* name;
  sequence_sampling sampling;
};

std::vector<setting> settings() {
  const auto with = [](auto change) {
    sequence_sampling s;
    s.temperature = 1.0f;
    change(s);
    return s;
  };
  std::vector<token_bias> biases;
  for (token_id i = 0; i < 16; ++i)
    biases.push_back({i * 1000, 1.0f});
  return {
    {"greedy", {}},
    {"temperature 1", with([](auto&) {})},
    {"temperature 0.7", with([](auto& s) { s.temperature = 0.7f; })},
    {"top-p 0.9", with([](auto& s) { s.top_p = 0.9f; })},
    {"top-k 40", with([](auto& s) { s.top_k = 40; })},
    {"top-k 40, top-p 0.95", with([](auto& s) { s.top_k = 40, s.top_p = 0.95f; })},
    {"min-p 0.05", with([](auto& s) { s.min_p = 0.05f; })},
    {"typical-p 0.9", with([](auto& s) { s.typical_p = 0.9f; })},
    {"penalties and bias", with([&](auto& s) {
       s.repetition_penalty = 1.1f, s.frequency_penalty = 0.2f, s.presence_penalty = 0.1f, s.logit_bias = biases;
     })},
    {"temperature 3, top-p 0.99", with([](auto& s) { s.temperature = 3.0f, s.top_p = 0.99f; })},
  };
}

std::vector<token_id> some_history() {
  std::mt19937 random(2);
  std::vector<token_id> out;
  for (std::uint32_t i = 0; i < history_tokens; ++i)
    out.push_back(static_cast<token_id>(random() % 5000));
  return out;
}

/// Microseconds for all rows. Rounds go over all rows, so that they come from where a batch's would, and each row
/// counts with its best.
template <class Row>
double best(Row row) {
  std::vector<double> least(rows, 1e9);
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < rows; ++i) {
      const auto start = std::chrono::steady_clock::now();
      row(i);
      const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
      least[i] = std::min(least[i], time.count());
    }
  return std::accumulate(least.begin(), least.end(), 0.0);
}

void measure(const char* vectors, const std::vector<logits_row>& all, sampling_workspace& room) {
  const auto history = some_history();
  const auto kinds = settings();
  const auto sampler_of = [&](const setting& s) {
    return sequence_sampler(std::make_shared<const sequence_sampling>(s.sampling), history_tokens / 2, history);
  };
  std::uint64_t sum = 0; // So that nothing is left out as unused.
  const auto take = [&](const sequence_sampler& sampler, const logits_row& row) {
    sum += static_cast<std::uint64_t>(sampler.sample(row, history_tokens, room).value());
  };
  for (const auto& kind : kinds) {
    const auto sampler = sampler_of(kind);
    const auto us = best([&](std::size_t i) { take(sampler, all[i]); });
    std::printf("%-9s %-26s %8.1f us/row\n", vectors, kind.name, us / static_cast<double>(rows));
  }
  const auto us = best([&](std::size_t i) { sum += logprob_of(all[i], 5, 5, room).value().rank; });
  std::printf("%-9s %-26s %8.1f us/row\n", vectors, "5 logprobs (apart)", us / static_cast<double>(rows));
  std::vector<sequence_sampler> mix;
  for (std::size_t i = 0; i < rows; ++i)
    mix.push_back(sampler_of(kinds[i % kinds.size()]));
  const auto all_us = best([&](std::size_t i) { take(mix[i], all[i]); });
  std::printf("%-9s %-26s %8.3f ms (%llu)\n", vectors, "64 rows of all these", all_us / 1000,
              static_cast<unsigned long long>(sum));
}

} // namespace

int main(int argc, char** argv) {
  const bool each = argc > 1 && std::string(argv[1]) == "--all";
  const auto all = argc > (each ? 2 : 1) ? read(argv[argc - 1]) : made_up();
  for (auto vectors : {sampling::vectors::portable, sampling::vectors::avx2, sampling::vectors::avx512}) {
    if (vectors > sampling::best_vectors() || (!each && vectors < sampling::best_vectors()))
      continue;
    sampling_workspace room(vocabulary, vectors);
    measure(room.kernels->name, all, room);
  }
}
