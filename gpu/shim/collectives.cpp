#include "gpu/shim/collectives.hpp"

#include <fmt/format.h>

#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

using kind = rank_call::kind;

shim_collectives::shim_collectives(std::shared_ptr<rank_calls> calls, stream_set& streams, guard guarded,
                                   std::uint32_t seed)
    : calls_(std::move(calls)), streams_(streams), guarded_(std::move(guarded)), random_(seed) {}

shim_collectives::~shim_collectives() {
  calls_->abort("The group has ended.");
}

expected<group_state> shim_collectives::state() {
  if (!is_made_) {
    const auto joined = calls_->join();
    if (!joined)
      return tl::unexpected(joined.error());
    is_made_ = *joined;
    if (!is_made_ && !calls_->failed_by())
      return group_state::in_progress;
  }
  if (const auto& why = calls_->failed_by())
    return fail(errc::unavailable, *why);
  if (asks_left_) {
    if (*asks_left_ > 0) {
      --*asks_left_;
      return group_state::in_progress;
    }
    if (auto queued = queue(); !queued)
      return tl::unexpected(queued.error());
  }
  return group_state::ready;
}

expected<void> shim_collectives::all_reduce(stream_id on, address from, address to, std::size_t count) {
  return add(on, {.what = kind::all_reduce, .from = from, .to = to, .bytes = count * sizeof(float)});
}

expected<void> shim_collectives::all_gather(stream_id on, address from, address to, std::size_t bytes) {
  return add(on, {.what = kind::all_gather, .from = from, .to = to, .bytes = bytes});
}

expected<void> shim_collectives::send(stream_id on, address from, std::size_t bytes, unsigned to) {
  return add(on, {.what = kind::send, .from = from, .bytes = bytes, .peer = to});
}

expected<void> shim_collectives::receive(stream_id on, address to, std::size_t bytes, unsigned from) {
  return add(on, {.what = kind::receive, .to = to, .bytes = bytes, .peer = from});
}

expected<void> shim_collectives::check_usable() const {
  if (const auto& why = calls_->failed_by())
    return fail(errc::unavailable, *why);
  if (!is_made_ || asks_left_)
    return fail(errc::invalid_argument,
                "A group of ranks is called while it is made, or the call before is in progress.");
  return {};
}

expected<void> shim_collectives::add(stream_id on, const rank_call& call) {
  return guarded_([&]() -> expected<void> {
    if (auto usable = check_usable(); !usable)
      return usable;
    if (call.is_message() && (call.peer >= size() || call.peer == rank()))
      return fail(errc::invalid_argument,
                  fmt::format("Rank {} of {} has no such other rank as {}.", rank(), size(), call.peer));
    check_ranges(call);
    if (auto allowed = streams_.refuse_on_captured(on, "A group of ranks is called"); !allowed)
      return allowed;
    if (!pending_.empty() && on != on_)
      return fail(errc::invalid_argument, "What is called together is on one stream.");
    on_ = on;
    pending_.push_back(call);
    if (!together_)
      begin_progress();
    return {};
  });
}

/// What is read must not be where others' parts are written.
void shim_collectives::check_ranges(const rank_call& call) const {
  if (call.is_message())
    return;
  const bool gathers = call.what == kind::all_gather;
  const auto own = call.to + (gathers ? rank() * call.bytes : 0), end = call.to + (gathers ? size() : 1) * call.bytes;
  if (call.from != own && call.from < end && call.to < call.from + call.bytes)
    throw violation(
      violation_kind::overlap,
      fmt::format("ranks write {} bytes over what rank {} gives them, and not in its place", end - call.to, rank()));
}

void shim_collectives::begin_progress() {
  if (const auto asks = static_cast<unsigned>(random_() % 3); asks > 0)
    asks_left_ = asks - 1;
  else
    static_cast<void>(queue()); // Of a violation whatever is asked next tells.
}

expected<void> shim_collectives::queue() {
  asks_left_.reset();
  return guarded_([&] { return streams_.add_shared(on_, calls_->make(std::exchange(pending_, {}))); });
}

expected<void> shim_collectives::begin_together() {
  if (auto usable = check_usable(); !usable)
    return usable;
  if (std::exchange(together_, true))
    return fail(errc::invalid_argument, "What is called together is begun twice.");
  return {};
}

expected<void> shim_collectives::end_together() {
  if (!std::exchange(together_, false))
    return fail(errc::invalid_argument, "What is called together is ended and was not begun.");
  if (const auto& why = calls_->failed_by())
    return fail(errc::unavailable, *why);
  if (!pending_.empty())
    begin_progress();
  return {};
}

expected<void> shim_collectives::abort() {
  calls_->abort("This rank has aborted.");
  return {};
}

} // namespace troupe::gpu::shim
