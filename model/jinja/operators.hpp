// Python's operators on values.
#pragma once

#include "model/jinja/syntax.hpp"

namespace troupe::jinja {

/// Arithmetic, on numbers, strings and lists. Integers have 64 bits: what does not fit is refused.
value apply(workspace& ws, operation op, const value& left, const value& right);
value negate(const value& v);
bool compare(workspace& ws, operation op, const value& left, const value& right);

} // namespace troupe::jinja
