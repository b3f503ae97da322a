// The fields that /v1/completions and /v1/chat/completions have in common.
#include <charconv>
#include <limits>

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
  {"include_usage", "boolean", &read_member<&stream_options::include_usage>},
  {"include_obfuscation", "boolean", &read_only<false>, "only false: chunks are not padded"},
  {"continuous_usage_stats", "boolean", nullptr, "usage is known at the end; use include_usage"},
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

constexpr field_rule<call_fields> rules[] = {
  {"model", "string", &read_member<&call_fields::model>, "absent: the model that is served; another one is a 404"},
  {"stream", "boolean", &read_member<&call_fields::stream>},
  {"stream_options", "object", &read_stream_options, "include_usage; include_obfuscation only as false"},
  {"temperature", "number, 0 to 100", &sampling<&sampling_parameters::temperature>, "absent: 1; 0 is greedy"},
  {"top_p", "number, over 0, to 1", &sampling<&sampling_parameters::top_p>},
  {"n", "integer, 1 to 128", &request<&generate_request::n>},
  {"seed", "integer", &read_seed, "absent: a random one; the same seed gives the same answer"},
  {"stop", "string or list of 16 strings", &read_stop},
  {"presence_penalty", "number, -2 to 2", &sampling<&sampling_parameters::presence_penalty>},
  {"frequency_penalty", "number, -2 to 2", &sampling<&sampling_parameters::frequency_penalty>},
  {"logit_bias", "object of token ids and numbers, -100 to 100", &read_logit_bias},
  {"user", "string", &read_ignored<std::string>, "nothing is done with it"},
  {"max_tokens", "integer, 0 or more", &read_member<&call_fields::max_tokens>,
   "0: only with echo or prompt_logprobs, for the prompt itself"},
  // vLLM's.
  {"top_k", "integer, 0 or more; -1", &read_top_k, "0 and -1: all"},
  {"min_p", "number, 0 to 1", &sampling<&sampling_parameters::min_p>},
  {"typical_p", "number, over 0, to 1", &sampling<&sampling_parameters::typical_p>},
  {"repetition_penalty", "number, 0.01 to 100", &sampling<&sampling_parameters::repetition_penalty>},
  {"min_tokens", "integer, 0 or more", &sampling<&sampling_parameters::min_tokens>},
  {"ignore_eos", "boolean", &sampling<&sampling_parameters::ignore_eos>},
  {"stop_token_ids", "list of 64 token ids", &sampling<&sampling_parameters::stop_tokens>},
  {"bad_words", "list of 64 strings", &sampling<&sampling_parameters::bad_words>},
  {"allowed_token_ids", "list of token ids", &sampling<&sampling_parameters::allowed_tokens>},
  {"prompt_logprobs", "integer, 0 to 20", &read_prompt_logprobs, "not with stream"},
  {"best_of", "integer, n to 128", &read_best_of, "more than n: not with stream"},
  {"priority", "integer, -1000 to 1000", &scheduling<&scheduling_parameters::priority>,
   "where the server's policy is `priority`"},
  {"cache_salt", "string, 256 bytes", &scheduling<&scheduling_parameters::cache_salt>},
  {"skip_special_tokens", "boolean", &read_only<true>, "only true"},
  {"spaces_between_special_tokens", "boolean", &read_ignored<bool>,
   "there are no special tokens in an answer's text"},
  {"include_stop_str_in_output", "boolean", &read_only<false>, "only false"},
  {"return_tokens_as_token_ids", "boolean", &read_only<false>, "only false"},
  {"return_token_ids", "boolean", &read_only<false>, "only false"},
  {"use_beam_search", "boolean", &read_only<false>, "only false"},
  {"length_penalty", "number", &read_length_penalty, "only 1"},
  {"request_id", "string", nullptr, "ids are given by the server"},
  {"truncate_prompt_tokens", "integer", nullptr, "a prompt is taken as a whole or refused"},
  {"logits_processors", "list", nullptr, "no code is loaded for a request"},
  {"structured_outputs", "object", nullptr, guided},
  {"guided_json", "object", nullptr, guided},
  {"guided_regex", "string", nullptr, guided},
  {"guided_choice", "list", nullptr, guided},
  {"guided_grammar", "string", nullptr, guided},
  {"guided_decoding_backend", "string", nullptr, guided},
  {"guided_whitespace_pattern", "string", nullptr, guided},
  {"return_token_offsets", "boolean", &read_only<false>, "only false"},
  {"return_mm_kwargs", "boolean", &read_only<false>, "only false"},
  {"truncation_side", "string", nullptr, "a prompt is taken as a whole or refused"},
  {"logprob_token_ids", "list", nullptr, "logprobs are those of the likeliest tokens"},
  {"thinking_token_budget", "integer", nullptr, "the model thinks as long as it has learned to"},
  {"repetition_detection", "object", nullptr, "an answer is not ended for what it says"},
  {"stream_interval", "integer", nullptr, "text is sent as it comes"},
  {"watermarking", "object", nullptr, "there is no watermarking"},
  {"session_id", "string", nullptr, "sessions are not known; prefixes are found by their contents"},
  {"routed_experts_prompt_start", "integer", nullptr, "it is not told which experts were used"},
  {"mm_payload", "object", nullptr, "there is text alone"},
  {"ec_transfer_params", "object", nullptr, "there is text alone"},
  {"kv_transfer_params", "object", nullptr, "KV blocks are not moved by clients"},
  {"vllm_xargs", "object", nullptr, "it is for extensions of vLLM"},
};

} // namespace

call_table shared_call_table() {
  return rules;
}

} // namespace troupe::serve
