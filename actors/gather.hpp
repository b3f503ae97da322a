// One question to several workers, or several stages, and one answer from all of them.
#pragma once

#include <memory>
#include <optional>

#include "actors/ask.hpp"
#include "actors/block_contents.hpp"
#include "actors/interfaces.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

/// Asks each in its order, question(i) giving the arguments of the i-th as a tuple. on_all(expected<std::vector<Answer>>&)
/// gets all answers in that order, or the first failure; on_gone(caf::error) is called instead where one has died. Only one
/// of them is called, and once.
template <class Answer, class Self, class Handle, class Timeout, class Question, class OnAll, class OnGone>
void gather(Self* self, const std::vector<Handle>& whom, Timeout timeout, Question question, OnAll on_all,
            OnGone on_gone) {
  struct gathering {
    std::size_t missing;
    std::vector<Answer> answers;
    bool done = false;
  };
  auto state = std::make_shared<gathering>(gathering{whom.size(), std::vector<Answer>(whom.size())});
  for (std::size_t i = 0; i < whom.size(); ++i) {
    auto take = [=](expected<Answer>& answer) mutable {
      if (state->done)
        return;
      if (answer)
        state->answers[i] = std::move(*answer);
      state->done = !answer || --state->missing == 0;
      if (!state->done)
        return;
      auto result = answer ? expected<std::vector<Answer>>(std::move(state->answers))
                           : expected<std::vector<Answer>>(tl::unexpected(answer.error()));
      on_all(result);
    };
    auto lost = [=](const caf::error& reason) mutable {
      if (!std::exchange(state->done, true))
        on_gone(reason);
    };
    std::apply([&](auto... what) { ask<expected<Answer>>(self, whom[i], timeout, take, lost, what...); },
               question(i));
  }
}

/// What they run on.
template <class Self, class Handle, class OnAll, class OnGone>
void gather_info(Self* self, const std::vector<Handle>& whom, OnAll on_all, OnGone on_gone) {
  gather<worker_info>(
    self, whom, timeouts::step, [](std::size_t) { return std::tuple(info_atom::value); }, std::move(on_all),
    std::move(on_gone));
}

/// Answers with the contents of blocks of which each has a part.
template <class Self, class Handle, class Promise>
void gather_blocks(Self* self, const std::vector<Handle>& whom, const std::vector<block_place>& places,
                   Promise promise) {
  gather<block_contents>(
    self, whom, timeouts::transfer, [&](std::size_t) { return std::tuple(read_atom::value, places); },
    [=](expected<std::vector<block_contents>>& parts) mutable {
      promise.deliver(parts ? join_blocks(*parts) : expected<block_contents>(tl::unexpected(parts.error())));
    },
    [=](const caf::error& reason) mutable { promise.deliver(reason); });
}

/// The other way. infos: of each, once they have said.
template <class Self, class Handle, class Promise>
void scatter_blocks(Self* self, const std::vector<Handle>& whom, const std::vector<worker_info>& infos,
                    const block_contents& contents, Promise promise) {
  std::vector<block_contents> parts{contents};
  if (whom.size() > 1) {
    auto split = infos.size() == whom.size()
                   ? split_blocks(contents, infos)
                   : expected<std::vector<block_contents>>(
                       fail(errc::unavailable, "The workers have not loaded their weights yet."));
    if (!split) {
      promise.deliver(expected<nothing>(tl::unexpected(split.error())));
      return;
    }
    parts = std::move(*split);
  }
  gather<nothing>(
    self, whom, timeouts::transfer, [&](std::size_t i) { return std::tuple(write_atom::value, parts[i]); },
    [=](expected<std::vector<nothing>>& written) mutable {
      promise.deliver(written ? expected<nothing>(nothing{}) : expected<nothing>(tl::unexpected(written.error())));
    },
    [=](const caf::error& reason) mutable { promise.deliver(reason); });
}

} // namespace troupe
