// What a client sends.
#include "protocol/codec.hpp"
#include "protocol/field_tables.hpp"

namespace troupe {

namespace detail {

template <class Fields>
void fields_of(const hello& message, Fields& field) {
  field("version", message.version);
}

template <class Fields>
void fields_of(const chat_message& message, Fields& field) {
  field("role", message.role);
  field("content", message.content);
}

template <class Fields>
void fields_of(const logit_bias_entry& entry, Fields& field) {
  field("token", entry.token);
  field("bias", entry.bias);
}

template <class Fields>
void fields_of(const sampling_parameters& sampling, Fields& field) {
  static const sampling_parameters absent;
  auto unless_absent = [&](const auto& name, auto part) {
    field(name, sampling.*part, sampling.*part != absent.*part);
  };
  unless_absent("temperature", &sampling_parameters::temperature);
  unless_absent("seed", &sampling_parameters::seed);
  unless_absent("top_k", &sampling_parameters::top_k);
  unless_absent("top_p", &sampling_parameters::top_p);
  unless_absent("min_p", &sampling_parameters::min_p);
  unless_absent("typical_p", &sampling_parameters::typical_p);
  unless_absent("repetition_penalty", &sampling_parameters::repetition_penalty);
  unless_absent("presence_penalty", &sampling_parameters::presence_penalty);
  unless_absent("frequency_penalty", &sampling_parameters::frequency_penalty);
  unless_absent("logit_bias", &sampling_parameters::logit_bias);
  unless_absent("allowed_tokens", &sampling_parameters::allowed_tokens);
  unless_absent("bad_words", &sampling_parameters::bad_words);
  unless_absent("max_tokens", &sampling_parameters::max_tokens);
  unless_absent("min_tokens", &sampling_parameters::min_tokens);
  unless_absent("ignore_eos", &sampling_parameters::ignore_eos);
  unless_absent("stop", &sampling_parameters::stop);
  unless_absent("stop_tokens", &sampling_parameters::stop_tokens);
  unless_absent("logprobs", &sampling_parameters::logprobs);
  unless_absent("prompt_logprobs", &sampling_parameters::prompt_logprobs);
}

template <class Fields>
void fields_of(const scheduling_parameters& wishes, Fields& field) {
  field("priority", wishes.priority, wishes.priority != 0);
  field("ttft_ms", wishes.ttft_ms, wishes.ttft_ms != 0);
  field("itl_ms", wishes.itl_ms, wishes.itl_ms != 0);
  field("cache_salt", wishes.cache_salt, !wishes.cache_salt.empty());
}

template <class Fields>
void fields_of(const generate_request& message, Fields& field) {
  field("id", message.id);
  if (const auto* text = std::get_if<prompt_text>(&message.prompt))
    field("prompt", *text);
  else if (const auto* tokens = std::get_if<prompt_tokens>(&message.prompt))
    field("tokens", *tokens);
  else if (const auto* messages = std::get_if<prompt_messages>(&message.prompt))
    field("messages", *messages);
  else
    field("chat", std::get<chat_prompt>(message.prompt).variables);
  fields_of(message.sampling, field);
  fields_of(message.scheduling, field);
  field("n", message.n, message.n != 1);
  field("best_of", message.best_of, message.best_of != 0);
  field("echo", message.echo, message.echo);
  field("credit", message.credit, message.credit != unlimited_credit);
  field("traceparent", message.origin.traceparent, !message.origin.traceparent.empty());
}

template <class Fields>
void fields_of(const cancel_request& message, Fields& field) {
  field("id", message.id);
}

template <class Fields>
void fields_of(const credit_grant& message, Fields& field) {
  field("id", message.id);
  field("tokens", message.tokens);
}

template <class Fields>
void fields_of(const pause_request& message, Fields& field) {
  field("id", message.id);
}

template <class Fields>
void fields_of(const resume_request& message, Fields& field) {
  field("id", message.id);
}

template <class Fields>
void fields_of(const ping& message, Fields& field) {
  field("nonce", message.nonce);
}

template <class Fields>
void fields_of(const admin_request& message, Fields& field) {
  field("nonce", message.nonce);
  field("command", to_string(message.command));
}

} // namespace detail

std::string encode(const client_message& message) {
  return detail::encode_any(message);
}

} // namespace troupe
