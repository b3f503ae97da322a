#include "gpu/shim/rank_calls.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

namespace {

using kind = rank_call::kind;

call_note note_of(const rank_call& call) {
  return {call.is_message() ? 0 : static_cast<std::uint32_t>(call.what) + 1, call.bytes};
}

std::size_t next_bytes(const rank_call& call) {
  return std::min(rank_memory::slot_bytes, call.bytes - call.done);
}

void expect_same(const call_note& own, const call_note& other, unsigned rank, unsigned other_rank) {
  if (own != other)
    throw violation(
      violation_kind::mismatch,
      fmt::format("rank {} moves {} bytes in a call of kind {} where rank {} moves {} in one of kind {}", rank,
                  own.bytes, own.kind, other_rank, other.bytes, other.kind));
}

} // namespace

expected<bool> rank_calls::join() {
  if (!is_aborted_ && !may_go_on(0))
    return false;
  if (failed_by_)
    return fail(errc::unavailable, *failed_by_);
  if (!std::exchange(has_joined_, true))
    if (auto joined = shared_.join(rank_, ranks_); !joined) {
      abort(joined.error().message);
      return tl::unexpected(joined.error());
    }
  return shared_.all_have_joined();
}

shared_work rank_calls::make(std::vector<rank_call> together) {
  // Shared, since what a stream has may be copied.
  return [own = shared_from_this(), what = std::make_shared<item>(item{++made_, std::move(together)})] {
    return own->advance(*what);
  };
}

void rank_calls::abort(const std::string& why) {
  is_aborted_ = true;
  if (!failed_by_)
    failed_by_ = why;
}

bool rank_calls::may_go_on(std::uint64_t number) {
  if (fault_.what == rank_fault::none || fault_.call != number)
    return true;
  const auto now = std::chrono::steady_clock::now();
  switch (fault_.what) {
  case rank_fault::slow:
    if (!slow_until_)
      slow_until_ = now + fault_.delay;
    return now >= *slow_until_;
  case rank_fault::abort:
    abort("This rank has aborted, as was wanted.");
    return true;
  case rank_fault::async_error:
    failed_by_ = "Another rank or the way to it has failed, as was wanted.";
    return false;
  default:
    return false;
  }
}

bool rank_calls::advance(item& what) {
  if (what.number <= over_)
    return true;
  if (!is_aborted_ && (what.number != over_ + 1 || !may_go_on(what.number)))
    return false;
  if (is_aborted_) {
    leave(what);
    return true;
  }
  bool is_over = true, exchanging = false;
  std::set<std::pair<kind, unsigned>> busy; // Messages between the same two come in their order.
  for (auto& call : what.calls) {
    if (call.is_over)
      continue;
    if (call.is_message() ? busy.insert({call.what, call.peer}).second : !std::exchange(exchanging, true))
      bring_on(call);
    is_over = is_over && call.is_over;
  }
  if (is_over)
    over_ = what.number;
  return is_over;
}

/// There is something in its place, as on a device, and whoever reads it commits no violation.
void rank_calls::leave(item& what) {
  for (auto& call : what.calls)
    if (!std::exchange(call.is_over, true) && call.what != kind::send && call.bytes > 0)
      memory_.write_range(call.to, call.what == kind::all_gather ? ranks_ * call.bytes : call.bytes);
}

void rank_calls::bring_on(rank_call& call) {
  if (call.what == kind::send)
    send(call);
  else if (call.what == kind::receive)
    receive(call);
  else
    exchange(call);
}

void rank_calls::exchange(rank_call& call) {
  while (!call.is_over) {
    const auto bytes = next_bytes(call);
    if (!std::exchange(call.has_come, true)) {
      ++exchanges_;
      if (bytes > 0)
        std::memcpy(shared_.slot(rank_, exchanges_), memory_.read_range(call.from + call.done, bytes), bytes);
      shared_.arrive(rank_, exchanges_, note_of(call));
    }
    if (!shared_.all_have_arrived(exchanges_))
      return;
    for (unsigned other = 0; other < ranks_; ++other)
      expect_same(note_of(call), shared_.note_of(other, exchanges_), rank_, other);
    if (bytes > 0)
      combine(call, bytes);
    call.has_come = false;
    call.done += bytes;
    call.is_over = call.done == call.bytes;
  }
}

/// Sums are added as a ring of ranks does it: each part of the whole begins at another rank.
void rank_calls::combine(const rank_call& call, std::size_t bytes) {
  if (call.what == kind::all_gather) {
    for (unsigned other = 0; other < ranks_; ++other)
      std::memcpy(memory_.write_range(call.to + other * call.bytes + call.done, bytes),
                  shared_.slot(other, exchanges_), bytes);
    return;
  }
  auto* sums = reinterpret_cast<float*>(memory_.write_range(call.to + call.done, bytes));
  const auto all = call.bytes / sizeof(float), first = call.done / sizeof(float);
  for (std::size_t i = 0; i < bytes / sizeof(float); ++i) {
    const auto begin = (first + i) * ranks_ / all + 1;
    float sum = 0;
    for (unsigned r = 0; r < ranks_; ++r) {
      const auto* part =
        reinterpret_cast<const float*>(shared_.slot(static_cast<unsigned>((begin + r) % ranks_), exchanges_));
      sum = r == 0 ? part[i] : sum + part[i];
    }
    sums[i] = sum;
  }
}

void rank_calls::send(rank_call& call) {
  while (!call.is_over && !shared_.has_message(rank_, call.peer)) {
    const auto bytes = next_bytes(call);
    if (bytes > 0)
      std::memcpy(shared_.message(rank_, call.peer), memory_.read_range(call.from + call.done, bytes), bytes);
    shared_.send(rank_, call.peer, note_of(call));
    call.done += bytes;
    call.is_over = call.done == call.bytes;
  }
}

void rank_calls::receive(rank_call& call) {
  while (!call.is_over && shared_.has_message(call.peer, rank_)) {
    const auto bytes = next_bytes(call);
    expect_same(note_of(call), shared_.note_of_message(call.peer, rank_), rank_, call.peer);
    if (bytes > 0)
      std::memcpy(memory_.write_range(call.to + call.done, bytes), shared_.message(call.peer, rank_), bytes);
    shared_.take(call.peer, rank_);
    call.done += bytes;
    call.is_over = call.done == call.bytes;
  }
}

} // namespace troupe::gpu::shim
