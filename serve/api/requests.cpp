#include "serve/api/requests.hpp"

#include <algorithm>
#include <array>

#include "model/request_sampling.hpp"
#include "protocol/validate.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/limits.hpp"

namespace troupe::serve {
namespace {

/// What the engine's protocol calls otherwise.
constexpr std::array<std::array<std::string_view, 2>, 4> renamed = {{
  {"tokens", "prompt"},
  {"chat", "messages"},
  {"allowed_tokens", "allowed_token_ids"},
  {"stop_tokens", "stop_token_ids"},
}};

/// The engine's list of biases is an object in the body: "logit_bias[1].bias" is "logit_bias.ID" there.
void rename_bias(error& failure, const std::vector<logit_bias_entry>& biases) {
  const auto name = field_of(failure.message);
  for (std::size_t i = 0; name.starts_with("logit_bias[") && i < biases.size(); ++i)
    if (const auto ours = fmt::format("logit_bias[{}]", i); name.starts_with(ours)) {
      failure.message.replace(std::string_view("Field '").size(), name.size(),
                              fmt::format("logit_bias.{}", biases[i].token));
      return;
    }
}

/// The same sentence with the name that the field has in the body.
error in_api_names(error failure, const call_fields& fields, std::size_t prompt_index) {
  for (const auto& [ours, theirs] : renamed)
    failure = rename_field(std::move(failure), ours, theirs);
  rename_bias(failure, fields.request.sampling.logit_bias);
  if (fields.several_prompts)
    failure = rename_field(std::move(failure), "prompt", fmt::format("prompt[{}]", prompt_index));
  return failure;
}

expected<void> check(const api_context& context, const generate_request& request) {
  if (auto valid = validate(request); !valid)
    return valid;
  if (auto known = check_vocabulary(request.sampling, context.source->tokens->size()); !known)
    return known;
  if (const auto* tokens = std::get_if<prompt_tokens>(&request.prompt))
    if (auto known = check_tokens(*context.source, *tokens); !known)
      return fail(known.error().code, "Field 'prompt': " + known.error().message);
  return {};
}

/// What concerns all prompts together.
expected<void> check_whole(const call_fields& fields) {
  const auto& request = fields.request;
  if (fields.stream_options && !fields.stream)
    return fail(errc::invalid_argument, "Field 'stream_options' goes with 'stream': true. Leave it out.");
  if (fields.stream && request.best_of > request.n)
    return fail(errc::invalid_argument,
                "Field 'best_of' is more than 'n', so nothing is known before all answers have "
                "ended. Leave 'stream' out.");
  if (fields.stream && request.sampling.prompt_logprobs >= 0)
    return fail(errc::unsupported, "Field 'prompt_logprobs' is not supported in a stream. Leave 'stream' out.");
  const auto answers = std::uint64_t{std::max(request.n, request.best_of)} * fields.prompts.size();
  if (answers > max_answers)
    return fail(errc::limit_exceeded,
                fmt::format("Field 'n': {} prompts with {} answers each are over the limit of {} "
                            "answers.",
                            fields.prompts.size(), std::max(request.n, request.best_of), max_answers));
  const auto& sampling = request.sampling; // Each prompt's request has a copy.
  const auto values = sampling.allowed_tokens.size() + sampling.logit_bias.size() + sampling.bad_words.size() +
                      sampling.stop_tokens.size() + sampling.stop.size();
  if (values * fields.prompts.size() > max_repeated_values)
    return fail(
      errc::limit_exceeded,
      fmt::format("Field 'prompt': {} prompts with {} token ids, biases and words each are over the limit of {}. "
                  "Send fewer prompts at once.",
                  fields.prompts.size(), values, max_repeated_values));
  return {};
}

} // namespace

expected<void> check_model(const api_context& context, const std::optional<std::string>& name) {
  const auto& aliases = context.aliases;
  if (!name || *name == context.model_name || std::find(aliases.begin(), aliases.end(), *name) != aliases.end())
    return {};
  return fail(errc::not_found, fmt::format("Field 'model' is {}, but this server has {}.", in_quotes(*name),
                                           in_quotes(context.model_name)));
}

expected<std::vector<generate_request>> make_requests(const api_context& context, call_fields&& fields) {
  if (auto known = check_model(context, fields.model); !known)
    return tl::unexpected(std::move(known.error()));
  if (auto possible = check_whole(fields); !possible)
    return tl::unexpected(std::move(possible.error()));
  std::vector<generate_request> requests;
  for (std::size_t i = 0; i < fields.prompts.size(); ++i) {
    auto& request = requests.emplace_back(fields.request);
    request.id = i;
    request.prompt = std::move(fields.prompts[i]);
    if (request.embed == pooling::none)
      request.sampling.seed = fields.seed ? *fields.seed : random_seed();
    if (auto valid = check(context, request); !valid)
      return tl::unexpected(in_api_names(std::move(valid.error()), fields, i));
  }
  return requests;
}

} // namespace troupe::serve
