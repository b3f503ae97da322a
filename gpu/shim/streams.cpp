#include "gpu/shim/streams.hpp"

#include <algorithm>
#include <numeric>
#include <thread>

#include <fmt/format.h>

#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

stream_id stream_set::make_stream() {
  streams_.emplace_back();
  return static_cast<stream_id>(streams_.size() - 1);
}

event_id stream_set::make_event() {
  events_.emplace_back();
  return static_cast<event_id>(events_.size() - 1);
}

template <class Id>
expected<void> stream_set::check_known(Id id, const char* kind) const {
  if (!knows(id))
    return fail(errc::invalid_argument, fmt::format("There is no {} {}.", kind, static_cast<std::uint32_t>(id)));
  return {};
}

expected<void> stream_set::check_usable(stream_id on) const {
  if (auto known = check_known(on, "stream"); !known)
    return known;
  if (at(on).captured && !capture_->broken_by.empty())
    return fail(errc::invalid_argument, "The capture is broken: " + capture_->broken_by);
  return {};
}

tl::unexpected<error> stream_set::break_capture(const std::string& why) {
  if (capture_ && capture_->broken_by.empty())
    capture_->broken_by = why;
  return fail(errc::invalid_argument, why);
}

expected<void> stream_set::refuse_in_capture(const std::string& what) {
  if (capture_)
    return break_capture(what + " while a stream is being captured.");
  return {};
}

expected<void> stream_set::add(stream_id on, plan what, const std::vector<address>& uses) {
  if (auto usable = check_usable(on); !usable)
    return usable;
  auto& stream = at(on);
  if (!stream.captured) {
    return queue(on, {what(), nullptr, nullptr, {}, {}, nullptr});
  }
  auto& graph = capture_->graph;
  graph.nodes.push_back({std::move(what), stream.after});
  graph.uses.insert(graph.uses.end(), uses.begin(), uses.end());
  stream.after = {graph.nodes.size() - 1};
  return {};
}

expected<void> stream_set::add_shared(stream_id on, shared_work what) {
  if (auto allowed = refuse_on_captured(on, "A group of ranks is called"); !allowed)
    return allowed;
  return queue(on, {nullptr, nullptr, nullptr, {}, {}, std::move(what)});
}

expected<void> stream_set::refuse_on_captured(stream_id on, const std::string& what) {
  if (auto known = check_known(on, "stream"); !known)
    return known;
  if (at(on).captured)
    return break_capture(what + " on a stream that is being captured.");
  return {};
}

expected<void> stream_set::record(event_id id, stream_id on) {
  if (auto known = check_known(id, "event"); !known)
    return known;
  if (auto usable = check_usable(on); !usable)
    return usable;
  auto& event = at(id);
  if (at(on).captured) {
    event.capture = captures_;
    event.nodes = at(on).after;
    return {};
  }
  event.capture = 0;
  event.done = std::make_shared<bool>(false);
  return queue(on, {[done = event.done] { *done = true; }, nullptr, nullptr, {}, {}, nullptr});
}

expected<void> stream_set::wait(stream_id on, event_id id) {
  if (auto known = check_known(id, "event"); !known)
    return known;
  if (auto usable = check_usable(on); !usable)
    return usable;
  auto& stream = at(on);
  const auto& event = at(id);
  if (capture_ && event.capture == captures_) {
    if (!capture_->broken_by.empty())
      return fail(errc::invalid_argument, "The capture is broken: " + capture_->broken_by);
    if (!std::exchange(stream.captured, true))
      stream.after.clear();
    stream.after.insert(stream.after.end(), event.nodes.begin(), event.nodes.end());
    return {};
  }
  if (stream.captured)
    return break_capture("A captured stream waits for an event that was not recorded in its capture.");
  if (event.capture != 0)
    return fail(errc::invalid_argument, "A stream waits for an event that was recorded in a capture.");
  return queue(on, {nullptr, event.done, nullptr, {}, {}, nullptr});
}

expected<void> stream_set::launch(stream_id on, graph_id id) {
  if (auto known = check_known(id, "graph"); !known)
    return known;
  if (auto usable = check_usable(on); !usable)
    return usable;
  if (at(on).captured)
    return break_capture("A graph is launched on a stream that is being captured; no graph is a part of another.");
  const auto& graph = graphs_[static_cast<std::size_t>(id)];
  operation launched{nullptr, nullptr, graph, {}, std::vector<std::size_t>(graph->nodes.size()), nullptr};
  for (const auto& each : graph->nodes)
    launched.of_graph.push_back(each.what());
  std::iota(launched.left.begin(), launched.left.end(), std::size_t{0});
  return queue(on, std::move(launched));
}

expected<void> stream_set::free(graph_id id) {
  if (auto known = check_known(id, "graph"); !known)
    return known;
  graphs_[static_cast<std::size_t>(id)] = nullptr;
  return {};
}

std::vector<address> stream_set::uses(graph_id graph) const {
  return knows(graph) ? graphs_[static_cast<std::size_t>(graph)]->uses : std::vector<address>();
}

bool stream_set::can_run(const stream& of) const {
  if (of.empty())
    return false;
  const auto& next = of.queue[of.begin];
  return next.run || next.graph || (next.shared ? next.shared() : *next.event);
}

void stream_set::run_one(stream& of) {
  auto& next = of.queue[of.begin];
  if (next.graph && !next.left.empty()) {
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < next.left.size(); ++i) {
      const auto& needs = next.graph->nodes[next.left[i]].needs;
      if (std::none_of(needs.begin(), needs.end(), [&](auto need) {
            return std::find(next.left.begin(), next.left.end(), need) != next.left.end();
          }))
        ready.push_back(i);
    }
    const auto chosen = ready[random_() % ready.size()];
    const auto node = next.left[chosen];
    next.left.erase(next.left.begin() + static_cast<std::ptrdiff_t>(chosen));
    next.of_graph[node]();
    return;
  }
  const auto run = std::move(next.run);
  if (++of.begin == of.queue.size()) {
    of.queue.clear();
    of.begin = 0;
  }
  if (run)
    run();
}

bool stream_set::run_some() {
  std::vector<std::size_t> able;
  for (std::size_t i = 0; i < streams_.size(); ++i)
    if (can_run(streams_[i]))
      able.push_back(i);
  if (able.empty())
    return false;
  run_one(streams_[able[random_() % able.size()]]);
  return true;
}

void stream_set::run_a_few() {
  if (random_() % 4 != 0)
    return;
  for (auto count = random_() % 4; count > 0; --count)
    run_some();
}

bool stream_set::waits_for_others() const {
  return std::ranges::any_of(streams_,
                             [](const auto& each) { return !each.empty() && each.queue[each.begin].shared; });
}

template <class Done>
expected<void> stream_set::run_until(Done done) {
  using clock = std::chrono::steady_clock;
  auto last_run = clock::now();
  while (!done()) {
    if (run_some()) {
      last_run = clock::now();
      continue;
    }
    if (!waits_for_others())
      return fail(errc::internal, "A stream waits for an event that never comes.");
    if (clock::now() - last_run > longest_wait_)
      throw violation(violation_kind::hangs, "the host waits for a stream that waits for another rank");
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return {};
}

expected<void> stream_set::queue(stream_id on, operation what) {
  const auto has_room = [&] { return at(on).queue.size() - at(on).begin < most_queued; };
  if (!has_room())
    if (auto waited = run_until(has_room); !waited)
      return waited;
  at(on).queue.push_back(std::move(what));
  run_a_few();
  return {};
}

expected<bool> stream_set::is_done(event_id event) {
  if (auto known = check_known(event, "event"); !known)
    return tl::unexpected(known.error());
  if (auto allowed = refuse_in_capture("An event is asked for"); !allowed)
    return tl::unexpected(allowed.error());
  if (at(event).capture != 0)
    return fail(errc::invalid_argument, "An event is asked for that was recorded in a capture.");
  for (auto count = random_() % 16; count > 0; --count) // Who asks gives the device time.
    run_some();
  return *at(event).done;
}

expected<void> stream_set::finish(event_id event) {
  if (auto known = check_known(event, "event"); !known)
    return known;
  if (auto allowed = refuse_in_capture("An event is waited for"); !allowed)
    return allowed;
  if (at(event).capture != 0)
    return fail(errc::invalid_argument, "An event is waited for that was recorded in a capture.");
  return run_until([done = at(event).done] { return *done; });
}

expected<void> stream_set::finish(stream_id on) {
  if (auto known = check_known(on, "stream"); !known)
    return known;
  if (auto allowed = refuse_in_capture("A stream is waited for"); !allowed)
    return allowed;
  return run_until([&] { return at(on).empty(); });
}

expected<void> stream_set::finish() {
  return run_until(
    [&] { return std::all_of(streams_.begin(), streams_.end(), [](const auto& s) { return s.empty(); }); });
}

expected<void> stream_set::begin_capture(stream_id on) {
  if (auto known = check_known(on, "stream"); !known)
    return known;
  if (capture_)
    return fail(errc::invalid_argument, "Another stream is being captured.");
  capture_ = std::make_unique<capture>(capture{{}, on, {}});
  ++captures_;
  at(on).captured = true;
  at(on).after.clear();
  return {};
}

bool stream_set::joins_all(const work_graph& graph, std::vector<std::size_t> last) const {
  std::vector<bool> joined(graph.nodes.size());
  while (!last.empty()) {
    const auto node = last.back();
    last.pop_back();
    if (!joined[node]) {
      joined[node] = true;
      const auto& needs = graph.nodes[node].needs;
      last.insert(last.end(), needs.begin(), needs.end());
    }
  }
  return std::all_of(joined.begin(), joined.end(), [](bool is) { return is; });
}

expected<graph_id> stream_set::end_capture(stream_id on) {
  if (auto known = check_known(on, "stream"); !known)
    return tl::unexpected(known.error());
  if (!at(on).captured)
    return fail(errc::invalid_argument, "This stream is not being captured.");
  if (capture_->origin != on)
    return break_capture("A capture is ended on another stream than it was begun on.");
  const auto ended = std::exchange(capture_, nullptr);
  for (auto& each : streams_)
    each.captured = false;
  if (!ended->broken_by.empty())
    return fail(errc::invalid_argument, "The capture is broken: " + ended->broken_by);
  // What the stream's last nodes need, directly or not, is all that there may be.
  if (!joins_all(ended->graph, at(on).after))
    return fail(errc::invalid_argument, "A stream that has joined the capture was not waited for.");
  graphs_.push_back(std::make_shared<const work_graph>(std::move(ended->graph)));
  return static_cast<graph_id>(graphs_.size() - 1);
}

} // namespace troupe::gpu::shim
