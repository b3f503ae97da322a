#include "tests/simulation/operator.hpp"

#include "actors/admin.hpp"

namespace troupe::simulated {

namespace {

constexpr connection_id operators_connection = 1;

} // namespace

client_actor::behavior_type operator_shell(client_actor::pointer, virtual_operator* owner) {
  return {[=](deliver_atom, const delivery& what) {
    for (const auto& message : what.messages)
      if (const auto* reply = std::get_if<admin_reply>(&message); reply && what.connection == operators_connection)
        owner->take(*reply);
      else
        owner->world_.violate("Operator: it was told something that it has not asked for.");
  }};
}

virtual_operator::virtual_operator(simulation& world, const world_plan& plan, world_facts& facts, engine_watch& watch)
    : world_(world), plan_(plan), facts_(facts), watch_(watch) {}

void virtual_operator::begin(const supervisor_actor& supervisor) {
  supervisor_ = supervisor;
  if (plan_.commands.empty())
    return;
  shell_ = world_.system().spawn(operator_shell, this);
  for (const auto& each : plan_.commands)
    world_.after(each.at, [this, command = each.command] { ask(command); });
}

void virtual_operator::ask(admin_command command) {
  if (!supervisor_)
    return;
  const auto nonce = questions_.size() + 1;
  questions_[nonce] = {command, watch_.spent_blocks(), last_, false};
  facts_.draining = facts_.draining || command == admin_command::drain;
  answer_admin(world_.system(), supervisor_, shell_, operators_connection, {nonce, command});
}

void virtual_operator::take(const admin_reply& reply) {
  world_.note(reply.nonce ^ static_cast<std::uint64_t>(reply.failure.code) << 32);
  auto found = questions_.find(reply.nonce);
  if (found == questions_.end() || std::exchange(found->second.answered, true))
    return broken(reply.nonce, "an answer came that is not due.");
  const auto& q = found->second;
  if (!reply.ok()) {
    const bool asks_how_it_is = q.command == admin_command::status || q.command == admin_command::check;
    if (!facts_.stopping && !(facts_.engine_failed && asks_how_it_is))
      broken(reply.nonce, "it failed: " + reply.failure.message);
    return;
  }
  if (reply.status.has_value() != (q.command == admin_command::status))
    return broken(reply.nonce, "its answer has counts where none were asked for, or none.");
  if (reply.status)
    take_status(q, *reply.status);
  if (q.command == admin_command::reset_prefix_cache)
    watch_.prefixes_forgotten(q.spent);
  if (q.command == admin_command::drain && !facts_.stopping) {
    ++drained_;
    watch_.drained();
  }
}

void virtual_operator::take_status(const question& q, const server_status& status) {
  std::uint32_t blocks = 0;
  for (const auto& group : plan_.groups)
    blocks += group.blocks;
  if (status.kv_blocks != blocks ||
      status.kv_free + status.kv_cached + status.kv_leased + status.kv_owned != status.kv_blocks)
    broken(0, "blocks do not add up.");
  if (status.open_requests > plan_.max_open_requests)
    broken(0, "more requests are open than may be.");
  if (facts_.drained && !status.draining)
    broken(0, "the engine has been drained, and does not say so.");
  const auto& least = q.least;
  if (status.refused < least.refused || status.prefix_queries < least.prefix_queries ||
      status.prefix_hit_tokens < least.prefix_hit_tokens || status.preemptions < least.preemptions ||
      status.steps < least.steps)
    broken(0, "a count since the start has become less.");
  if (status.steps >= last_.steps)
    last_ = status;
}

void virtual_operator::check_at_the_end() {
  for (const auto& [nonce, q] : questions_)
    if (!q.answered)
      broken(nonce, std::string("its ") + std::string(to_string(q.command)) + " was never answered.");
}

void virtual_operator::release() {
  supervisor_ = nullptr;
  if (shell_)
    caf::anon_send_exit(shell_, caf::exit_reason::kill);
  shell_ = nullptr;
}

void virtual_operator::broken(std::uint64_t nonce, const std::string& what) {
  world_.violate("Operator, question " + std::to_string(nonce) + ": " + what);
}

} // namespace troupe::simulated
