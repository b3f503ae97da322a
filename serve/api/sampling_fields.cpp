// The fields that /v1/completions and /v1/chat/completions have in common.
#include <charconv>
#include <limits>

#include "protocol/limits.hpp"
#include "serve/api/call_fields.hpp"

namespace troupe::serve {
namespace {

template <auto Member>
expected<void> sampling(const place& at, call_fields& to) {
  return read_into(at, to.request.sampling.*Member);
}

template <auto Member>
expected<void> scheduling(const place& at, call_fields& to) {
  return read_into(at, to.request.scheduling.*Member);
}

template <auto Member>
expected<void> request(const place& at, call_fields& to) {
  return read_into(at, to.request.*Member);
}

expected<void> read_best_of(const place& at, call_fields& to) {
  if (auto read = read_into(at, to.request.best_of); !read)
    return read;
  if (to.request.best_of == 0) // For the engine it means "as many as n".
    return wrong_value(at, "must be at least 1");
  return {};
}

expected<void> read_prompt_logprobs(const place& at, call_fields& to) {
  auto& count = to.request.sampling.prompt_logprobs;
  if (auto read = read_into(at, count); !read)
    return read;
  if (count < 0) // For the engine it means "none".
    return wrong_value(at, "must be at least 0");
  return {};
}

expected<void> read_seed(const place& at, call_fields& to) {
  if (at.value.is_number_unsigned()) {
    to.seed = at.value.get<std::uint64_t>();
    return {};
  }
  auto seed = integer_at(at, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
  if (!seed)
    return tl::unexpected(std::move(seed.error()));
  to.seed = static_cast<std::uint64_t>(*seed);
  return {};
}

expected<void> read_stop(const place& at, call_fields& to) {
  if (at.value.is_string())
    return read_into(at, to.request.sampling.stop.emplace_back());
  if (!at.value.is_array())
    return wrong_kind(at, "a string or a list of strings");
  return read_into(at, to.request.sampling.stop);
}

expected<void> read_top_k(const place& at, call_fields& to) {
  const bool all = at.value.is_number_integer() && at.value == -1; // vLLM's word for it.
  return all ? expected<void>() : read_into(at, to.request.sampling.top_k);
}

expected<void> read_logit_bias(const place& at, call_fields& to) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object of token ids and numbers");
  for (const auto& [key, value] : at.value.items()) {
    logit_bias_entry entry;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), entry.token);
    if (problem != std::errc() || end != key.data() + key.size() || key != std::to_string(entry.token))
      return fail(errc::invalid_argument,
                  fmt::format("Field '{}' has the key {}, but its keys must be token ids.", at.path, in_quotes(key)));
    if (auto read = read_into(place{at.path + "." + key, value}, entry.bias); !read)
      return read;
    to.request.sampling.logit_bias.push_back(entry);
  }
  return {};
}

struct stream_options {
  bool include_usage = false;
};

constexpr field_rule<stream_options> stream_option_rules[] = {
  {"include_usage", kind::boolean, &read_member<&stream_options::include_usage>},
  {"include_obfuscation", kind::only<false>, &read_only<false>, "chunks are not padded"},
  {"continuous_usage_stats", kind::boolean, nullptr, "usage is known at the end; use include_usage"},
};

expected<void> read_stream_options(const place& at, call_fields& to) {
  stream_options options;
  if (auto read = read_object<stream_options>(at, stream_option_rules, options); !read)
    return read;
  to.stream_options = true;
  to.include_usage = options.include_usage;
  return {};
}

expected<void> read_length_penalty(const place& at, call_fields&) {
  float value = 1;
  if (auto read = read_into(at, value); !read)
    return read;
  if (value != 1)
    return refused_field(at.path, "there is no beam search");
  return {};
}

constexpr std::string_view guided = "guided decoding is not there yet";

struct format_fields {};

constexpr field_rule<format_fields> format_rules[] = {
  {"type", kind::word<"text">, &read_word<format_fields, "text">, guided, is_needed},
  {"json_schema", kind::object, nullptr, guided},
};

expected<void> read_response_format(const place& at, call_fields&) {
  format_fields ignored;
  return read_object<format_fields>(at, format_rules, ignored);
}

/// Token ids and what is added to their logits.
json biases() {
  auto schema = kind::map<kind::number_in<-max_bias, max_bias>>();
  schema["propertyNames"] = {{"pattern", "^(0|[1-9][0-9]{0,9})$"}};
  schema["maxProperties"] = max_logit_bias;
  return schema;
}

constexpr field_rule<call_fields> sampling_rules[] = {
  {"model", kind::text, &read_member<&call_fields::model>, "absent: the model that is served; another one is a 404"},
  {"stream", kind::boolean, &read_member<&call_fields::stream>},
  {"stream_options", kind::members<stream_option_rules>, &read_stream_options, "include_usage; goes with stream"},
  {"temperature", kind::number_in<0, max_temperature>, &sampling<&sampling_parameters::temperature>,
   "absent: 1; 0 is greedy"},
  {"top_p", kind::share, &sampling<&sampling_parameters::top_p>},
  {"n", kind::integer_in<1, max_choices>, &request<&generate_request::n>},
  {"seed", kind::integer, &read_seed, "absent: a random one; the same seed gives the same answer"},
  {"stop",
   kind::either<kind::filled_text<max_stop_bytes>, kind::list<kind::filled_text<max_stop_bytes>, max_stop_strings>>,
   &read_stop},
  {"presence_penalty", kind::number_in<-max_penalty, max_penalty>, &sampling<&sampling_parameters::presence_penalty>},
  {"frequency_penalty", kind::number_in<-max_penalty, max_penalty>,
   &sampling<&sampling_parameters::frequency_penalty>},
  {"logit_bias", biases, &read_logit_bias, "by token id"},
  {"user", kind::text, &read_ignored<std::string>, "nothing is done with it"},
  {"max_tokens", kind::integer_from<0>, &read_member<&call_fields::max_tokens>,
   "0: only with echo or prompt_logprobs, for the prompt itself"},
  {"response_format", kind::text_format, &read_response_format, "only as text"},
  // vLLM's.
  {"top_k", kind::integer_from<-1>, &read_top_k, "0 and -1: all"},
  {"min_p", kind::number_in<0, 1>, &sampling<&sampling_parameters::min_p>},
  {"typical_p", kind::share, &sampling<&sampling_parameters::typical_p>},
  {"repetition_penalty", kind::number_in<min_repetition_penalty, max_repetition_penalty>,
   &sampling<&sampling_parameters::repetition_penalty>},
  {"min_tokens", kind::integer_from<0>, &sampling<&sampling_parameters::min_tokens>},
  {"ignore_eos", kind::boolean, &sampling<&sampling_parameters::ignore_eos>},
  {"stop_token_ids", kind::list<kind::token_id, max_stop_tokens>, &sampling<&sampling_parameters::stop_tokens>},
  {"bad_words", kind::list<kind::filled_text<max_bad_word_bytes>, max_bad_words>,
   &sampling<&sampling_parameters::bad_words>},
  {"allowed_token_ids", kind::list<kind::token_id, max_allowed_tokens>,
   &sampling<&sampling_parameters::allowed_tokens>},
  {"prompt_logprobs", kind::integer_in<0, max_logprobs>, &read_prompt_logprobs, "not with stream"},
  {"best_of", kind::integer_in<1, max_choices>, &read_best_of, "n or more; more than n: not with stream"},
  {"priority", kind::integer_in<-max_priority, max_priority>, &scheduling<&scheduling_parameters::priority>,
   "where the server's policy is `priority`"},
  {"cache_salt", kind::text_up_to<max_salt_bytes>, &scheduling<&scheduling_parameters::cache_salt>},
  {"skip_special_tokens", kind::only<true>, &read_only<true>},
  {"spaces_between_special_tokens", kind::boolean, &read_ignored<bool>,
   "there are no special tokens in an answer's text"},
  {"include_stop_str_in_output", kind::only<false>, &read_only<false>},
  {"return_tokens_as_token_ids", kind::only<false>, &read_only<false>},
  {"return_token_ids", kind::only<false>, &read_only<false>},
  {"use_beam_search", kind::only<false>, &read_only<false>},
  {"length_penalty", kind::only<1>, &read_length_penalty},
  {"request_id", kind::text, nullptr, "ids are given by the server"},
  {"truncate_prompt_tokens", kind::integer, nullptr, "a prompt is taken as a whole or refused"},
  {"logits_processors", kind::list<kind::anything>, nullptr, "no code is loaded for a request"},
  {"structured_outputs", kind::object, nullptr, guided},
  {"guided_json", kind::object, nullptr, guided},
  {"guided_regex", kind::text, nullptr, guided},
  {"guided_choice", kind::list<kind::anything>, nullptr, guided},
  {"guided_grammar", kind::text, nullptr, guided},
  {"guided_decoding_backend", kind::text, nullptr, guided},
  {"guided_whitespace_pattern", kind::text, nullptr, guided},
  {"return_token_offsets", kind::only<false>, &read_only<false>},
  {"return_mm_kwargs", kind::only<false>, &read_only<false>},
  {"truncation_side", kind::text, nullptr, "a prompt is taken as a whole or refused"},
  {"logprob_token_ids", kind::list<kind::anything>, nullptr, "logprobs are those of the likeliest tokens"},
  {"thinking_token_budget", kind::integer, nullptr, "the model thinks as long as it has learned to"},
  {"repetition_detection", kind::object, nullptr, "an answer is not ended for what it says"},
  {"stream_interval", kind::integer, nullptr, "text is sent as it comes"},
  {"watermarking", kind::object, nullptr, "there is no watermarking"},
  {"session_id", kind::text, nullptr, "sessions are not known; prefixes are found by their contents"},
  {"routed_experts_prompt_start", kind::integer, nullptr, "it is not told which experts were used"},
  {"mm_payload", kind::object, nullptr, "there is text alone"},
  {"ec_transfer_params", kind::object, nullptr, "there is text alone"},
  {"kv_transfer_params", kind::object, nullptr, "KV blocks are not moved by clients"},
  {"vllm_xargs", kind::object, nullptr, "it is for extensions of vLLM"},
};

} // namespace

expected<void> read_length(const place& at, std::optional<std::uint32_t>& to) {
  const auto length = integer_at(at, 1, any_length);
  if (!length)
    return tl::unexpected(length.error());
  to = static_cast<std::uint32_t>(*length);
  return {};
}

json kind::text_format() {
  return members<format_rules>();
}

call_table shared_call_table() {
  return sampling_rules;
}

} // namespace troupe::serve
