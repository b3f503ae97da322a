// How fast text becomes tokens and tokens become text, and how long the tokenizer takes to make.
//   tokenizer MODEL.gguf [TEXT]     TEXT: a file; by default 200 KB of the licences that Debian installs.
// Prints the best of several runs, since neighbours on the machine only ever make it slower.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/support.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace {

using namespace troupe;
using namespace troupe::bench;

std::string some_licences() {
  auto text = licences({"GPL-3", "GPL-2", "Apache-2.0", "MPL-2.0", "LGPL-2.1", "GFDL-1.3", "Artistic", "MPL-1.1",
                        "LGPL-2", "GFDL-1.2", "GPL-1"});
  text.resize(std::min<std::size_t>(text.size(), 200'000));
  return text;
}

template <class Function>
double best_seconds(int runs, Function function) {
  double best = 1e9;
  for (int run = 0; run < runs; ++run) {
    auto start = std::chrono::steady_clock::now();
    function();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void report(const tokenizer& tokens, const char* what, const std::string& text, int runs) {
  std::vector<token_id> ids;
  auto seconds = best_seconds(runs, [&] { ids = tokens.encode(text); });
  std::printf("%-22s %8zu bytes %8zu tokens  encode %7.2f MB/s\n", what, text.size(), ids.size(),
              static_cast<double>(text.size()) / seconds / 1e6);
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s MODEL.gguf [TEXT]\n", argv[0]);
    return 2;
  }
  const auto file = or_give_up(gguf::open(argv[1]));
  std::shared_ptr<const tokenizer> tokens;
  auto seconds = best_seconds(10, [&] { tokens = or_give_up(tokenizer::from_gguf(*file)); });
  std::printf("made in %.1f ms, %zu tokens\n", seconds * 1e3, tokens->size());
  auto text = argc == 3 ? contents_of(argv[2]) : some_licences();
  report(*tokens, argc == 3 ? argv[2] : "licences", text, 20);
  auto ids = tokens->encode(text);
  seconds = best_seconds(20, [&] {
    detokenizer out(tokens);
    for (auto id : ids)
      out.feed(id);
  });
  std::printf("%-22s %8.2f million tokens/s\n", "detokenizer", static_cast<double>(ids.size()) / seconds / 1e6);
  report(*tokens, "1 MB of one letter", std::string(1u << 20, 'a'), 3);
  report(*tokens, "1 MB of spaces", std::string(1u << 20, ' '), 3);
  report(*tokens, "1 MB of digits", std::string(1u << 20, '7'), 3);
  return 0;
}
