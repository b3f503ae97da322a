// A request that leaves nothing behind.
#pragma once

#include <caf/all.hpp>

namespace troupe {

/// As `self->request(...).then(...)`, for an answer of one value of type `Answer`. CAF 0.17 keeps a request's
/// time-out, and with it the actor, until it is due, although the answer has long come: thousands of requests would
/// be thousands of timers.
template <class Answer, class Self, class Actor, class Timeout, class OnAnswer, class OnError, class... Args>
void ask(Self* self, const Actor& whom, Timeout timeout, OnAnswer on_answer, OnError on_error, Args&&... args) {
  auto pending = self->request(whom, timeout, std::forward<Args>(args)...);
  const auto id = pending.id();
  pending.then(
    [self, id, on_answer = std::move(on_answer)](Answer& answer) mutable {
      self->clock().cancel_request_timeout(self, id);
      on_answer(answer);
    },
    [self, id, on_error = std::move(on_error)](caf::error& reason) mutable {
      self->clock().cancel_request_timeout(self, id);
      on_error(reason);
    });
}

/// An actor that has ended is kept by the time-outs of what it has asked and was not answered, until they are due. For
/// those who ask with long ones.
template <class Self>
void forget_timeouts_at_the_end(Self* self) {
  self->attach_functor([self] { self->clock().cancel_timeouts(self); });
}

/// As `ask` without a timer, for many small questions to an actor of the same process whose end the supervisor would
/// notice: setting and cancelling a time-out wakes CAF's clock twice, which costs more than the question. Who is gone
/// answers at once with an error; an answer that never comes would be a bug of ours.
template <class Answer, class Self, class Actor, class OnAnswer, class OnError, class... Args>
void ask_neighbour(Self* self, const Actor& whom, OnAnswer on_answer, OnError on_error, Args&&... args) {
  self->request(whom, caf::infinite, std::forward<Args>(args)...)
    .then([on_answer = std::move(on_answer)](Answer& answer) mutable { on_answer(answer); },
          [on_error = std::move(on_error)](caf::error& reason) mutable { on_error(reason); });
}

} // namespace troupe
