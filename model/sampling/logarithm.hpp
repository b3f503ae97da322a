// The natural logarithm, the same bits on every CPU. The C library's may differ in the last one, because it has
// several implementations, of which it takes the best for the CPU at hand.
#pragma once

namespace troupe::sampling {

/// x: over 0, not denormal, finite. Within two units in the last place.
double logarithm(double x);

} // namespace troupe::sampling
