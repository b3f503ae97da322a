#include "tools/troupe/bench/datasets.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace troupe::cli {

namespace {

constexpr int most_attempts = 10; ///< As vLLM has it.

// What a ShareGPT conversation must be to be taken, in tokens, as in vLLM.
constexpr std::uint32_t least_tokens = 4, most_prompt_tokens = 1024, most_sharegpt_tokens = 2048;

token_id any_of(const std::vector<token_id>& ids, std::mt19937_64& random) {
  return ids[std::uniform_int_distribution<std::size_t>(0, ids.size() - 1)(random)];
}

std::vector<token_id> random_ids(const text_codec& codec, std::uint32_t count, std::mt19937_64& random) {
  std::vector<token_id> ids(count);
  for (auto& id : ids)
    id = any_of(codec.ordinary_tokens(), random);
  return ids;
}

/// Lengths about `mean`, each within the share `range` of it.
class lengths {
public:
  lengths(std::uint32_t mean, double range, std::uint32_t least)
      : of_(std::max<std::uint32_t>(least, static_cast<std::uint32_t>(std::floor(mean * (1 - range)))),
            std::max<std::uint32_t>(least, static_cast<std::uint32_t>(std::ceil(mean * (1 + range))))) {}
  std::uint32_t next(std::mt19937_64& random) { return of_(random); }

private:
  std::uniform_int_distribution<std::uint32_t> of_;
};

tl::unexpected<error> stopped() {
  return fail(errc::cancelled, "A signal came.");
}

/// Makes random turns: a common prefix, then random tokens.
class random_turns {
public:
  random_turns(const dataset_flags& flags, text_codec& codec)
      : codec_(codec), random_(flags.seed),
        inputs_(flags.random_input - std::min(flags.random_input, codec.added_tokens()), flags.random_range, 0),
        outputs_(flags.random_output, flags.random_range, 1) {}

  expected<void> begin(const dataset_flags& flags) {
    if (flags.random_prefix == 0)
      return {};
    auto made = make_exact(codec_, random_ids(codec_, flags.random_prefix, random_), flags.random_prefix, random_);
    if (!made)
      return tl::unexpected(made.error());
    prefix_ = std::move(made->ids);
    return {};
  }

  expected<turn> next() {
    auto ids = random_ids(codec_, inputs_.next(random_), random_);
    ids.insert(ids.begin(), prefix_.begin(), prefix_.end());
    const auto wanted = static_cast<std::uint32_t>(ids.size());
    if (wanted == 0)
      return fail(errc::invalid_argument,
                  "--random-input-len is too small: a prompt has one token at least, beside what the server adds.");
    auto made = make_exact(codec_, std::move(ids), wanted, random_);
    if (!made)
      return tl::unexpected(made.error());
    return turn{std::move(made->text), static_cast<std::uint32_t>(made->ids.size()) + codec_.added_tokens(),
                outputs_.next(random_)};
  }

private:
  text_codec& codec_;
  std::mt19937_64 random_;
  lengths inputs_, outputs_;
  std::vector<token_id> prefix_;
};

/// So many requests in conversations of `turns` each; the last may be shorter.
expected<std::vector<conversation>> random_work(const dataset_flags& flags, text_codec& codec, std::uint32_t turns,
                                                const workload_watch& goes_on) {
  random_turns source(flags, codec);
  if (auto begun = source.begin(flags); !begun)
    return tl::unexpected(begun.error());
  std::vector<conversation> work;
  for (std::uint32_t i = 0; i < flags.requests; ++i) {
    if (!goes_on(i))
      return stopped();
    if (i % turns == 0)
      work.emplace_back();
    auto made = source.next();
    if (!made)
      return tl::unexpected(made.error());
    work.back().push_back(std::move(*made));
  }
  return work;
}

expected<std::vector<conversation>> repeated_prefixes(const dataset_flags& flags, text_codec& codec,
                                                      const workload_watch& goes_on) {
  const auto each = flags.requests / flags.repeated_prefixes;
  if (each == 0)
    return fail(
      errc::invalid_argument,
      fmt::format("--num-prompts {} are fewer than --prefix-repetition-num-prefixes {}: each prefix needs one.",
                  flags.requests, flags.repeated_prefixes));
  std::mt19937_64 random(flags.seed);
  const auto exact = [&](std::uint32_t tokens) {
    return make_exact(codec, random_ids(codec, tokens, random), tokens, random);
  };
  std::vector<conversation> work;
  for (std::uint32_t p = 0; p < flags.repeated_prefixes; ++p) {
    const auto prefix = exact(flags.repeated_prefix);
    if (!prefix)
      return tl::unexpected(prefix.error());
    for (std::uint32_t i = 0; i < each; ++i) {
      if (!goes_on(static_cast<std::uint32_t>(work.size())))
        return stopped();
      const auto suffix = exact(flags.repeated_suffix);
      if (!suffix)
        return tl::unexpected(suffix.error());
      const auto tokens = static_cast<std::uint32_t>(prefix->ids.size() + suffix->ids.size());
      work.push_back({{prefix->text + suffix->text, tokens + codec.added_tokens(), flags.repeated_output}});
    }
  }
  std::ranges::shuffle(work, random);
  return work;
}

expected<turn> sharegpt_turn(const dataset_flags& flags, text_codec& codec, std::string said,
                             const std::string& answer) {
  const auto prompt = codec.encode(said);
  if (!prompt)
    return tl::unexpected(prompt.error());
  turn made{std::move(said), static_cast<std::uint32_t>(prompt->size()) + codec.added_tokens(), 0};
  if (flags.sharegpt_output) {
    made.output_tokens = *flags.sharegpt_output;
    return made;
  }
  const auto answered = codec.encode(answer);
  if (!answered)
    return tl::unexpected(answered.error());
  made.output_tokens = static_cast<std::uint32_t>(answered->size());
  return made;
}

bool is_taken(const dataset_flags& flags, const turn& which) {
  return which.prompt_tokens >= least_tokens && which.prompt_tokens <= most_prompt_tokens &&
         (flags.sharegpt_output || which.output_tokens >= least_tokens) &&
         which.prompt_tokens + which.output_tokens <= most_sharegpt_tokens;
}

/// Of each conversation of the file so many turns, while they are of a length that is taken; from the first again when
/// all have been taken.
expected<std::vector<conversation>> sharegpt_work(const dataset_flags& flags, text_codec& codec, std::uint32_t turns,
                                                  const workload_watch& goes_on) {
  if (flags.path.empty())
    return fail(errc::invalid_argument,
                "--dataset-name " + flags.name + " needs its file: --dataset-path FILE.json.");
  auto file = read_sharegpt(flags.path);
  if (!file)
    return tl::unexpected(file.error());
  std::mt19937_64 random(flags.seed);
  std::ranges::shuffle(*file, random);
  std::vector<conversation> work;
  std::uint32_t requests = 0;
  for (auto& texts : *file) {
    if (requests == flags.requests)
      break;
    conversation made;
    for (std::size_t i = 0; i + 1 < texts.size() && made.size() < turns && requests < flags.requests; i += 2) {
      if (!goes_on(requests))
        return stopped();
      auto next = sharegpt_turn(flags, codec, std::move(texts[i]), texts[i + 1]);
      if (!next)
        return tl::unexpected(next.error());
      if (!is_taken(flags, *next))
        break;
      made.push_back(std::move(*next));
      ++requests;
    }
    if (!made.empty())
      work.push_back(std::move(made));
  }
  if (work.empty())
    return fail(
      errc::invalid_argument,
      fmt::format("{} has no conversation with a prompt of {} to {} tokens and, with its answer, {} at most.",
                  flags.path.string(), least_tokens, most_prompt_tokens, most_sharegpt_tokens));
  for (std::size_t i = 0; requests < flags.requests; ++i) {
    auto again = work[i];
    again.resize(std::min<std::size_t>(again.size(), flags.requests - requests));
    requests += static_cast<std::uint32_t>(again.size());
    work.push_back(std::move(again));
  }
  return work;
}

} // namespace

expected<exact_text> make_exact(text_codec& codec, std::vector<token_id> ids, std::uint32_t tokens,
                                std::mt19937_64& random) {
  for (int attempt = 0;; ++attempt) {
    auto text = codec.decode(ids);
    if (!text)
      return tl::unexpected(text.error());
    auto encoded = codec.encode(*text);
    if (!encoded)
      return tl::unexpected(encoded.error());
    ids = std::move(*encoded);
    if (ids.size() == tokens || attempt == most_attempts)
      return exact_text{std::move(*text), std::move(ids)};
    const auto known = ids.size();
    ids.resize(tokens);
    for (std::size_t i = known; i < tokens; ++i)
      ids[i] = any_of(codec.ordinary_tokens(), random);
  }
}

expected<std::vector<conversation>> make_workload(const dataset_flags& flags, text_codec& codec,
                                                  const workload_watch& goes_on) {
  if (flags.name == "sharegpt")
    return sharegpt_work(flags, codec, 1, goes_on);
  if (flags.name == "prefix_repetition")
    return repeated_prefixes(flags, codec, goes_on);
  if (flags.name == "multi-turn" && !flags.path.empty())
    return sharegpt_work(flags, codec, flags.turns, goes_on);
  return random_work(flags, codec, flags.name == "multi-turn" ? flags.turns : 1, goes_on);
}

std::uint32_t requests_of(const std::vector<conversation>& work) {
  std::size_t count = 0;
  for (const auto& each : work)
    count += each.size();
  return static_cast<std::uint32_t>(count);
}

} // namespace troupe::cli
