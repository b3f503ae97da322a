// How long an actor waits for another, by what it waits for. What is asked with `ask_neighbour` (actors/ask.hpp) has no
// time-out of its own.
#pragma once

#include <chrono>

namespace troupe::timeouts {

using namespace std::chrono_literals;

inline constexpr auto bookkeeping = 30s; ///< What an operator asks: answers take microseconds.
inline constexpr auto encoding = 300s;   ///< The longest prompt that a frame can carry, behind others.
inline constexpr auto transfer = 120s;   ///< Some blocks between device and tier, behind the steps before them.
inline constexpr auto flush = 10s;       ///< When an engine stops, for what is not in its tier yet.
inline constexpr auto drain = 1440min;   ///< Until the last request has ended: an answer may be long.
inline constexpr auto alarm = 500ms; ///< Between two looks for steps that are late; none while the engine is idle.
inline constexpr auto step = 600s;   ///< A step of which nothing is known, or the loading of weights before it.

inline constexpr auto first_device_step =
  60s; ///< The first one of an epoch on GPUs, at least; their group's own limit is 30 s.

inline constexpr auto connecting = 30s; ///< From the start of a worker's process to its first word.
/// Between two looks whether a worker's process lives; none while it has no work. It may have stopped just after it has
/// answered, so a hang is noticed after `beats_missed` of them, and one more, at the latest: well within a second.
inline constexpr auto beat = 200ms;
inline constexpr unsigned beats_missed = 3; ///< So many looks in a row without an answer: it hangs.

} // namespace troupe::timeouts
