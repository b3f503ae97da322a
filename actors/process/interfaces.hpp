// What an engine's process and its worker processes say to each other, over CAF.
//
// What is large or rich travels as bytes (actors/wire.hpp says which): compact, checked, and the same whoever carries it.
#pragma once

#include <string>
#include <vector>

#include <caf/all.hpp>

#include "actors/interfaces.hpp"
#include "actors/wire.hpp"

namespace troupe {

using beat_atom = caf::atom_constant<caf::atom("beat")>;
using ended_atom = caf::atom_constant<caf::atom("ended")>;
using expect_atom = caf::atom_constant<caf::atom("expect")>;
using handed_atom = caf::atom_constant<caf::atom("handed")>;
using late_atom = caf::atom_constant<caf::atom("late")>;

struct wire_message {
  std::vector<unsigned char> bytes; ///< CAF carries these as they are, not element by element.
};

template <class T>
wire_message pack(const T& what) {
  const auto bytes = encode(what);
  const auto* first = reinterpret_cast<const unsigned char*>(bytes.data());
  return {{first, first + bytes.size()}};
}

/// Errors: those of `decode`.
template <class T>
expected<T> unpack(const wire_message& message) {
  return decode<T>(std::as_bytes(std::span(message.bytes)));
}

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, wire_message& what) {
  return f(what.bytes);
}

/// A worker's process, as its engine knows it.
using worker_host_actor = caf::typed_actor<
  // For its worker; the bytes are a `step_changes`, a `step_tokens`.
  caf::reacts_to<step_atom, wire_message>, caf::reacts_to<rows_atom, std::uint64_t, std::uint64_t>,
  caf::reacts_to<sampled_atom, wire_message>,
  // Block places to expected<block_contents>; block contents to expected<nothing>; to expected<worker_info>.
  caf::replies_to<read_atom, wire_message>::with<wire_message>,
  caf::replies_to<write_atom, wire_message>::with<wire_message>, caf::replies_to<info_atom>::with<wire_message>,
  // Is it alive? Answers with how much of what it was sent its worker has not done yet.
  caf::replies_to<beat_atom>::with<std::uint64_t>>;

/// A worker in a process of its own: to its stage it is a worker.
using process_worker_actor = worker_actor::extend<
  // From the host: here it is, and ready.
  caf::reacts_to<attach_atom, caf::strong_actor_ptr>,
  // From the host: what has become of a step of this epoch (a `step_outcome`); the rows of a step are there for the next stage.
  caf::reacts_to<result_atom, std::uint64_t, wire_message>, caf::reacts_to<handed_atom, std::uint64_t, std::uint64_t>,
  // From the host, where the job wants it: when a step (epoch, step) was computed, begun and ended, in nanoseconds of this
  // machine's steady clock.
  caf::reacts_to<report_atom, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>,
  // From the host: its worker has died, and why.
  caf::reacts_to<fail_atom, std::string>,
  // The process has ended, and how.
  caf::reacts_to<ended_atom, std::string>,
  // To itself: it is time to look whether the process lives; it should have connected by now.
  caf::reacts_to<beat_atom>, caf::reacts_to<late_atom>>;

/// Where worker processes present themselves. It believes who knows a token that was given to one process alone.
using worker_door_actor = caf::typed_actor<
  // A process that will come with this token belongs to this `process_worker_actor`, until that one dies.
  caf::reacts_to<expect_atom, std::string, caf::strong_actor_ptr>,
  // The process: its token, and the version of its program. Answers with the actor that it belongs to. Errors of CAF's:
  // nobody expects it; another version.
  caf::replies_to<attach_atom, std::string, std::string>::with<caf::strong_actor_ptr>>;

} // namespace troupe
