// How much memory a piece of code asks operator new for at once. A binary that compiles allocation_peak.cpp in has
// its operator new replaced; aligned forms are not counted. One measurement at a time.
#pragma once

#include <cstddef>

namespace troupe::test {

class allocation_peak {
public:
  /// Begins to measure.
  allocation_peak();

  /// The most bytes that were held at one time since, beyond what was held at the beginning.
  std::size_t bytes() const;

private:
  std::size_t held_before_;
};

} // namespace troupe::test
