// What the wire costs: nanoseconds to write one delta of a step's frame, to read it, and to read a request.
//
//   build/bench/protocol
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "protocol/codec.hpp"

namespace {

using namespace troupe;

constexpr int repeats = 9;

/// The median time of one run of `work`, by `units`, in nanoseconds.
template <class Work>
double nanoseconds(double units, int runs, Work work) {
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    for (int run = 0; run < runs; ++run)
      work();
    const auto time = std::chrono::steady_clock::now() - begun;
    times.push_back(std::chrono::duration<double, std::nano>(time).count() / runs / units);
  }
  std::sort(times.begin(), times.end());
  return times[repeats / 2];
}

/// A step that brought each of so many requests a token, and ended every 16th.
std::vector<server_message> step(std::uint32_t requests) {
  std::vector<server_message> messages;
  for (std::uint32_t i = 0; i < requests; ++i) {
    messages.push_back(
      token_delta{.id = 100000 + i, .position = i % 16, .token_ids = {token_id(1000 + i)}, .text = " word"});
    if (i % 16 == 15)
      messages.push_back(request_end{.id = 100000 + i, .usage = {16, 16, 0}, .timings = {12.5, 80.25}});
  }
  return messages;
}

void measure_step(std::uint32_t requests) {
  const auto messages = step(requests);
  delivery_encoder encoder;
  std::string frame;
  const double encoding = nanoseconds(requests, 200000 / static_cast<int>(requests), [&] {
    encoder.begin(messages);
    while (auto next = encoder.next())
      frame = *next;
  });
  const double decoding = nanoseconds(requests, 20000 / static_cast<int>(requests), [&] {
    if (!decode_server(frame))
      std::abort();
  });
  std::printf("step of %4u deltas, %6zu bytes: encode %5.1f ns a delta, decode %5.1f ns a delta\n", requests,
              frame.size(), encoding, decoding);
}

void measure_request(std::size_t tokens, bool with_options) {
  generate_request request{.id = 123456, .prompt = prompt_tokens(tokens, 12345)};
  request.sampling.max_tokens = 16;
  request.sampling.ignore_eos = true;
  if (with_options)
    request.sampling = {
      .temperature = 0.7f, .seed = 77, .top_k = 40, .top_p = 0.9f, .max_tokens = 16, .stop = {"\n"}};
  const std::string frame = encode(request);
  const int runs = static_cast<int>(2000000 / (tokens + 20));
  const double decoding = nanoseconds(1, runs, [&] {
    if (!decode_client(frame))
      std::abort();
  });
  std::printf("request with %5zu tokens%s, %6zu bytes: decode %7.0f ns\n", tokens,
              with_options ? " and six options" : "", frame.size(), decoding);
}

} // namespace

int main() {
  for (std::uint32_t requests : {1u, 16u, 256u, 2048u})
    measure_step(requests);
  measure_request(16, false);
  measure_request(16, true);
  measure_request(4000, false);
}
