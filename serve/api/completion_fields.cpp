// The fields of /v1/completions alone.
#include <algorithm>

#include "protocol/limits.hpp"
#include "serve/api/call_fields.hpp"
#include "serve/api/limits.hpp"

namespace troupe::serve {
namespace {

expected<void> read_prompt(const place& at, prompt& to) {
  if (at.value.is_string())
    return read_into(at, to.emplace<prompt_text>());
  return read_into(at, to.emplace<prompt_tokens>());
}

/// A string, a list of strings, a list of ids, or a list of lists of ids.
expected<void> read_prompts(const place& at, call_fields& to) {
  if (!at.value.is_string() && !at.value.is_array())
    return wrong_kind(at, "a string or a list");
  const bool one = at.value.is_string() || at.value.empty() || at.value[0].is_number();
  if (one)
    return read_prompt(at, to.prompts.emplace_back());
  to.several_prompts = true;
  if (at.value.size() > max_prompts)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} entries, but at most {} are allowed.", at.path,
                                                  at.value.size(), max_prompts));
  const bool texts = at.value[0].is_string();
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    if (at.value[i].is_string() != texts)
      return wrong_kind(at.item(i), texts ? "a string, as the first one is" : "a list of token ids");
    if (auto read = read_prompt(at.item(i), to.prompts.emplace_back()); !read)
      return read;
  }
  return {};
}

expected<void> read_logprobs(const place& at, call_fields& to) {
  if (auto read = read_into(at, to.request.sampling.logprobs); !read)
    return read;
  if (to.request.sampling.logprobs < 0) // For the engine it means "none".
    return wrong_value(at, "must be at least 0");
  return {};
}

expected<void> read_echo(const place& at, call_fields& to) {
  return read_into(at, to.request.echo);
}

expected<void> read_add_special_tokens(const place& at, call_fields&) {
  bool value = true;
  if (auto read = read_into(at, value); !read)
    return read;
  if (!value)
    return refused_field(at.path, "text begins as the model's file says; send token ids for anything else");
  return {};
}

constexpr field_rule<call_fields> completion_rules[] = {
  {"prompt", kind::prompts, &read_prompts, "one, or several at once", is_needed},
  {"echo", kind::boolean, &read_echo},
  {"logprobs", kind::integer_in<0, max_logprobs>, &read_logprobs},
  {"suffix", kind::text, nullptr, "there is no fill-in-the-middle"},
  {"add_special_tokens", kind::only<true>, &read_add_special_tokens},
  {"prompt_embeds", kind::text, nullptr, "prompts are text or token ids"},
};

} // namespace

json kind::prompts() {
  constexpr auto text = kind::filled_text<any_length>;
  constexpr auto tokens = kind::filled_list<kind::token_id, max_prompt_tokens>;
  return kind::either<text, kind::filled_list<text, max_prompts>, tokens, kind::filled_list<tokens, max_prompts>>();
}

call_table completion_table() {
  return completion_rules;
}

expected<call_fields> read_completion(const json& body) {
  call_fields fields;
  const call_table tables[] = {completion_table(), shared_call_table()};
  if (auto read = read_members<call_fields>("", body, tables, fields); !read)
    return tl::unexpected(std::move(read.error()));
  fields.request.sampling.max_tokens =
    fields.max_tokens.value_or(std::max(default_completion_tokens, fields.request.sampling.min_tokens));
  return fields;
}

} // namespace troupe::serve
