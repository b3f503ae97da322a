// Messages as lines of text, for whoever looks into a seed.
#pragma once

#include <string>

#include "actors/interfaces.hpp"

namespace troupe::simulated {

/// Whether a message begins with this atom.
template <class Atom>
bool is(const caf::message& m) {
  return !m.empty() && m.match_element<caf::atom_value>(0) && m.get_as<caf::atom_value>(0) == Atom::get_value();
}

std::string story_of(const char* link, const caf::message& message);

} // namespace troupe::simulated
