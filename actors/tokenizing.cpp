#include "actors/tokenizing.hpp"

#include <ctime>

#include "actors/exceptions.hpp"

namespace troupe {

namespace {

using self_pointer = tokenizer_actor::stateful_pointer<tokenizing_state>;
using promise_type = caf::typed_response_promise<expected<prompt_tokens>>;

void begin(self_pointer self, prompt& request, promise_type promise) {
  auto& state = self->state;
  const auto& source = *state.source;
  if (auto* tokens = std::get_if<prompt_tokens>(&request)) {
    auto checked = check_tokens(source, *tokens);
    promise.deliver(checked ? expected<prompt_tokens>(std::move(*tokens)) : tl::unexpected(checked.error()));
    return;
  }
  auto text = prompt_text_of(source, request, std::time(nullptr));
  if (!text) {
    promise.deliver(expected<prompt_tokens>(tl::unexpected(text.error())));
    return;
  }
  state.jobs.push_back({encoder(source.tokens, std::move(*text)), prefix_of(source, request), std::move(promise)});
  if (state.jobs.size() == 1)
    self->send(self, slice_atom::value);
}

void next_slice(self_pointer self) {
  auto& jobs = self->state.jobs;
  auto job = std::move(jobs.front());
  jobs.pop_front();
  if (job.text.advance(encoding_slice_bytes)) {
    auto tokens = std::move(job.prefix);
    const auto encoded = job.text.take();
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
    job.promise.deliver(expected<prompt_tokens>(std::move(tokens)));
  } else if (job.text.count() > self->state.context_length) {
    job.promise.deliver(expected<prompt_tokens>(
      fail(errc::context_overflow, "The prompt has more than " + std::to_string(self->state.context_length) +
                                     " tokens, which is all that prompt and answer may have together: shorten it.")));
  } else {
    jobs.push_back(std::move(job));
  }
  if (!jobs.empty())
    self->send(self, slice_atom::value);
}

} // namespace

tokenizer_actor::behavior_type tokenizing(self_pointer self, std::shared_ptr<const model> source,
                                          std::uint32_t context_length) {
  explain_exceptions(self);
  self->state.source = std::move(source);
  self->state.context_length = context_length;
  return {
    [=](encode_atom, prompt& request) {
      auto promise = self->make_response_promise<expected<prompt_tokens>>();
      begin(self, request, promise);
      return promise;
    },
    [=](slice_atom) { next_slice(self); },
  };
}

} // namespace troupe
