#include "serve/api/identity.hpp"

#include <chrono>
#include <random>

#include <fmt/format.h>
#include <xxhash.h>

#include "protocol/limits.hpp"

namespace troupe::serve {
namespace {

std::uint64_t random_number() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device source;
    std::seed_seq seeds{source(), source(), source(), source(), source(), source(), source(), source()};
    return std::mt19937_64(seeds);
  }();
  return generator();
}

} // namespace

std::string random_id(std::string_view prefix) {
  return fmt::format("{}{:016x}{:016x}", prefix, random_number(), random_number());
}

std::uint64_t random_seed() {
  return random_number() >> 1;
}

std::int64_t seconds_now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

call_identity make_identity(const api_context& context, std::string_view prefix) {
  const auto hash = XXH3_64bits_withSeed(context.model_name.data(), context.model_name.size(), protocol_version);
  return {random_id(prefix), seconds_now(), context.model_name, fmt::format("fp_{:010x}", hash & 0xffffffffffu)};
}

} // namespace troupe::serve
