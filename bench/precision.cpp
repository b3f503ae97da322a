// How far the CPU backend's next-token distributions are from those of the float32 reference, on real text:
//   precision MODEL.gguf [TEXT] [--cpu-arithmetic int8|bf16] [--kv-cache-dtype bf16|int8] [--chunks 8] [--peer FILE]
//
// TEXT (by default the licences that Debian installs) is cut into chunks of 512 tokens, each computed by itself; as in
// llama.cpp's llama-perplexity, the distributions of the second half of each chunk count: 255 positions, and 2,040 in 8
// chunks. Prints the mean and the 99th percentile of the Kullback-Leibler divergence in nats, the share of positions
// with the same top token, and the ratio of the perplexities.
//
// --peer FILE: what `llama-perplexity -m MODEL -f TEXT -c 512 --kl-divergence-base FILE` wrote of the same tokens, which
// is then compared in the same way. The reference takes minutes; it keeps what it computed in a temporary file.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/device_options.hpp"
#include "bench/support.hpp"
#include "cpu/backends.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace {

using namespace troupe;
using namespace troupe::bench;

constexpr std::uint32_t chunk_tokens = 512, first_counted = 256, rows_at_once = 64;
const backend_options sizes{.kv_blocks = 64, .max_rows = rows_at_once, .max_logit_rows = rows_at_once};

/// Whether the distribution after token `row` of a chunk counts.
bool counts(std::uint32_t row) {
  return row >= first_counted && row < chunk_tokens - 1;
}

struct arguments {
  std::string model, text, peer;
  std::uint32_t chunks = 8;
  backend_options device = sizes;
};

/// Logits before each counted token, of all chunks: [positions][vocabulary].
class logits_table {
public:
  logits_table(std::size_t positions, std::uint32_t vocabulary)
      : vocabulary_(vocabulary), all_(positions * vocabulary) {}
  std::span<float> rows(std::size_t first, std::size_t count) {
    return std::span(all_).subspan(first * vocabulary_, count * vocabulary_);
  }
  std::span<const float> row(std::size_t position) const {
    return std::span(all_).subspan(position * vocabulary_, vocabulary_);
  }
  std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(all_)); }

private:
  std::uint32_t vocabulary_;
  std::vector<float> all_;
};

void compute(backend& on, std::span<const token_id> tokens, logits_table& out) {
  std::vector<block_id> blocks(chunk_tokens / tokens_per_block);
  std::iota(blocks.begin(), blocks.end(), 0);
  std::size_t position = 0;
  for (std::size_t chunk = 0; chunk < tokens.size() / chunk_tokens; ++chunk)
    for (std::uint32_t first = 0; first < chunk_tokens; first += rows_at_once) {
      const auto rows = tokens.subspan(chunk * chunk_tokens + first, rows_at_once);
      const std::vector<batch_span> spans{{0, rows_at_once, first, blocks}};
      std::vector<std::uint32_t> wanted;
      for (std::uint32_t i = 0; i < rows_at_once; ++i)
        if (counts(first + i))
          wanted.push_back(i);
      on.forward({rows, spans, wanted}, out.rows(position, wanted.size()));
      position += wanted.size();
    }
}

struct distribution {
  std::span<const float> logits;
  double log_total = 0;
  std::size_t top = 0;
  explicit distribution(std::span<const float> from) : logits(from) {
    top = static_cast<std::size_t>(std::ranges::max_element(from) - from.begin());
    double total = 0;
    for (float logit : from)
      total += std::exp(double{logit} - from[top]);
    log_total = from[top] + std::log(total);
  }
  double log_probability(std::size_t token) const { return logits[token] - log_total; }
};

struct comparison {
  std::vector<double> divergences;
  std::size_t same_top = 0;
  double loss_p = 0, loss_q = 0;

  void add(const distribution& p, const distribution& q, token_id next) {
    double sum = 0;
    for (std::size_t i = 0; i < p.logits.size(); ++i)
      sum += std::exp(p.log_probability(i)) * (p.log_probability(i) - q.log_probability(i));
    divergences.push_back(sum);
    same_top += p.top == q.top;
    loss_p -= p.log_probability(static_cast<std::size_t>(next));
    loss_q -= q.log_probability(static_cast<std::size_t>(next));
  }

  void print(const char* who) {
    const auto count = static_cast<double>(divergences.size());
    std::ranges::sort(divergences);
    std::printf(
      "%s: mean KL %.6f, 99 %% %.6f, same top token %.2f %% of %.0f, perplexity %.4f to %.4f (ratio %.5f)\n", who,
      std::accumulate(divergences.begin(), divergences.end(), 0.0) / count,
      divergences[divergences.size() * 99 / 100], 100 * static_cast<double>(same_top) / count, count,
      std::exp(loss_p / count), std::exp(loss_q / count), std::exp((loss_q - loss_p) / count));
  }
};

/// The tokens at which the counted distributions are evaluated, in their order.
std::vector<token_id> next_tokens(std::span<const token_id> tokens) {
  std::vector<token_id> out;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (counts(i % chunk_tokens))
      out.push_back(tokens[i + 1]);
  return out;
}

/// Log-probabilities that llama-perplexity wrote: 16 bits each between a least one and the largest.
logits_table read_peer(const std::string& path, std::uint32_t vocabulary, std::span<const token_id> tokens,
                       std::size_t positions) {
  std::ifstream in(path, std::ios::binary);
  char magic[8];
  std::int32_t header[3]; // Context, vocabulary, chunks.
  std::vector<token_id> theirs(tokens.size());
  const auto read = [&](void* to, std::size_t bytes) {
    if (!in.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes)))
      give_up("'" + path + "' ends too early.");
  };
  read(magic, sizeof magic);
  read(header, sizeof header);
  read(theirs.data(), theirs.size() * sizeof(token_id));
  if (std::memcmp(magic, "_logits_", 8) != 0 || header[0] != chunk_tokens ||
      header[1] != static_cast<std::int32_t>(vocabulary) || !std::ranges::equal(theirs, tokens))
    give_up("'" + path + "' has other tokens than this text has in chunks of 512.");
  in.seekg(static_cast<std::streamoff>(sizeof magic + sizeof header +
                                       std::size_t(header[2]) * chunk_tokens * sizeof(token_id)));
  logits_table out(positions, vocabulary);
  std::vector<std::uint16_t> row((vocabulary + 1) / 2 * 2 + 4);
  for (std::size_t position = 0; position < positions; ++position) {
    read(row.data(), row.size() * sizeof(std::uint16_t));
    float scale_and_least[2];
    std::memcpy(scale_and_least, row.data(), sizeof scale_and_least);
    std::ranges::transform(std::span(row).subspan(4, vocabulary), out.rows(position, 1).begin(),
                           [&](std::uint16_t step) { return scale_and_least[0] * step + scale_and_least[1]; });
  }
  return out;
}

void compare(const char* who, const logits_table& exact, const logits_table& other, std::span<const token_id> next) {
  comparison all;
  for (std::size_t i = 0; i < next.size(); ++i)
    all.add(distribution(exact.row(i)), distribution(other.row(i)), next[i]);
  all.print(who);
}

logits_table reference(const std::shared_ptr<const gguf::file>& file, const model_program& program,
                       std::span<const token_id> tokens, std::size_t positions) {
  logits_table out(positions, program.vocabulary);
  const std::string model = file->path().string() + std::to_string(file->size());
  const std::size_t hash =
    std::hash<std::string>{}(model) ^
    std::hash<std::string_view>{}({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
  const auto kept = std::filesystem::temp_directory_path() / ("troupe-reference-" + std::to_string(hash) + ".logits");
  auto bytes = out.bytes();
  std::ifstream in(kept, std::ios::binary);
  if (in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
    return out;
  compute(*or_give_up(make_reference_backend(file, program, sizes)), tokens, out);
  std::ofstream(kept, std::ios::binary)
    .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return out;
}

} // namespace

int main(int argc, char** argv) {
  arguments options;
  CLI::App app("How exact the CPU backend's distributions are");
  app.add_option("MODEL", options.model)->required();
  app.add_option("TEXT", options.text);
  app.add_option("--chunks", options.chunks)->check(CLI::Range(1, 100000));
  app.add_option("--peer", options.peer);
  add_device_options(app, options.device);
  CLI11_PARSE(app, argc, argv);
  const auto [file, program] = open_model(options.model);
  auto tokens = or_give_up(tokenizer::from_gguf(*file))
                  ->encode(options.text.empty() ? licences({"GPL-3", "Apache-2.0", "MPL-2.0", "Artistic"})
                                                : contents_of(options.text));
  const std::size_t chunks = std::min<std::size_t>(options.chunks, tokens.size() / chunk_tokens);
  if (chunks == 0)
    give_up("The text has fewer than 512 tokens.");
  tokens.resize(chunks * chunk_tokens);
  const auto next = next_tokens(tokens);
  const auto exact = reference(file, program, tokens, next.size());
  const auto device = or_give_up(make_cpu_backend(file, program, options.device));
  logits_table own(next.size(), program.vocabulary);
  compute(*device, tokens, own);
  compare("troupe", exact, own, next);
  if (!options.peer.empty())
    compare("peer", exact, read_peer(options.peer, program.vocabulary, tokens, next.size()), next);
}
