// What planted bugs are made of: ways to change one kind of message on its way.
#pragma once

#include <functional>

#include "actors/interfaces.hpp"
#include "tests/simulation/mischief.hpp"
#include "tests/simulation/story.hpp"

namespace troupe::simulated {

using tampering = mischief::tampering;

inline mischief before(place where, tampering what) {
  mischief result;
  result.before.emplace(where, std::move(what));
  return result;
}

inline mischief after(place where, tampering what) {
  mischief result;
  result.after.emplace(where, std::move(what));
  return result;
}

/// Tampers with one kind of message: its first part after the atom.
template <class Atom, class T>
tampering with(std::function<passage(simulation&, T&)> change) {
  return [change = std::move(change)](simulation& world, caf::message& m) {
    return is<Atom>(m) ? change(world, m.get_mutable_as<T>(1)) : passage::once;
  };
}

/// The same for what a client is told, one step at a time.
inline tampering with_deltas(std::function<void(simulation&, step_deltas&)> change) {
  return with<deliver_atom, delivery>([change = std::move(change)](simulation& world, delivery& what) {
    for (auto& message : what.messages)
      if (auto* step = std::get_if<step_deltas>(&message))
        change(world, *step);
    return passage::once;
  });
}

/// Steps are shared: who changes one changes a copy.
inline tampering with_step(std::function<void(simulation&, step_changes&)> change) {
  return with<step_atom, step_ptr>([change = std::move(change)](simulation& world, step_ptr& step) {
    auto copy = *step;
    change(world, copy);
    step = std::make_shared<const step_changes>(std::move(copy));
    return passage::once;
  });
}

template <class Change>
tampering with_operations(kv_operation::kind_type kind, Change change) {
  return with<report_atom, kv_report>([=](simulation& world, kv_report& report) {
    std::erase_if(report.operations,
                  [&](kv_operation& each) { return each.kind == kind && change(world, each, report); });
    return passage::once;
  });
}

} // namespace troupe::simulated
