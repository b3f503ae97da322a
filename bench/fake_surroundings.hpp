// The control side's surroundings, played: the worker, the streams, the clients.
#pragma once

#include <sys/prctl.h>

#include <algorithm>
#include <iostream>
#include <thread>

#include "actors/interfaces.hpp"
#include "bench/step_board.hpp"
#include "bench/worker_without_memory.hpp"

namespace troupe::bench {

struct workload {
  std::uint32_t batch = 256;
  std::uint32_t context = 100; ///< Tokens of each prompt.
  std::uint32_t waiting = 0;   ///< Sequences that never get in.
  std::uint32_t steps = 2000;  ///< Measured.
  std::int32_t worker_us = -1; ///< 0: answers at once; -1: as soon as the step before has been delivered.
  std::uint32_t in_flight = 2; ///< Steps.
  bool real_streams = false;   ///< Detokenization, journals and deliveries to clients too.
};

[[noreturn]] inline void give_up(const std::string& why) {
  std::cerr << "bench/scheduler: " << why << "\n";
  std::exit(1);
}

/// One token for each row that samples, the same for all of a step.
inline step_function fake_steps(const results_actor& results, std::shared_ptr<step_board> board, workload work) {
  return [=](worker_pointer self, const step_ptr& step) {
    const bool decode = step->rows.size() == work.batch &&
                        std::all_of(step->rows.begin(), step->rows.end(), [](auto& r) { return r.count == 1; });
    const auto token = board->launched(decode);
    step_result result;
    result.epoch = step->epoch;
    result.step = step->step;
    result.sampled.assign(static_cast<std::size_t>(
                            std::count_if(step->rows.begin(), step->rows.end(), [](auto& r) { return r.samples; })),
                          token);
    result.accepted.assign(result.sampled.size(), 0);
    if (work.worker_us > 0)
      std::this_thread::sleep_for(std::chrono::microseconds(work.worker_us));
    if (work.worker_us < 0)
      board->wait_for_delivery();
    board->answered();
    self->send(results, result_atom::value, step->epoch, step_outcome(std::move(result)));
  };
}

inline worker_actor::behavior_type fake_worker(worker_pointer self, results_actor results,
                                               std::shared_ptr<step_board> board, workload work) {
  ::prctl(PR_SET_TIMERSLACK, 1); // Of this worker's own thread.
  return worker_without_memory(self, fake_steps(results, std::move(board), work));
}

struct fake_stream_state {
  fake_stream_state() = default;
  static inline const char* name = "stream";
};

/// Stands where a stream would, and only sees that its tokens are there.
inline stream_actor::behavior_type fake_stream(stream_actor::stateful_pointer<fake_stream_state>,
                                               std::shared_ptr<step_board> board) {
  return {
    [](submit_atom, generate_request&) {},
    [](fail_atom, request_id, error&) {},
    [](cancel_atom, request_id) {},
    [](credit_atom, const credit_grant&) {},
    [](pause_atom, request_id) {},
    [](resume_atom, request_id) {},
    [](stop_atom, const error&) {},
    [=](tokens_atom, stream_events& events) {
      if (!events.failures.empty() && !board->finished())
        give_up(events.failures.front().why.message);
      if (!events.tokens.empty())
        board->delivered(events.tokens.front().token);
    },
    [](stop_atom) {},
  };
}

struct fake_client_state {
  fake_client_state() = default;
  static inline const char* name = "client";
};

inline client_actor::behavior_type fake_client(client_actor::stateful_pointer<fake_client_state>,
                                               std::shared_ptr<step_board> board) {
  return {[=](deliver_atom, delivery& what) {
    if (const auto* step = std::get_if<step_deltas>(&what.messages.front()); step && !step->deltas.empty())
      board->delivered(step->deltas.front().token_ids.front());
    else if (const auto* end = std::get_if<request_end>(&what.messages.front()); end && !board->finished())
      give_up("a request has ended: " + end->failure.message);
  }};
}

} // namespace troupe::bench
