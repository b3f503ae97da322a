// How long an actor waits for another, by what it waits for. No wait is without end.
#pragma once

#include <chrono>

namespace troupe::timeouts {

using namespace std::chrono_literals;

inline constexpr auto bookkeeping = 30s; ///< Router, KV-cache manager: answers take microseconds.
inline constexpr auto encoding = 300s;   ///< The longest prompt that a frame can carry, behind others.
inline constexpr auto step = 600s;       ///< A step on a slow CPU, or the loading of weights before it.

} // namespace troupe::timeouts
