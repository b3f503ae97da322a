// What an exchange costs between two processes that do nothing else.
//   communicator [--json]
// Prints microseconds of each call, median and 99th percentile, by bytes.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "comm/shared_memory.hpp"

namespace {

using namespace troupe;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t sizes[] = {4, 4096, 65536, 1 << 20};
constexpr int warm_up = 500;

constexpr int rounds_of(std::size_t bytes) {
  return bytes <= 4096 ? 20000 : 2000;
}

/// Microseconds of each call after the first ones.
std::vector<double> run(communicator& on, std::size_t bytes) {
  std::vector<float> data(bytes / sizeof(float), 1.0f);
  std::vector<double> out;
  for (int i = 0; i < warm_up + rounds_of(bytes); ++i) {
    const auto begin = clock_type::now();
    if (!on.all_reduce(data, data, begin + std::chrono::seconds(10)))
      std::exit(1);
    if (i >= warm_up)
      out.push_back(std::chrono::duration<double, std::micro>(clock_type::now() - begin).count());
    std::ranges::fill(data, 1.0f);
  }
  std::ranges::sort(out);
  return out;
}

void measure(bool json) {
  const shared_group_options options{.shards = {1, 1}};
  auto group = shared_group::create(options);
  if (!group)
    std::exit(1);
  const auto child = fork();
  auto mine = join_shared_group(group->address(), options, child == 0 ? 1 : 0);
  if (!mine)
    std::exit(1);
  if (json && child != 0)
    std::printf("{");
  for (const auto bytes : sizes) {
    const auto times = run(**mine, bytes);
    if (child == 0)
      continue;
    const double median = times[times.size() / 2], p99 = times[times.size() * 99 / 100];
    if (json)
      std::printf("%s\"all_reduce_%zu\": {\"us_p50\": %.2f, \"us_p99\": %.2f}", bytes == sizes[0] ? "" : ", ", bytes,
                  median, p99);
    else
      std::printf("all_reduce of %7zu bytes: %8.2f us, p99 %8.2f\n", bytes, median, p99);
  }
  if (child == 0)
    _exit(0);
  if (json)
    std::printf("}\n");
  waitpid(child, nullptr, 0);
}

} // namespace

int main(int argc, char** argv) {
  measure(argc > 1 && std::strcmp(argv[1], "--json") == 0);
}
