#include "tests/simulation/link.hpp"

namespace troupe::simulated {

namespace {

int copies_of(passage fate) {
  return fate == passage::lost ? 0 : fate == passage::once ? 1 : 2;
}

/// One direction: keeps messages in order, whatever the delay of each.
class lane {
public:
  lane(simulation& world, std::uint32_t max_delay_us) : world_(world), max_delay_us_(max_delay_us) {}

  void pass(std::function<void()> deliver) {
    const auto delay = microseconds(max_delay_us_ == 0 ? 0 : world_.random().below(max_delay_us_ + 1));
    const auto due = std::max(last_due_, world_.now() + delay);
    if (on_its_way_ == 0 && due <= world_.now())
      return deliver();
    last_due_ = due;
    ++on_its_way_;
    world_.at(due, [this, deliver = std::move(deliver)] {
      --on_its_way_;
      deliver();
    });
  }

  bool busy() const { return on_its_way_ > 0; }

private:
  simulation& world_;
  std::uint32_t max_delay_us_;
  time_point last_due_{};
  std::size_t on_its_way_ = 0;
};

/// Takes the answers: it stands in every request's list of stages.
class way_back : public caf::monitorable_actor {
public:
  way_back(caf::actor_config& cfg, simulation* world, link_options options)
      : monitorable_actor(cfg), lane_(*world, options.max_delay_us), options_(std::move(options)) {}

  const char* name() const override { return options_.name.c_str(); }

  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override {
    if (cut_)
      return;
    auto content = element->move_content_to_message();
    if (options_.peer && element->sender)
      options_.peer(element->sender);
    const auto fate = options_.back ? options_.back(content) : passage::once;
    for (int copies = copies_of(fate); copies > 0; --copies)
      lane_.pass([self = caf::strong_actor_ptr(ctrl()), this, receiver = element->sender, mid = element->mid,
                  stages = element->stages, content]() mutable { deliver(receiver, mid, stages, content); });
  }

  void after_all(std::function<void()> what) { lane_.pass(std::move(what)); }
  void cut() { cut_ = true; }
  bool busy() const { return lane_.busy(); }

private:
  void deliver(const caf::strong_actor_ptr& receiver, caf::message_id mid, caf::mailbox_element::forwarding_stack stages,
               const caf::message& content) {
    if (cut_)
      return;
    if (!stages.empty()) {
      auto next = std::move(stages.back());
      stages.pop_back();
      next->get()->enqueue(caf::make_mailbox_element(receiver, mid, std::move(stages), content), nullptr);
    } else if (receiver) {
      receiver->get()->enqueue(caf::make_mailbox_element(ctrl(), mid.response_id(), {}, content), nullptr);
    }
  }

  lane lane_;
  link_options options_;
  bool cut_ = false;
};

class link_actor : public caf::monitorable_actor, public link_control {
public:
  link_actor(caf::actor_config& cfg, simulation* world, caf::strong_actor_ptr target, caf::actor back,
             link_options options)
      : monitorable_actor(cfg), world_(*world), target_(std::move(target)), back_(std::move(back)),
        options_(std::move(options)), lane_(*world, options_.max_delay_us) {}

  const char* name() const override { return options_.name.c_str(); }

  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override {
    if (cut_ && !leaks_) {
      if (element->mid.is_request())
        bounce(element);
      return;
    }
    auto content = element->move_content_to_message();
    if (options_.peer && element->sender)
      options_.peer(element->sender);
    const auto fate = options_.forth ? options_.forth(content) : passage::once;
    for (int copies = copies_of(fate); copies > 0; --copies)
      lane_.pass([keep = caf::strong_actor_ptr(ctrl()), this, sender = element->sender, mid = element->mid,
                  stages = element->stages, content] { deliver(sender, mid, stages, content); });
  }

  void cut(bool leaks) override {
    cut_ = true;
    leaks_ = leaks;
    if (!leaks)
      answers().cut();
    cleanup(caf::make_error(caf::exit_reason::remote_link_unreachable), nullptr);
  }

  bool busy() const override { return lane_.busy() || answers().busy(); }

  /// The target's last words come before the news of its death.
  void target_died(const caf::error& reason) {
    answers().after_all([keep = caf::strong_actor_ptr(ctrl()), this, reason] {
      if (!cut_)
        cleanup(caf::error(reason), nullptr);
      cut_ = true;
      leaks_ = true; // What is sent now bounces at the dead target.
    });
  }

private:
  way_back& answers() const { return *static_cast<way_back*>(caf::actor_cast<caf::abstract_actor*>(back_)); }

  void deliver(const caf::strong_actor_ptr& sender, caf::message_id mid, caf::mailbox_element::forwarding_stack stages,
               const caf::message& content) {
    if (cut_ && !leaks_)
      return;
    if (mid.is_request())
      stages.push_back(caf::actor_cast<caf::strong_actor_ptr>(back_));
    if (options_.arrived)
      options_.arrived(content);
    target_->get()->enqueue(caf::make_mailbox_element(sender, mid, std::move(stages), content), nullptr);
  }

  simulation& world_;
  caf::strong_actor_ptr target_;
  caf::actor back_;
  link_options options_;
  lane lane_;
  bool cut_ = false, leaks_ = false;
};

} // namespace

made_link make_link_to(simulation& world, caf::strong_actor_ptr target, link_options options) {
  auto& system = world.system();
  caf::actor_config back_config, config;
  auto back = caf::make_actor<way_back, caf::actor>(system.next_actor_id(), system.node(), &system, back_config, &world,
                                                    options);
  auto handle = caf::make_actor<link_actor, caf::strong_actor_ptr>(system.next_actor_id(), system.node(), &system,
                                                                   config, &world, target, back, std::move(options));
  auto* control = static_cast<link_actor*>(handle->get());
  target->get()->attach_functor(
    [control, weak = caf::weak_actor_ptr(handle->get()->ctrl())](const caf::error& reason) {
      if (auto strong = weak.lock())
        control->target_died(reason);
    });
  return {std::move(handle), control};
}

} // namespace troupe::simulated
