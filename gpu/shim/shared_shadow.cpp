#include "gpu/shim/shared_shadow.hpp"

#include <fmt/format.h>

#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

void shared_shadow::begin_block(std::size_t bytes) {
  // States are not cleared: those of earlier blocks are of earlier intervals.
  storage_.resize(bytes);
  states_.resize(bytes);
  block_began_ = ++interval_;
}

void shared_shadow::race(std::size_t offset, const moment& before, const char* did, const moment& now,
                         const char* does) {
  throw violation(
    violation_kind::race,
    fmt::format("byte {} of shared memory was {} by thread {} and is {} by thread {}, with no barrier between",
                offset, did, before.thread, does, now.thread));
}

void shared_shadow::check_inside(std::size_t offset, std::size_t bytes, bool reads, moment now) const {
  if (offset > storage_.size() || bytes > storage_.size() - offset)
    throw violation(violation_kind::out_of_bounds,
                    fmt::format("{} bytes at {} of {} of shared memory are {} by thread {}", bytes, offset,
                                storage_.size(), reads ? "read" : "written", now.thread));
  if (offset % bytes != 0)
    throw violation(violation_kind::misaligned, fmt::format("{} bytes at {} of shared memory are {} by thread {}",
                                                            bytes, offset, reads ? "read" : "written", now.thread));
}

void shared_shadow::check_copies(std::size_t offset, const byte_state& state, bool reads, moment now) const {
  if (!state.pending || state.writer.interval < block_began_)
    return;
  const char* does = reads ? "read" : "written";
  if (state.writer.thread == now.thread)
    throw violation(
      violation_kind::unfinished_copy,
      fmt::format("byte {} of shared memory is {} by thread {}, whose own copy to it was not waited for", offset,
                  does, now.thread));
  throw violation(
    violation_kind::race,
    fmt::format("byte {} of shared memory is {} by thread {} while an asynchronous copy of thread {} is under way",
                offset, does, now.thread, state.writer.thread));
}

const std::byte* shared_shadow::read(std::size_t offset, std::size_t bytes, moment now) {
  check_inside(offset, bytes, true, now);
  for (auto i = offset; i < offset + bytes; ++i) {
    auto& state = states_[i];
    if (state.writer.interval < block_began_)
      throw violation(violation_kind::uninitialised_read,
                      fmt::format("byte {} of shared memory is read by thread {}", i, now.thread));
    check_copies(i, state, true, now);
    if (unordered(state.writer, now) || (state.several_atomics && state.writer.interval == now.interval))
      race(i, state.writer, "written", now, "read");
    const auto& last = state.reader;
    if (last.interval != now.interval) {
      state.several_lanes = state.several_warps = false;
    } else {
      state.several_warps = state.several_warps || last.thread / 32 != now.thread / 32;
      state.several_lanes =
        last.warp_interval == now.warp_interval && (state.several_lanes || last.thread != now.thread);
    }
    state.reader = now;
  }
  return storage_.data() + offset;
}

std::byte* shared_shadow::write(std::size_t offset, std::size_t bytes, moment now, bool atomic) {
  check_inside(offset, bytes, false, now);
  for (auto i = offset; i < offset + bytes; ++i) {
    auto& state = states_[i];
    if (atomic && state.writer.interval < block_began_)
      throw violation(violation_kind::uninitialised_read,
                      fmt::format("byte {} of shared memory is added to by thread {}", i, now.thread));
    check_copies(i, state, false, now);
    const bool adds_to_others = atomic && state.atomic && state.writer.interval == now.interval;
    if (!adds_to_others &&
        (unordered(state.writer, now) || (state.several_atomics && state.writer.interval == now.interval)))
      race(i, state.writer, "written", now, "written");
    const auto& reader = state.reader;
    const bool others_have_read =
      state.several_warps || unordered(reader, now) ||
      (state.several_lanes && reader.thread / 32 == now.thread / 32 && reader.warp_interval == now.warp_interval);
    if (reader.interval == now.interval && others_have_read)
      race(i, reader, "read", now, "written");
    state.several_atomics = adds_to_others && (state.several_atomics || state.writer.thread != now.thread);
    state.writer = now;
    state.atomic = atomic;
    state.pending = false;
  }
  return storage_.data() + offset;
}

void shared_shadow::begin_copy(std::size_t offset, std::size_t bytes, moment now) {
  write(offset, bytes, now);
  for (auto i = offset; i < offset + bytes; ++i)
    states_[i].pending = true;
}

std::byte* shared_shadow::end_copy(std::size_t offset, std::size_t bytes, moment now) {
  // Nobody else can have used the bytes meanwhile.
  for (auto i = offset; i < offset + bytes; ++i) {
    states_[i].writer = now;
    states_[i].pending = false;
  }
  return storage_.data() + offset;
}

} // namespace troupe::gpu::shim
