// What an exchange costs between two processes that do nothing else.
//   communicator [--json]
// over shared memory and over TCP on loopback.
// Prints microseconds of each call, median and 99th percentile, by bytes.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "comm/shared_memory.hpp"
#include "comm/tcp.hpp"

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

using maker = std::unique_ptr<communicator> (*)(unsigned rank);

/// One process a rank; prints in that of rank 0.
void measure(const char* name, bool json, bool first, maker join) {
  std::fflush(stdout);
  const auto child = fork();
  const auto rank = join(child == 0 ? 1 : 0);
  for (const auto bytes : sizes) {
    const auto times = run(*rank, bytes);
    if (child == 0)
      continue;
    const double median = times[times.size() / 2], p99 = times[times.size() * 99 / 100];
    if (json)
      std::printf("%s\"%s_%zu\": {\"us_p50\": %.2f, \"us_p99\": %.2f}", first && bytes == sizes[0] ? "" : ", ", name,
                  bytes, median, p99);
    else
      std::printf("%-13s all_reduce of %7zu bytes: %8.2f us, p99 %8.2f\n", name, bytes, median, p99);
  }
  if (child == 0)
    _exit(0);
  waitpid(child, nullptr, 0);
}

template <class T>
T or_exit(expected<T> made) {
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().message.c_str());
    std::exit(1);
  }
  return std::move(*made);
}

const shared_group_options shared{.shards = {1, 1}};
std::string shared_address;

std::unique_ptr<communicator> join_shared(unsigned rank) {
  return or_exit(join_shared_group(shared_address, shared, rank));
}

std::vector<tcp_listener> listeners;

std::unique_ptr<communicator> join_tcp(unsigned rank) {
  return or_exit(join_tcp_group(listeners[rank], {listeners[0].address(), listeners[1].address()}, {.shards = {1, 1}},
                                rank, clock_type::now() + std::chrono::seconds(10)));
}

} // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const auto group = or_exit(shared_group::create(shared));
  shared_address = group.address();
  for (int i = 0; i < 2; ++i)
    listeners.push_back(or_exit(tcp_listener::open("127.0.0.1")));
  if (json)
    std::printf("{");
  measure("shared_memory", json, true, join_shared);
  measure("tcp", json, false, join_tcp);
  if (json)
    std::printf("}\n");
}
