#include "actors/process/process_worker.hpp"

#include <unistd.h>

#include <system_error>
#include <thread>

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/process/local_middleman.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

using process_worker_pointer = process_worker_actor::stateful_pointer<process_worker_state>;

void end(process_worker_pointer self, const std::string& why) {
  const auto pid = std::to_string(self->state.process->pid());
  self->quit(caf::make_error(caf::sec::runtime_error, "worker process " + pid + " " + why));
}

void beat(process_worker_pointer self) {
  auto& state = self->state;
  state.answered = false;
  state.has_work = false;
  ask<std::uint64_t>(
    self, state.host, timeouts::step,
    [=](std::uint64_t steps) {
      auto& state = self->state;
      state.answered = true;
      state.missed = 0;
      state.has_work = state.has_work || steps > 0;
    },
    [](const caf::error&) {}, beat_atom::value);
}

void look_at_it_later(process_worker_pointer self) {
  self->state.beating = true;
  self->delayed_send(self, timeouts::beat, beat_atom::value);
}

/// While there is work somebody looks whether the process lives; what is late here ourselves must not count against it, so
/// time is counted in looks.
void watch(process_worker_pointer self) {
  auto& state = self->state;
  state.has_work = true;
  if (state.beating || !state.host)
    return;
  beat(self);
  look_at_it_later(self);
}

void look(process_worker_pointer self) {
  auto& state = self->state;
  state.beating = false;
  if (!state.answered) {
    if (++state.missed == timeouts::beats_missed)
      return end(self, "does not answer");
    return look_at_it_later(self);
  }
  if (!state.has_work && state.asking == 0)
    return;
  beat(self);
  look_at_it_later(self);
}

/// Now, or as soon as the process is there.
template <class... Args>
void pass_on(process_worker_pointer self, Args... what) {
  auto& state = self->state;
  if (!state.host)
    return state.not_sent.push_back([=] { self->send(self->state.host, what...); });
  watch(self);
  self->send(state.host, what...);
}

template <class Answer, class Atom, class... Args>
caf::typed_response_promise<expected<Answer>> ask_host(process_worker_pointer self, Atom atom, Args... what) {
  auto promise = self->make_response_promise<expected<Answer>>();
  const auto send = [=] {
    watch(self);
    ++self->state.asking;
    ask<wire_message>(
      self, self->state.host, timeouts::step,
      [=](const wire_message& answer) mutable {
        --self->state.asking;
        auto decoded = unpack<expected<Answer>>(answer);
        promise.deliver(decoded ? std::move(*decoded) : expected<Answer>(tl::unexpected(decoded.error())));
      },
      [=](const caf::error& reason) mutable {
        --self->state.asking;
        promise.deliver(reason);
      },
      atom, what...);
  };
  if (self->state.host)
    send();
  else
    self->state.not_sent.push_back(send);
  return promise;
}

void connected(process_worker_pointer self, const caf::strong_actor_ptr& host) {
  auto& state = self->state;
  state.connected = true;
  state.host = caf::actor_cast<worker_host_actor>(host);
  self->monitor(state.host);
  for (const auto& send : std::exchange(state.not_sent, {}))
    send();
  watch(self);
}

/// Tokens go to the first stage without a way through the scheduler.
void pass_result(process_worker_pointer self, std::uint64_t epoch, const wire_message& bytes) {
  auto& state = self->state;
  auto outcome = unpack<step_outcome>(bytes);
  if (!outcome)
    return end(self, "sends what cannot be read: " + outcome.error().message);
  if (*outcome && state.first)
    self->send(state.first, sampled_atom::value,
               step_tokens{epoch, (*outcome)->step, (*outcome)->sampled, (*outcome)->accepted});
  self->send(state.options.results, result_atom::value, epoch, std::move(*outcome));
}

void pass_times(const process_worker_options& options, std::uint64_t epoch, std::uint64_t step, std::uint64_t begun,
                std::uint64_t ended) {
  const auto& seat = options.job.seat;
  const auto at = [](std::uint64_t ns) {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
  };
  const part_record part{options.engine, step, epoch, seat.stage, seat.rank, at(begun), at(ended)};
  for (const auto& each : options.observed_by)
    each->computed(part);
}

bool start_program(process_worker_pointer self) {
  auto& state = self->state;
  auto& options = state.options;
  options.job.token = new_token();
  options.job.parent = getpid();
  self->send(options.door, expect_atom::value, options.job.token, caf::strong_actor_ptr{self->ctrl()});
  child_options child{options.processes.command, encode(options.job)};
  // A weak reference: the process may end after all actors have.
  auto started = child_process::start(std::move(child), [to = self->address()](const child_end& end) {
    if (const auto self = caf::actor_cast<process_worker_actor>(to))
      caf::anon_send(self, ended_atom::value, end.how);
  });
  if (!started) {
    self->quit(caf::make_error(caf::sec::runtime_error, started.error().message));
    return false;
  }
  state.process = std::move(*started);
  self->delayed_send(self, timeouts::connecting, late_atom::value);
  return true;
}

} // namespace

/// A large process takes a while to end, and a thread of the pool has other things to do.
process_worker_state::~process_worker_state() {
  if (!process)
    return;
  process->kill();
  try {
    std::thread([ending = std::move(process)]() mutable { ending.reset(); }).detach();
  } catch (const std::system_error&) { // No thread is left; then it is waited for here.
  }
}

process_worker_actor::behavior_type process_worker(process_worker_pointer self, process_worker_options options) {
  explain_exceptions(self);
  forget_timeouts_at_the_end(self);
  self->state.options = std::move(options);
  self->set_down_handler([=](const caf::down_msg&) {
    self->state.host = nullptr;
    self->state.process->kill(); // Mostly it has ended already, and `ended` is about to say how.
  });
  if (!start_program(self))
    return process_worker_actor::behavior_type::make_empty_behavior();
  return {
    [=](rows_atom rows, std::uint64_t epoch, std::uint64_t step) { pass_on(self, rows, epoch, step); },
    [=](sampled_atom sampled, const step_tokens& tokens) { pass_on(self, sampled, pack(tokens)); },
    [=](attach_atom, const chain_actor& next, const chain_actor& first) {
      self->state.next = next;
      self->state.first = first;
    },
    [=](step_atom atom, const step_ptr& step) { pass_on(self, atom, pack(*step)); },
    [=](read_atom atom, const std::vector<block_place>& places) {
      return ask_host<block_contents>(self, atom, pack(places));
    },
    [=](write_atom atom, const block_contents& contents) { return ask_host<nothing>(self, atom, pack(contents)); },
    [=](info_atom atom) { return ask_host<worker_info>(self, atom); },
    [=](attach_atom, const caf::strong_actor_ptr& host) { connected(self, host); },
    [=](result_atom, std::uint64_t epoch, const wire_message& outcome) { pass_result(self, epoch, outcome); },
    [=](report_atom, std::uint64_t epoch, std::uint64_t step, std::uint64_t begun, std::uint64_t ended) {
      pass_times(self->state.options, epoch, step, begun, ended);
    },
    [=](handed_atom, std::uint64_t epoch, std::uint64_t step) {
      if (self->state.next)
        self->send(self->state.next, rows_atom::value, epoch, step);
    },
    [=](fail_atom, const std::string& why) { end(self, "has failed: " + why); },
    [=](ended_atom, const std::string& how) { end(self, how); },
    [=](beat_atom) { look(self); },
    [=](late_atom) {
      if (!self->state.connected)
        end(self, "has not connected in time");
    },
  };
}

} // namespace troupe
