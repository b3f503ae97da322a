// An operator of a simulated world: asks for counts, checks, resets and drains while requests run, as a client would
// through the gateway (actors/admin.hpp). Each question gets one answer, and the answer is true.
#pragma once

#include <map>

#include "actors/interfaces.hpp"
#include "tests/simulation/engine_watch.hpp"

namespace troupe::simulated {

class virtual_operator {
public:
  virtual_operator(simulation& world, const world_plan& plan, world_facts& facts, engine_watch& watch);

  /// Puts on the agenda what it is going to ask.
  void begin(const supervisor_actor& supervisor);

  /// Nothing can happen any more: has it all its answers?
  void check_at_the_end();

  void release(); ///< Drops its handles.

  std::size_t drained() const { return drained_; }

private:
  struct question {
    admin_command command = admin_command::status;
    std::uint64_t spent = 0; ///< Blocks, when it was asked.
    server_status least;     ///< Counts since the start that were known then.
    bool answered = false;
  };

  friend client_actor::behavior_type operator_shell(client_actor::pointer self, virtual_operator* owner);
  void ask(admin_command command);
  void take(const admin_reply& reply);
  void take_status(const question& q, const server_status& status);
  void broken(std::uint64_t nonce, const std::string& what);

  simulation& world_;
  const world_plan& plan_;
  world_facts& facts_;
  engine_watch& watch_;
  supervisor_actor supervisor_;
  client_actor shell_;
  std::map<std::uint64_t, question> questions_; ///< By nonce.
  server_status last_;
  std::size_t drained_ = 0;
};

} // namespace troupe::simulated
