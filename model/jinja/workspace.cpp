#include "model/jinja/workspace.hpp"

namespace troupe::jinja {

object::object(workspace& owner) : owner_(owner) {
  // Should the constructor of a derived class throw, this base is destroyed and takes itself off the list.
  next_ = owner.live_;
  if (next_)
    next_->previous_ = this;
  owner.live_ = this;
}

object::~object() {
  if (previous_)
    previous_->next_ = next_;
  else if (owner_.live_ == this)
    owner_.live_ = next_;
  if (next_)
    next_->previous_ = previous_;
  owner_.refund(charged_);
}

void object::charge(std::size_t bytes) {
  owner_.charge(bytes);
  charged_ += bytes;
}

void object::release() noexcept {
  if (--references_ == 0)
    owner_.dispose(*this);
}

void workspace::step(std::uint64_t count) {
  steps_ += count;
  if (steps_ > bounds_.max_steps)
    refuse_limit("the template needs more than " + std::to_string(bounds_.max_steps) + " steps");
}

void workspace::charge(std::size_t bytes) {
  if (bytes > bounds_.max_value_bytes - used_)
    refuse_limit("the template's values need more than " + std::to_string(bounds_.max_value_bytes) + " bytes");
  used_ += bytes;
}

// A list may hold a list that holds a list, a million deep: what dies here waits in a row instead of recursing.
void workspace::dispose(object& dead) noexcept {
  if (dead.previous_)
    dead.previous_->next_ = dead.next_;
  else
    live_ = dead.next_;
  if (dead.next_)
    dead.next_->previous_ = dead.previous_;
  dead.previous_ = nullptr;
  dead.next_ = dead_;
  dead_ = &dead;
  if (disposing_)
    return;
  disposing_ = true;
  while (dead_) {
    object* next = dead_;
    dead_ = next->next_;
    next->next_ = nullptr;
    delete next;
  }
  disposing_ = false;
}

workspace::~workspace() {
  for (object* each = live_; each; each = each->next_)
    each->acquire();
  for (object* each = live_; each; each = each->next_)
    each->clear();
  while (live_) {
    // Nothing refers to anything any more, so this frees exactly one.
    object* first = live_;
    first->references_ = 1;
    first->release();
  }
}

} // namespace troupe::jinja
