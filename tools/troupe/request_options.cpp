#include "tools/troupe/request_options.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "protocol/validate.hpp"

namespace troupe::cli {

namespace {

using json = nlohmann::ordered_json;

/// Calls `visit(field, option, value, help)` for what every command has.
template <class Visit>
void each_option(generate_request& request, Visit visit) {
  auto& sampling = request.sampling;
  auto& scheduling = request.scheduling;
  visit("temperature", "--temperature", sampling.temperature,
        "0: always the likeliest token; 1: as the model has learned");
  visit("max_tokens", "--max-tokens", sampling.max_tokens, "Length of the answer at most");
  visit("min_tokens", "--min-tokens", sampling.min_tokens, "The answer does not end before so many tokens");
  visit("seed", "--seed", sampling.seed, "The same seed gives the same answer");
  visit("stop", "--stop", sampling.stop, "End the answer before this text; may be given several times");
  visit("stop_tokens", "--stop-token", sampling.stop_tokens,
        "End the answer with this token; may be given several times");
  visit("ignore_eos", "--ignore-eos", sampling.ignore_eos, "Go on when the model says that it has finished");
  visit("top_k", "--top-k", sampling.top_k, "Only the so many likeliest tokens; 0: all");
  visit("top_p", "--top-p", sampling.top_p, "Only the likeliest tokens that together have this probability; 1: all");
  visit("min_p", "--min-p", sampling.min_p, "Only tokens with this share of the likeliest one's probability");
  visit("typical_p", "--typical-p", sampling.typical_p,
        "Only the most typical tokens that together have this probability; 1: all");
  visit("repetition_penalty", "--repetition-penalty", sampling.repetition_penalty,
        "Over 1: tokens that were there, also in the prompt, are less likely");
  visit("presence_penalty", "--presence-penalty", sampling.presence_penalty,
        "Over 0: tokens of the answer are less likely");
  visit("frequency_penalty", "--frequency-penalty", sampling.frequency_penalty,
        "Over 0: the less likely the oftener they were there");
  visit("logit_bias", "--logit-bias", sampling.logit_bias,
        "TOKEN:BIAS, from -100 to 100: makes a token likelier or less likely; may be given several times");
  visit("allowed_tokens", "--allowed-token", sampling.allowed_tokens,
        "Only tokens that are given so; may be given several times");
  visit("bad_words", "--bad-word", sampling.bad_words, "Never generate this; may be given several times");
  visit("best_of", "--best-of", request.best_of,
        "Generate so many answers and give the best; 0: as many as are given");
  visit("priority", "--priority", scheduling.priority, "The lower the sooner, from -1000 to 1000");
  visit("ttft_ms", "--ttft-ms", scheduling.ttft_ms, "Wanted time to the first token; 0: none");
  visit("itl_ms", "--itl-ms", scheduling.itl_ms, "Wanted time between two tokens; 0: none");
  visit("cache_salt", "--cache-salt", scheduling.cache_salt,
        "Share cached prefixes only with requests that have the same");
}

/// The same for what gives more than the text of one answer.
template <class Visit>
void each_option_of_several(generate_request& request, Visit visit) {
  visit("n", "--n", request.n, "So many answers");
  visit("logprobs", "--logprobs", request.sampling.logprobs,
        "With each token its logprob and so many of the likeliest");
  visit("prompt_logprobs", "--prompt-logprobs", request.sampling.prompt_logprobs, "The same for the prompt's tokens");
  visit("echo", "--echo", request.echo, "The answer begins with the prompt");
}

/// CLI11 takes -1 for the largest number of 64 bits.
const CLI::Validator not_negative(
  [](const std::string& text) { return text.starts_with('-') ? "it is negative: " + text : std::string(); }, "",
  "not negative");

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size())
    return {};
  return number;
}

logit_bias_entry bias_of(const std::string& text) {
  const auto colon = text.find(':');
  const auto token = number_of<token_id>(std::string_view(text).substr(0, colon));
  const auto bias =
    colon == std::string::npos ? std::nullopt : number_of<float>(std::string_view(text).substr(colon + 1));
  if (!token || !bias)
    throw CLI::ValidationError("--logit-bias", "it must be TOKEN:BIAS, for example 198:-100, but is " + text);
  return {*token, *bias};
}

/// Makes an option of each field.
struct option_maker {
  CLI::App* group;

  template <class T>
  void operator()(const char*, const char* option, T& value, const char* help) const {
    if constexpr (std::is_same_v<T, bool>)
      group->add_flag(option, value, help);
    else if constexpr (std::is_unsigned_v<T>)
      group->add_option(option, value, help)->capture_default_str()->check(not_negative);
    else if constexpr (std::is_arithmetic_v<T>)
      group->add_option(option, value, help)->capture_default_str();
    else if constexpr (std::is_same_v<T, std::string>)
      group->add_option(option, value, help);
    else // One each time: the word after it is the prompt.
      group->add_option(option, value, help)->allow_extra_args(false);
  }

  void operator()(const char* field, const char* option, std::int32_t& value, const char* help) const {
    auto* made = group->add_option(option, value, help);
    if (field == std::string_view("priority"))
      made->capture_default_str();
    else
      made->check(not_negative); // Off has no number: the option is left out.
  }

  void operator()(const char*, const char* option, std::vector<logit_bias_entry>& value, const char* help) const {
    group
      ->add_option_function<std::vector<std::string>>(
        option,
        [&value](const std::vector<std::string>& texts) {
          for (const auto& text : texts)
            value.push_back(bias_of(text));
        },
        help)
      ->allow_extra_args(false)
      ->type_name("TOKEN:BIAS");
  }
};

struct wrong_type : std::exception {};

// The JSON library would cut 1.5, true and 2^32 to an integer that nobody wrote.
template <class Whole>
Whole whole_of(const json& value) {
  using limits = std::numeric_limits<Whole>;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(limits::max()))
    return value.get<Whole>();
  if (value.is_number_integer() && !value.is_number_unsigned() && limits::is_signed &&
      value.get<std::int64_t>() >= static_cast<std::int64_t>(limits::min()))
    return value.get<Whole>();
  throw wrong_type();
}

float real_of(const json& value) {
  if (!value.is_number())
    throw wrong_type();
  return value.get<float>();
}

template <class T>
void set(T& field, const json& value) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string>)
    field = value.get<T>();
  else if constexpr (std::is_floating_point_v<T>)
    field = real_of(value);
  else
    field = whole_of<T>(value);
}

void set(logit_bias_entry& entry, const json& value) {
  if (!value.is_object() || value.size() != 2)
    throw wrong_type();
  entry = {whole_of<token_id>(value.at("token")), real_of(value.at("bias"))};
}

template <class T>
void set(std::vector<T>& field, const json& value) {
  if (!value.is_array())
    throw wrong_type();
  field.clear();
  for (const auto& each : value)
    set(field.emplace_back(), each);
}

} // namespace

void add_request_options(CLI::App* group, generate_request& request, answers which) {
  each_option(request, option_maker{group});
  if (which == answers::several)
    each_option_of_several(request, option_maker{group});
}

bool set_request_field(generate_request& request, const std::string& name, const json& value) {
  bool found = false;
  auto visit = [&](const char* field, const char*, auto& target, const char*) {
    if (name != field)
      return;
    set(target, value);
    found = true;
  };
  each_option(request, visit);
  each_option_of_several(request, visit);
  return found;
}

expected<void> validate_options(const generate_request& request) {
  generate_request with_prompt = request;
  with_prompt.prompt = "x";
  return validate(with_prompt);
}

} // namespace troupe::cli
