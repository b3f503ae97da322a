#include "actors/process/door.hpp"

#include <atomic>
#include <future>
#include <memory>

#include <caf/io/middleman.hpp>

#include "actors/exceptions.hpp"
#include "actors/process/job.hpp"
#include "actors/process/local_middleman.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

worker_door_actor::behavior_type door(worker_door_actor::stateful_pointer<door_state> self, std::string wanted) {
  explain_exceptions(self);
  self->set_down_handler([=](const caf::down_msg& down) {
    std::erase_if(self->state.expected, [&](const auto& each) { return each.second->address() == down.source; });
  });
  return {
    [=](expect_atom, const std::string& token, const caf::strong_actor_ptr& whose) {
      self->monitor(caf::actor_cast<caf::actor>(whose));
      self->state.expected.emplace(token, whose);
    },
    [=](attach_atom, const std::string& token, const std::string& version) -> caf::result<caf::strong_actor_ptr> {
      auto found = self->state.expected.find(token);
      if (found == self->state.expected.end())
        return caf::make_error(caf::sec::runtime_error, std::string("Nobody expects a worker with this token."));
      if (version != wanted)
        return caf::make_error(caf::sec::incompatible_versions,
                               "The worker is of version " + version + ", and " + wanted + " is wanted.");
      const auto whose = std::move(found->second);
      self->state.expected.erase(found); // A token is good for one.
      self->demonitor(whose->address());
      return whose;
    },
  };
}

namespace {

/// CAF's loop takes up a socket when it has answered that it is published. Closed before that, "add" and "remove" would be
/// no change to it, and the socket would stay open for ever.
void wait_for_a_round(caf::actor_system& system) {
  const auto done = std::make_shared<std::promise<void>>();
  system.middleman().backend().post([done] { done->set_value(); });
  done->get_future().wait_for(timeouts::bookkeeping);
}

} // namespace

expected<open_door> open_worker_door(caf::actor_system& system) {
  if (!system.has_middleman())
    return fail(errc::unavailable, "Workers as processes need an actor system with `configure_processes`.");
  static std::atomic<std::uint16_t> last_port{0};
  open_door result;
  result.actor = system.spawn(door, std::string(worker_version));
  auto middleman = spawn_local_middleman(system);
  result.middleman = caf::actor_cast<caf::actor>(middleman);
  result.socket = new_socket_name();
  std::optional<error> failed;
  caf::scoped_actor self(system);
  self
    ->request(middleman, timeouts::bookkeeping, caf::publish_atom::value, ++last_port,
              caf::actor_cast<caf::strong_actor_ptr>(result.actor), system.message_types(result.actor), result.socket,
              false)
    .receive([&](std::uint16_t port) { result.port = port; },
             [&](const caf::error& reason) {
               failed = error{errc::unavailable, "Workers cannot connect: " + caf::to_string(reason) + "."};
             });
  if (!failed) {
    wait_for_a_round(system);
    return result;
  }
  self->send_exit(result.actor, caf::exit_reason::kill);
  self->send_exit(result.middleman, caf::exit_reason::kill);
  return tl::unexpected(*failed);
}

void close_worker_door(const open_door& door) {
  // The socket is the broker's, which lives as long as the actor system.
  caf::anon_send(door.middleman, caf::unpublish_atom::value, door.actor.address(), door.port);
  // As a message like any other, or it would overtake the one before it.
  caf::anon_send(door.middleman, caf::exit_msg{door.middleman.address(), caf::exit_reason::user_shutdown});
  caf::anon_send_exit(door.actor, caf::exit_reason::user_shutdown);
}

} // namespace troupe
