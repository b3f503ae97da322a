// /v1/completions: its calls, whole and streamed.
#include "serve/api/api.hpp"
#include "serve/api/call_fields.hpp"
#include "serve/api/chunks.hpp"
#include "serve/api/errors.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/logprobs.hpp"
#include "serve/api/progress.hpp"
#include "serve/api/requests.hpp"

namespace troupe::serve {
namespace {

/// What of the body the answer depends on.
struct completion_options {
  std::uint32_t n = 1;
  bool stream = false;
  bool include_usage = false;
  bool echo = false;
  std::int32_t logprobs = -1;
  std::int32_t prompt_logprobs = -1;
};

class completion_call final : public api_call {
public:
  completion_call(const api_context& context, const completion_options& options,
                  std::vector<generate_request>&& requests)
      : tokens_(context.source->tokens), options_(options), identity_(make_identity(context, "cmpl-")),
        chunks_(identity_, "text_completion", options.include_usage), progress_(requests.size()),
        requests_(std::move(requests)), prompts_(requests_.size()),
        choices_(requests_.size() * options.n, choice_state{{}, {}, completion_logprobs(tokens_, options.logprobs)}) {
    for (std::size_t i = 0; i < requests_.size(); ++i)
      prompts_[i].given = first_of(requests_[i].prompt);
  }

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return options_.stream; }

  void take(std::size_t request, token_delta&& delta, std::string& out) override {
    if (progress_.failed())
      return;
    const auto index = request * options_.n + delta.choice;
    auto& choice = choices_[index];
    if (options_.stream) {
      if (delta.text.empty() && delta.logprobs.empty())
        return;
      choice.lists.add(delta.logprobs);
      return chunks_.choice(choice_json(index, delta.text, take_logprobs(choice)), out);
    }
    choice.text += delta.text;
    append(choice.logprobs, std::move(delta.logprobs));
    append(prompts_[request].logprobs, std::move(delta.prompt_logprobs));
  }

  void take(std::size_t request, const request_end& end, std::string& out) override {
    const bool failed_before = progress_.failed();
    progress_.end(end);
    if (!progress_.failed())
      end_choices(request, end, out);
    else if (!failed_before)
      chunks_.fail(progress_.failure(), out);
    if (options_.stream && progress_.ended())
      progress_.failed() ? chunks_.finish_failed(out) : chunks_.finish(progress_, out);
  }

  bool failed() const override { return progress_.failed(); }

  http_answer whole() override {
    if (progress_.failed())
      return openai_error(progress_.failure());
    auto list = json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i)
      list.push_back(whole_choice(i));
    http_answer answer;
    answer.body = to_text({{"id", identity_.id},
                           {"object", "text_completion"},
                           {"created", identity_.created},
                           {"model", identity_.model},
                           {"system_fingerprint", identity_.fingerprint},
                           {"choices", std::move(list)},
                           {"usage", usage_json(progress_)}});
    return answer;
  }

private:
  struct choice_state {
    std::string text;                    ///< Of a whole answer.
    std::vector<token_logprob> logprobs; ///< The same.
    completion_logprobs lists;
    finish_reason reason = finish_reason::stop;
    stop_cause stopped_by{};
  };

  /// What an echo with logprobs needs to know of a prompt.
  struct prompt_state {
    std::variant<std::size_t, token_id> given; ///< The bytes of its text, or its first token.
    std::vector<token_logprob> logprobs;       ///< Of all tokens but the first.
  };

  static std::variant<std::size_t, token_id> first_of(const prompt& given) {
    if (const auto* tokens = std::get_if<prompt_tokens>(&given))
      return tokens->front();
    return std::get<prompt_text>(given).size();
  }

  static void append(std::vector<token_logprob>& to, std::vector<token_logprob>&& more) {
    to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }

  static json choice_json(std::size_t index, const std::string& text, json logprobs) {
    return {{"index", index}, {"text", text}, {"logprobs", std::move(logprobs)}, {"finish_reason", nullptr}};
  }

  void add_reason(const choice_state& choice, json& to) const {
    to["finish_reason"] = to_string(choice.reason);
    to["stop_reason"] = stop_reason_json(choice.stopped_by, *tokens_);
  }

  json take_logprobs(choice_state& choice) const { return options_.logprobs >= 0 ? choice.lists.take() : json(); }

  void end_choices(std::size_t request, const request_end& end, std::string& out) {
    for (const auto& each : ends_of(end)) {
      const auto index = request * options_.n + each.choice;
      choices_[index].reason = each.reason;
      choices_[index].stopped_by = each.stopped_by;
      if (!options_.stream)
        continue;
      auto last = choice_json(index, "", nullptr);
      add_reason(choices_[index], last);
      chunks_.choice(last, out);
    }
  }

  /// The text of a prompt's first token, which has no logprob: what the other tokens leave of the prompt's text. A
  /// model's own beginning is not in it.
  std::string first_text(const prompt_state& prompt, const std::string& echoed) const {
    if (const auto* token = std::get_if<token_id>(&prompt.given))
      return std::string(tokens_->bytes_of(*token));
    const auto bytes = std::get<std::size_t>(prompt.given);
    std::size_t others = 0;
    for (const auto& each : prompt.logprobs)
      others += tokens_->bytes_of(each.token).size();
    return others < bytes ? echoed.substr(0, bytes - others) : std::string();
  }

  json whole_choice(std::size_t index) {
    auto& choice = choices_[index];
    const auto& prompt = prompts_[index / options_.n];
    if (options_.echo && options_.logprobs >= 0) {
      choice.lists.add(first_text(prompt, choice.text));
      choice.lists.add(prompt.logprobs);
    }
    choice.lists.add(choice.logprobs);
    auto result = choice_json(index, choice.text, take_logprobs(choice));
    add_reason(choice, result);
    if (options_.prompt_logprobs >= 0)
      result["prompt_logprobs"] = prompt_logprobs(*tokens_, prompt.logprobs, options_.prompt_logprobs);
    return result;
  }

  std::shared_ptr<const tokenizer> tokens_;
  completion_options options_;
  call_identity identity_;
  chunk_writer chunks_;
  call_progress progress_;
  std::vector<generate_request> requests_; ///< Until they are taken.
  std::vector<prompt_state> prompts_;      ///< One for each request.
  std::vector<choice_state> choices_;      ///< n for each request.
};

/// What an echo with logprobs asks of the engine beside.
expected<void> widen_for_echo(call_fields& fields) {
  auto& sampling = fields.request.sampling;
  if (!fields.request.echo || sampling.logprobs < 0)
    return {};
  if (fields.stream)
    return fail(errc::unsupported, "Field 'echo' with 'logprobs' is not supported in a stream. Leave 'stream' out.");
  sampling.prompt_logprobs = std::max(sampling.prompt_logprobs, sampling.logprobs);
  return {};
}

expected<api_call_ptr> make_completion_call(const api_context& context, std::string_view text) {
  auto body = parse_body(text);
  if (!body)
    return tl::unexpected(std::move(body.error()));
  auto fields = read_completion(*body);
  if (!fields)
    return tl::unexpected(std::move(fields.error()));
  const auto& request = fields->request;
  const completion_options options{request.n,
                                   fields->stream,
                                   fields->include_usage,
                                   request.echo,
                                   request.sampling.logprobs,
                                   request.sampling.prompt_logprobs};
  if (auto possible = widen_for_echo(*fields); !possible)
    return tl::unexpected(std::move(possible.error()));
  auto requests = make_requests(context, std::move(*fields));
  if (!requests)
    return tl::unexpected(std::move(requests.error()));
  return std::make_unique<completion_call>(context, options, std::move(*requests));
}

} // namespace

api_outcome completions(const api_context& context, std::string_view body) {
  auto call = make_completion_call(context, body);
  if (!call)
    return {openai_error(call.error()), nullptr};
  return {{}, std::move(*call)};
}

} // namespace troupe::serve
