#include "gpu/shim/streams.hpp"

#include <algorithm>
#include <numeric>

namespace troupe::gpu::shim {

stream_id stream_set::make_stream() {
  streams_.emplace_back();
  return static_cast<stream_id>(streams_.size() - 1);
}

event_id stream_set::make_event() {
  events_.emplace_back();
  return static_cast<event_id>(events_.size() - 1);
}

void stream_set::add(stream_id on, work what) {
  auto& stream = at(on);
  if (stream.captured) {
    capture_->nodes.push_back({std::move(what), stream.after});
    stream.after = {capture_->nodes.size() - 1};
    return;
  }
  stream.queue.push_back({std::move(what), nullptr, nullptr, {}});
  run_a_few();
}

void stream_set::record(event_id id, stream_id on) {
  auto& event = at(id);
  event.captured = at(on).captured;
  if (event.captured) {
    event.nodes = at(on).after;
    return;
  }
  event.done = std::make_shared<bool>(false);
  add(on, [done = event.done] { *done = true; });
}

void stream_set::wait(stream_id on, event_id id) {
  auto& stream = at(on);
  const auto& event = at(id);
  if (event.captured && capture_) {
    if (!std::exchange(stream.captured, true))
      stream.after.clear();
    stream.after.insert(stream.after.end(), event.nodes.begin(), event.nodes.end());
    return;
  }
  stream.queue.push_back({nullptr, event.done, nullptr, {}});
  run_a_few();
}

void stream_set::launch(stream_id on, graph_id id) {
  const auto& graph = graphs_[static_cast<std::size_t>(id)];
  std::vector<std::size_t> left(graph->nodes.size());
  std::iota(left.begin(), left.end(), std::size_t{0});
  at(on).queue.push_back({nullptr, nullptr, graph, std::move(left)});
  run_a_few();
}

bool stream_set::can_run(const stream& of) const {
  if (of.empty())
    return false;
  const auto& next = of.queue[of.begin];
  return next.run || next.graph || *next.event;
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
    next.graph->nodes[node].run();
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

template <class Done>
expected<void> stream_set::run_until(Done done) {
  while (!done())
    if (!run_some())
      return fail(errc::internal, "A stream waits for an event that never comes.");
  return {};
}

bool stream_set::is_done(event_id event) {
  run_a_few();
  return *at(event).done;
}

expected<void> stream_set::finish(event_id event) {
  return run_until([done = at(event).done] { return *done; });
}

expected<void> stream_set::finish(stream_id on) {
  return run_until([&] { return at(on).empty(); });
}

expected<void> stream_set::finish() {
  return run_until(
    [&] { return std::all_of(streams_.begin(), streams_.end(), [](const auto& s) { return s.empty(); }); });
}

expected<void> stream_set::begin_capture(stream_id on) {
  if (capture_)
    return fail(errc::invalid_argument, "Another stream is being captured.");
  capture_ = std::make_unique<work_graph>();
  at(on).captured = true;
  at(on).after.clear();
  return {};
}

expected<graph_id> stream_set::end_capture(stream_id on) {
  if (!is_capturing(on))
    return fail(errc::invalid_argument, "This stream is not being captured.");
  // What the stream's last nodes need, directly or not, is all that there may be.
  auto& nodes = capture_->nodes;
  std::vector<bool> joined(nodes.size());
  auto open = at(on).after;
  while (!open.empty()) {
    const auto node = open.back();
    open.pop_back();
    if (!joined[node]) {
      joined[node] = true;
      open.insert(open.end(), nodes[node].needs.begin(), nodes[node].needs.end());
    }
  }
  const bool all_joined = std::all_of(joined.begin(), joined.end(), [](bool is) { return is; });
  graphs_.push_back(std::move(capture_));
  for (auto& each : streams_)
    each.captured = false;
  for (auto& each : events_)
    each.captured = false;
  if (!all_joined)
    return fail(errc::invalid_argument, "A stream that has joined the capture was not waited for.");
  return static_cast<graph_id>(graphs_.size() - 1);
}

} // namespace troupe::gpu::shim
