// One random walk of the planner among partners that do whatever they may, in any order that they may, watched by a
// naive model (naive_planner.hpp), a manager that checks every operation (naive_kv_manager.hpp) or the real store
// (store_kv_manager.hpp), and a worker that reads every block back (naive_device.hpp).
#pragma once

#include "tests/engine/naive_device.hpp"
#include "tests/engine/naive_kv_manager.hpp"
#include "tests/engine/naive_planner.hpp"
#include "tests/engine/store_kv_manager.hpp"
#include "tests/engine/walk_random.hpp"
#include "tests/engine/walk_trace.hpp"

namespace troupe::test {

class planner_walk {
public:
  explicit planner_walk(std::uint32_t seed);

  void go();
  std::uint64_t steps() const { return steps_; }
  std::uint64_t tokens() const { return tokens_; }
  planner_counts counts() const { return planner_.counts(); }

private:
  /// Two of three walks check each operation, the others have the real store.
  void make_manager(std::uint32_t seed);
  void make_device();
  /// A fork of which the manager has not heard reads its parent's blocks.
  bool may_use(sequence_id id, std::size_t group, std::size_t index, block_id b);
  void event();

  // Clients (planner_walk_clients.cpp).
  sequence_id somebody() { return next_id_ > 1 ? any_.between(1, static_cast<std::uint32_t>(next_id_) - 1) : 1; }
  void add();
  void cancel();
  void pause_or_resume();
  void grant_credit();
  void propose();

  // Steps (planner_walk_steps.cpp).
  void plan();
  void device_works();
  void deliver_result();
  void take(const step_result& result);
  void reset();

  // Blocks (planner_walk_steps.cpp).
  void send_report();
  void manager_works();
  void deliver_grant();
  /// Since the last reset no report has been sent: grants that arrive are void.
  bool reset_unreported() const { return resets_ != generation_; }
  void decide_late();
  void deliver_hit();

  void check();

  // The end: clients want everything, and everybody does what is to be done.
  bool settle();
  void come_to_an_end();
  void run_until_nothing_moves();
  bool late_lookups();

  walk_trace trace_;
  dice any_;
  planner_options options_;
  std::size_t depth_, clients_;
  planner planner_;
  naive_planner model_;
  std::unique_ptr<kv_partner> manager_;
  std::unique_ptr<naive_device> device_;
  std::deque<step_changes> sent_;
  std::deque<step_result> results_;
  std::deque<kv_report> reports_;
  std::deque<kv_grant> grants_;
  std::deque<std::pair<kv_hit, std::uint32_t>> hits_;
  std::map<sequence_id, std::uint32_t> told_logprobs_; ///< The next position that is to be told.
  std::set<sequence_id> embedded_;                     ///< Those whose embeddings have come.
  sequence_id next_id_ = 1;
  engine_time now_ = 0;
  std::uint64_t epoch_ = 0, steps_ = 0, tokens_ = 0;
  std::uint32_t generation_ = 0, resets_ = 0;
  bool report_open_ = false;
};

} // namespace troupe::test
