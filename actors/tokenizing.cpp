#include "actors/tokenizing.hpp"

#include <ctime>

#include "actors/exceptions.hpp"
#include "actors/pool.hpp"
#include "model/request_sampling.hpp"

namespace troupe {

namespace {

using tokenizing_pointer = tokenizer_actor::stateful_pointer<tokenizing_state>;
using promise_type = caf::typed_response_promise<expected<encoded_prompt>>;

shared_tokens shared(prompt_tokens tokens) {
  return std::make_shared<const prompt_tokens>(std::move(tokens));
}

/// What tokens stand for, special ones by their names; bytes that are no UTF-8 as U+FFFD.
std::string text_of(const std::shared_ptr<const tokenizer>& source, const prompt_tokens& tokens) {
  detokenizer text(source);
  std::string result;
  for (auto token : tokens)
    text.feed_bytes(source->bytes_of(token), result);
  return result + text.flush();
}

error too_long(std::uint32_t context_length) {
  return {errc::context_overflow, "The prompt has more than " + std::to_string(context_length) +
                                    " tokens, which is all that prompt and answer may have together: shorten it."};
}

/// Token ids need no encoding: they are answered at once.
expected<encoded_prompt> take_tokens(const tokenizing_state& state, prompt_tokens& tokens, encoded_prompt result,
                                     bool text) {
  const auto& source = *state.source;
  if (tokens.size() > state.context_length)
    return tl::unexpected(too_long(state.context_length));
  if (auto checked = check_tokens(source, tokens); !checked)
    return tl::unexpected(std::move(checked.error()));
  if (text)
    result.text = text_of(source.tokens, tokens);
  result.tokens = shared(std::move(tokens));
  return result;
}

std::string joined(const text_parts& parts) {
  std::string result;
  for (const auto& part : parts)
    result += part.text;
  return result;
}

void begin_encoding(tokenizing_pointer self, encode_request& request, promise_type promise) {
  auto& state = self->state;
  const auto& source = *state.source;
  const auto refuse = [&](error& why) { promise.deliver(expected<encoded_prompt>(tl::unexpected(std::move(why)))); };
  encoded_prompt result;
  auto bad_words = encode_bad_words(*source.tokens, request.bad_words);
  if (!bad_words)
    return refuse(bad_words.error());
  result.bad_words = std::move(*bad_words);
  if (auto* tokens = std::get_if<prompt_tokens>(&request.prompt)) {
    promise.deliver(take_tokens(state, *tokens, std::move(result), request.text_wanted));
    return;
  }
  hand_over(self); // Long texts take milliseconds to render: whoever got an answer just now does not wait for it.
  auto text = prompt_text_of(source, request.prompt, std::time(nullptr));
  if (!text)
    return refuse(text.error());
  if (request.text_wanted)
    result.text = joined(*text);
  state.jobs.push_back({encoder(source.tokens, std::move(*text)), prefix_of(source, request.prompt),
                        std::move(result), std::move(promise)});
  if (state.jobs.size() == 1)
    self->send(self, slice_atom::value);
}

void next_slice(tokenizing_pointer self) {
  hand_over(self); // The same of a slice.
  auto& jobs = self->state.jobs;
  auto job = std::move(jobs.front());
  jobs.pop_front();
  if (job.text.advance(encoding_slice_bytes)) {
    auto tokens = job.text.take();
    tokens.insert(tokens.begin(), job.prefix.begin(), job.prefix.end());
    job.result.tokens = shared(std::move(tokens));
    job.promise.deliver(expected<encoded_prompt>(std::move(job.result)));
  } else if (job.text.count() > self->state.context_length) {
    job.promise.deliver(expected<encoded_prompt>(tl::unexpected(too_long(self->state.context_length))));
  } else {
    jobs.push_back(std::move(job));
  }
  if (!jobs.empty())
    self->send(self, slice_atom::value);
}

} // namespace

tokenizer_actor::behavior_type tokenizing(tokenizing_pointer self, std::shared_ptr<const model> source,
                                          std::uint32_t context_length) {
  explain_exceptions(self);
  self->state.source = std::move(source);
  self->state.context_length = context_length;
  return {
    [=](encode_atom, encode_request& request) {
      auto promise = self->make_response_promise<expected<encoded_prompt>>();
      begin_encoding(self, request, promise);
      return promise;
    },
    [=](slice_atom) { next_slice(self); },
  };
}

} // namespace troupe
