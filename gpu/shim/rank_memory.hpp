// The memory through which the shim's devices exchange bytes, in threads of one process or in several: nobody waits here, all ask.
//
// In each exchange every rank writes into a slot of its own, with a note of what it does, and counts up; when all have, each reads what the
// others wrote. Two slots take turns: who has come to exchange n has read all of n - 1. Between each two ranks, in each direction, there
// is one more slot for messages, which is full or empty.
//
// Owner: a rank of a group; one thread. Memory is taken when it is first written.
#pragma once

#include <cstdint>

#include "comm/memory_segment.hpp"
#include "gpu/runtime.hpp"

namespace troupe::gpu::shim {

/// What a rank does, where others must do the same.
struct call_note {
  std::uint32_t kind = 0;
  std::uint64_t bytes = 0; ///< Of the whole call.
  bool operator==(const call_note&) const = default;
};

class rank_memory {
public:
  static constexpr unsigned most_ranks = 16;
  static constexpr std::size_t slot_bytes = std::size_t{1} << 18;

  /// Errors: out_of_memory, io.
  static expected<rank_memory> create();
  /// Errors: unavailable (whoever made it is gone), malformed.
  static expected<rank_memory> open(const group_id& id);

  group_id id() const;

  /// Errors: invalid_argument (no such rank, one that has joined already, or another number of ranks than others said).
  expected<void> join(unsigned rank, unsigned ranks);
  bool all_have_joined() const;

  std::byte* slot(unsigned rank, std::uint64_t exchange) const;
  /// This rank has written its slot.
  void arrive(unsigned rank, std::uint64_t exchange, const call_note& note);
  bool all_have_arrived(std::uint64_t exchange) const;
  call_note note_of(unsigned rank, std::uint64_t exchange) const;

  /// Of messages from one rank to another.
  std::byte* message(unsigned from, unsigned to) const;
  bool has_message(unsigned from, unsigned to) const;
  void send(unsigned from, unsigned to, const call_note& note); ///< It has been written,
  void take(unsigned from, unsigned to);                        ///< and read.
  call_note note_of_message(unsigned from, unsigned to) const;

private:
  struct header;
  explicit rank_memory(memory_segment segment) : segment_(std::move(segment)) {}
  header& about() const;

  memory_segment segment_;
  unsigned ranks_ = 0;
};

} // namespace troupe::gpu::shim
