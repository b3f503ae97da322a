// What sampling costs where two ranks share the vocabulary: rows whose logits are gathered and then sampled, against rows that
// are decided by the ranks' proposals. In turns; both ranks are threads of this process, one a core.
//
//   shared_sampling [VOCABULARY]
//
// Times are of one step, by rank 0: the median, and the fastest tenth, which other processes have disturbed least.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "comm/shared_memory.hpp"
#include "model/logit_parts.hpp"
#include "model/sampling/sampler.hpp"

using namespace troupe;

namespace {

using clock_type = std::chrono::steady_clock;

constexpr unsigned ranks = 2;
constexpr int steps = 400;

struct rank_state {
  logit_parts parts;
  std::unique_ptr<communicator> group;
  std::vector<float> logits;
  sampling_workspace room;
  sequence_sampler sampler;
  std::vector<proposal> mine{}, all{}, one{};
};

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

communicator::deadline soon() {
  return clock_type::now() + std::chrono::seconds(10);
}

/// Returns something of the tokens, so that they are computed.
token_id gather_and_sample(rank_state& on, std::uint32_t rows, std::uint32_t vocabulary) {
  if (!on.parts.gather(on.logits, {}, *on.group, soon()))
    give_up("The ranks could not gather their logits.");
  token_id sum = 0;
  for (std::uint32_t row = 0; row < rows; ++row)
    sum += *on.sampler.sample(std::span(on.logits).subspan(std::size_t{row} * vocabulary, vocabulary), row, on.room);
  return sum;
}

token_id propose_and_decide(rank_state& on, std::uint32_t rows, std::uint32_t vocabulary) {
  const auto own = on.parts.own();
  const std::size_t each = on.sampler.proposals(), total = each * rows;
  on.mine.resize(total);
  on.all.resize(total * ranks);
  on.one.resize(each * ranks);
  for (std::uint32_t row = 0; row < rows; ++row) {
    const auto part =
      std::span<const float>(on.logits).subspan(std::size_t{row} * vocabulary + own.begin, own.end - own.begin);
    if (!on.sampler.propose({part, static_cast<token_id>(own.begin)}, row, on.room,
                            std::span(on.mine).subspan(row * each, each)))
      give_up("Nothing was proposed.");
  }
  if (!on.group->all_gather(std::as_bytes(std::span(on.mine)), std::as_writable_bytes(std::span(on.all)), soon()))
    give_up("The ranks could not exchange their proposals.");
  token_id sum = 0;
  for (std::uint32_t row = 0; row < rows; ++row) {
    for (std::size_t r = 0; r < ranks; ++r)
      std::copy_n(on.all.data() + r * total + row * each, each, on.one.data() + r * each);
    sum += *on.sampler.decide(on.one, row, on.room);
  }
  return sum;
}

struct figures {
  double median, tenth;
};

figures figures_of(std::vector<double>& us) {
  std::ranges::sort(us);
  return {us[us.size() / 2], us[us.size() / 10]};
}

void measure(const char* name, const sequence_sampling& sampling, std::uint32_t rows, std::uint32_t vocabulary) {
  const shared_group_options options{.shards = std::vector<unsigned>(ranks, 1)};
  const auto group = shared_group::create(options);
  if (!group)
    give_up(group.error().message.c_str());
  std::vector<double> gathered, decided;
  const auto work = [&](unsigned rank) {
    model_program program;
    program.vocabulary = vocabulary;
    program.rank = rank;
    program.logit_cuts = {0, vocabulary / 2 / 32 * 32, vocabulary};
    auto joined = join_shared_group(group->address(), options, rank);
    if (!joined)
      give_up(joined.error().message.c_str());
    rank_state on{logit_parts(program),
                  std::move(*joined),
                  {},
                  sampling_workspace(vocabulary),
                  sequence_sampler(std::make_shared<const sequence_sampling>(sampling), 0)};
    on.parts.reserve(rows);
    std::mt19937_64 random(7); // The same logits on both ranks.
    std::normal_distribution<float> normal(0, 3);
    on.logits.resize(std::size_t{rows} * vocabulary);
    for (auto& logit : on.logits)
      logit = normal(random);
    for (int step = 0; step < steps; ++step)
      for (const bool decides : {false, true}) {
        if (!on.group->barrier(soon()))
          give_up("The ranks have lost each other.");
        const auto begin = clock_type::now();
        const auto sum = (decides ? propose_and_decide : gather_and_sample)(on, rows, vocabulary);
        const auto us = std::chrono::duration<double, std::micro>(clock_type::now() - begin).count();
        if (rank == 0)
          (decides ? decided : gathered).push_back(us);
        static thread_local token_id before;
        if (decides && sum != before)
          give_up("Other tokens were decided on than sampled.");
        before = sum;
      }
  };
  std::jthread other(work, 1);
  work(0);
  other.join();
  const auto a = figures_of(gathered), b = figures_of(decided);
  const auto each = sequence_sampler(std::make_shared<const sequence_sampling>(sampling), 0).proposals();
  std::printf("%-12s %3u rows: gathered %9zu bytes a rank, %8.1f us (%8.1f); decided %6zu bytes, %7.1f us (%7.1f)\n",
              name, rows, std::size_t{rows} * (vocabulary / 2) * sizeof(float), a.median, a.tenth,
              each * rows * sizeof(proposal), b.median, b.tenth);
}

} // namespace

int main(int argc, char** argv) {
  const auto vocabulary = argc > 1 ? static_cast<std::uint32_t>(std::atoi(argv[1])) : 49152u;
  sequence_sampling greedy, warm, top_k;
  warm.temperature = top_k.temperature = 0.8f;
  top_k.top_k = 40;
  top_k.top_p = 0.95f;
  for (const std::uint32_t rows : {1u, 16u, 64u}) {
    measure("greedy", greedy, rows, vocabulary);
    measure("temperature", warm, rows, vocabulary);
    measure("top-k, top-p", top_k, rows, vocabulary);
  }
}
