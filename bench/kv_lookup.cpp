// What the KV-cache manager's object costs: the lookup of a prompt of 32,000 tokens, all of it cached and none of it,
// and the report of a decode step of 256 sequences. Prints a figure a line: the median of the rounds, in nanoseconds.
//
//   build/bench/kv_lookup [ROUNDS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>

#include "engine/kv/store.hpp"

namespace {

using namespace troupe;
using kind = kv_operation::kind_type;

constexpr std::uint32_t prompt_length = 32000;
constexpr std::uint32_t batch = 256;

shared_tokens random_tokens(std::uint32_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<token_id> tokens(count);
  for (auto& token : tokens)
    token = static_cast<token_id>(random() % 128256);
  return std::make_shared<const std::vector<token_id>>(std::move(tokens));
}

kv_grant must(expected<kv_grant> answer) {
  if (!answer) {
    std::fprintf(stderr, "%s\n", answer.error().message.c_str());
    std::exit(1);
  }
  return std::move(*answer);
}

double nanoseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

void print(const char* what, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  std::printf("%-58s %10.0f ns (p99 %.0f)\n", what, values[values.size() / 2], values[values.size() * 99 / 100]);
}

kv_report lookup_of(sequence_id sequence, shared_tokens tokens) {
  kv_report report;
  report.lookups.push_back({sequence, std::move(tokens), {}, true});
  return report;
}

kv_report release_of(sequence_id sequence) {
  kv_report report;
  report.operations.push_back({kind::release, 0, 0, 0, sequence, 0});
  return report;
}

/// Looks a sequence up and computes it.
void run_prompt(kv_store& store, sequence_id sequence, const shared_tokens& tokens, std::size_t groups) {
  const auto blocks = (prompt_length + tokens_per_block - 1) / tokens_per_block;
  auto report = lookup_of(sequence, tokens);
  report.purse_targets.assign(groups, blocks);
  const auto grant = must(store.apply(report));
  kv_report work;
  for (std::size_t group = 0; group < groups; ++group) {
    work.operations.push_back({kind::spend, static_cast<kv_group>(group), blocks,
                               static_cast<std::uint32_t>(work.blocks.size()), sequence, 0});
    work.blocks.insert(work.blocks.end(), grant.blocks[group].begin(), grant.blocks[group].end());
  }
  work.operations.push_back({kind::fill, 0, prompt_length, 0, sequence, 0});
  must(store.apply(work));
}

kv_store make_store(block_hash_kind hash, std::vector<kv_group_options> groups) {
  kv_store_options options;
  options.groups = std::move(groups);
  options.fingerprint = "bench";
  options.hash = hash;
  return std::move(*kv_store::make(std::move(options)));
}

void lookups(const char* name, block_hash_kind hash, std::vector<kv_group_options> groups, int rounds) {
  const auto count = groups.size();
  auto store = make_store(hash, std::move(groups));
  const auto cached = random_tokens(prompt_length, 1);
  // Other prompts before and after it, so that its blocks are not the first ones of the pool.
  for (sequence_id i = 1; i <= 3; ++i) {
    run_prompt(store, i, i == 2 ? cached : random_tokens(prompt_length, static_cast<std::uint32_t>(10 + i)), count);
    must(store.apply(release_of(i)));
  }
  std::vector<double> hit, miss;
  sequence_id next = 100;
  for (int round = 0; round < rounds; ++round) {
    auto report = lookup_of(++next, cached);
    std::uint32_t tokens = 0;
    hit.push_back(nanoseconds([&] { tokens = must(store.apply(report)).hits[0].tokens; }));
    if (tokens != (prompt_length - 1) / tokens_per_block * tokens_per_block) {
      std::fprintf(stderr, "%u tokens were hit.\n", tokens);
      std::exit(1);
    }
    must(store.apply(release_of(next)));
    report = lookup_of(++next, random_tokens(prompt_length, static_cast<std::uint32_t>(1000 + round)));
    miss.push_back(nanoseconds([&] { must(store.apply(report)); }));
    must(store.apply(release_of(next)));
  }
  print((std::string("lookup of 32,000 tokens, cached, ") + name).c_str(), std::move(hit));
  print((std::string("lookup of 32,000 tokens, not cached, ") + name).c_str(), std::move(miss));
}

void decode_steps(int rounds) {
  auto store = make_store(block_hash_kind::xxh128, {{65536, 0}});
  kv_report open;
  for (sequence_id i = 1; i <= batch; ++i)
    open.lookups.push_back({i, random_tokens(16, static_cast<std::uint32_t>(i)), {}, false});
  open.purse_targets = {2 * batch};
  auto purse = must(store.apply(open)).blocks[0];
  // Sequences start at different places in a block, so that each step fills one of 16.
  std::vector<std::uint32_t> filled(batch, 0), room(batch, 0);
  std::vector<double> steps;
  const int warm = 32;
  for (int round = -warm; round < rounds; ++round) {
    kv_report report;
    report.purse_targets = {2 * batch};
    for (std::uint32_t i = 0; i < batch; ++i) {
      const std::uint32_t count = round == -warm ? i % tokens_per_block + 1 : 1;
      if (filled[i] + count > room[i]) {
        report.operations.push_back({kind::spend, 0, 1, static_cast<std::uint32_t>(report.blocks.size()), i + 1, 0});
        report.blocks.push_back(purse.back());
        purse.pop_back();
        room[i] += tokens_per_block;
      }
      const auto given = filled[i] + count - std::min(filled[i] + count, std::max(filled[i], tokens_per_block));
      report.operations.push_back({kind::fill, 0, count, static_cast<std::uint32_t>(report.tokens.size()), i + 1, 0});
      report.tokens.insert(report.tokens.end(), given, static_cast<token_id>(round + 1000));
      filled[i] += count;
    }
    kv_grant grant;
    const auto took = nanoseconds([&] { grant = must(store.apply(report)); });
    purse.insert(purse.end(), grant.blocks[0].begin(), grant.blocks[0].end());
    if (round >= 0)
      steps.push_back(took);
  }
  print("report of a decode step of 256 sequences", std::move(steps));
}

} // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 300;
  lookups("xxh128", block_hash_kind::xxh128, {{8192, 0}}, rounds);
  lookups("xxh128, with a window", block_hash_kind::xxh128, {{8192, 0}, {8192, 1024}}, rounds);
  lookups("sha256", block_hash_kind::sha256, {{8192, 0}}, rounds);
  decode_steps(rounds);
}
