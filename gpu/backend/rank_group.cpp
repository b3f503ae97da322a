#include "gpu/backend/rank_group.hpp"

#include <cassert>
#include <thread>

#include <fmt/format.h>

namespace troupe::gpu {

namespace {

using clock = std::chrono::steady_clock;

/// How long it asks again and again, and how long it sleeps between two questions after that.
constexpr std::chrono::microseconds asks_for{500}, sleeps_for{50};

/// Marks on the stream that have not come: sums, of which a layer has two, with some ten launches, and where prompts attend in pieces one
/// for every 32 launches of these (`breathe`).
constexpr std::size_t most_ahead = 16;

constexpr const char* not_there = "Other ranks did not come to a sum";

} // namespace

rank_group::rank_group(runtime& device, std::shared_ptr<communicator> host, std::chrono::milliseconds timeout)
    : device_(device), host_(std::move(host)), timeout_(timeout) {}

expected<void> rank_group::prepare() {
  if (host_->rank() != 0)
    return {};
  return device_.make_group_id().map([&](const group_id& made) { id_ = made; });
}

expected<void> rank_group::begin() {
  group_id id = id_.value_or(group_id{});
  if (auto given = host_->broadcast(id, 0, clock::now() + timeout_); !given)
    return given;
  auto made = device_.join_group(id, host_->rank(), host_->size());
  if (!made)
    return give_up(made.error());
  group_ = std::move(*made);
  return until("The devices of the ranks did not find each other",
               [&] { return group_->state().map([](auto state) { return state == group_state::ready; }); });
}

tl::unexpected<error> rank_group::give_up(error why) {
  if (group_)
    if (auto aborted = group_->abort(); !aborted)
      why.message += " " + aborted.error().message;
  host_->abort();
  return tl::unexpected(std::move(why));
}

template <class IsSo>
expected<void> rank_group::until(const char* doing, IsSo is_so) {
  auto began = clock::now();
  for (auto passed = passed_;;) {
    const expected<bool> so = is_so();
    if (!so)
      return give_up(so.error());
    const auto state =
      group_->state(); // Asked after that: a group that has failed lets a stream go on without what was wanted.
    if (!state)
      return give_up(state.error());
    if (*so)
      return {};
    if (host_->is_broken())
      return give_up({errc::unavailable, fmt::format("The group of epoch {} was aborted.", host_->epoch())});
    const auto now = clock::now();
    if (passed != passed_) {
      passed = passed_;
      began = now;
    }
    if (now - began > timeout_)
      return give_up({errc::unavailable, fmt::format("{}: rank {} waited for {} ms (epoch {}).", doing, host_->rank(),
                                                     timeout_.count(), host_->epoch())});
    if (now - began < asks_for)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(sleeps_for);
  }
}

expected<void> rank_group::mark(stream_id on) {
  if (marked_ == marks_.size()) {
    const auto made = device_.make_event();
    if (!made)
      return tl::unexpected(made.error());
    marks_.push_back(*made);
  }
  return device_.record(marks_[marked_++], on);
}

expected<void> rank_group::make_room() {
  if (marked_ - passed_ < most_ahead)
    return {};
  return until(not_there, [&] { return have_come(marked_ - most_ahead + 1); });
}

expected<void> rank_group::breathe(stream_id on) {
  if (auto room = make_room(); !room)
    return room;
  if (auto marked = mark(on); !marked)
    return give_up(marked.error());
  return {};
}

template <class Call>
expected<void> rank_group::call(stream_id on, const char* doing, Call call) {
  assert(group_);
  if (auto room = make_room(); !room)
    return room;
  if (auto called = call(); !called)
    return give_up(called.error());
  // Only when it is on its stream may anything else be queued there.
  if (auto queued =
        until(doing, [&] { return group_->state().map([](auto state) { return state == group_state::ready; }); });
      !queued)
    return queued;
  if (auto marked = mark(on); !marked)
    return give_up(marked.error());
  return {};
}

expected<void> rank_group::all_reduce(stream_id on, address at, std::size_t count) {
  return call(on, "A sum over ranks did not begin", [&] { return group_->all_reduce(on, at, at, count); });
}

expected<void> rank_group::all_gather(stream_id on, address from, address to, std::size_t count) {
  return call(on, "What ranks give each other did not begin",
              [&] { return group_->all_gather(on, from, to, count * sizeof(float)); });
}

expected<bool> rank_group::have_come(std::size_t marks) {
  for (; passed_ < marks; ++passed_) {
    const auto came = device_.is_done(marks_[passed_]);
    if (!came || !*came)
      return came;
  }
  return true;
}

expected<void> rank_group::wait(stream_id on) {
  if (auto marked = mark(on); !marked)
    return give_up(marked.error());
  auto done = until(not_there, [&] { return have_come(marked_); });
  marked_ = passed_ = 0;
  return done;
}

} // namespace troupe::gpu
