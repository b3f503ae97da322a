// An actor between two others, who do not know of it: whoever was given its handle talks to its target, and what the
// target answers comes back through it. It delays, changes, loses and doubles messages, and can be cut.
//
// Messages of one direction stay in order, as between any two actors. A link dies when its target does, after what
// the target had sent; when it is cut, those who watch it see it die although the target lives.
#pragma once

#include <functional>
#include <memory>

#include <caf/all.hpp>

#include "tests/simulation/simulation.hpp"

namespace troupe::simulated {

/// What becomes of a message.
enum class passage { once, twice, lost };

struct link_options {
  std::string name;
  std::uint32_t max_delay_us = 0;               ///< Each way; 0: a message goes through at once.
  std::function<passage(caf::message&)> forth;  ///< To the target. May change the message.
  std::function<passage(caf::message&)> back;   ///< Answers to requests.
  std::function<void(const caf::message&)> arrived; ///< Called when a message is put into the target's mailbox.
  std::function<void(const caf::strong_actor_ptr&)> peer; ///< Called before `forth` and `back` with who sends, or gets the answer.
};

/// Its own part is not an actor: what is done to it from outside.
class link_control {
public:
  virtual ~link_control() = default;

  /// Those who watch it see it die. What is on its way, and what the target still answers, arrives if `leaks`.
  virtual void cut(bool leaks) = 0;

  virtual bool busy() const = 0; ///< Something is on its way.
};

struct made_link {
  caf::strong_actor_ptr handle;
  link_control* control = nullptr; ///< Lives as long as the handle.
};

made_link make_link_to(simulation& world, caf::strong_actor_ptr target, link_options options);

/// A handle of the same type as the target's.
template <class Handle>
Handle make_link(simulation& world, const Handle& target, link_options options, link_control** control = nullptr) {
  auto made = make_link_to(world, caf::actor_cast<caf::strong_actor_ptr>(target), std::move(options));
  if (control)
    *control = made.control;
  return caf::actor_cast<Handle>(made.handle);
}

} // namespace troupe::simulated
