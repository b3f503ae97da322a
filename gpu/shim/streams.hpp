// Streams, events and graphs of the shim: what is queued, and in which order it runs.
//
// Any order is drawn from the seed that streams and events allow; nothing runs before it must, or before the dice say so.
// A program that forgets an event, or does not wait for a copy, is wrong in some order, and is found out by one of a few seeds.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "gpu/runtime.hpp"

namespace troupe::gpu::shim {

using work = std::function<void()>;

/// Work with an order: a node runs after those that it needs.
struct work_graph {
  struct node {
    work run;
    std::vector<std::size_t> needs;
  };
  std::vector<node> nodes;
};

class stream_set {
public:
  explicit stream_set(std::uint32_t seed) : random_(seed) {}

  stream_id make_stream();
  event_id make_event();
  bool knows(stream_id stream) const { return static_cast<std::size_t>(stream) < streams_.size(); }
  bool knows(event_id event) const { return static_cast<std::size_t>(event) < events_.size(); }
  bool knows(graph_id graph) const { return static_cast<std::size_t>(graph) < graphs_.size(); }

  void add(stream_id on, work what);
  void record(event_id event, stream_id on);
  void wait(stream_id on, event_id event);
  void launch(stream_id on, graph_id graph);

  bool is_done(event_id event);
  /// What is queued runs until that is done. Errors: internal (it never will be, as it waits for itself).
  expected<void> finish(event_id event);
  expected<void> finish(stream_id on);
  expected<void> finish();

  expected<void> begin_capture(stream_id on);
  expected<graph_id> end_capture(stream_id on);
  bool is_capturing() const { return capture_ != nullptr; }
  bool is_capturing(stream_id on) const { return capture_ && streams_[static_cast<std::size_t>(on)].captured; }

private:
  struct operation {
    work run;                                ///< Or, where it is empty:
    std::shared_ptr<const bool> event;       ///< waits for this to be true,
    std::shared_ptr<const work_graph> graph; ///< or runs this,
    std::vector<std::size_t> left;           ///< of which these nodes are left.
  };
  struct stream {
    std::vector<operation> queue; ///< The first is at `begin`.
    std::size_t begin = 0;
    bool captured = false;
    std::vector<std::size_t> after; ///< Nodes of the capture that its next one needs.
    bool empty() const { return begin == queue.size(); }
  };
  struct event {
    std::shared_ptr<bool> done =
      std::make_shared<bool>(true); ///< What was recorded last has come; each record has its own.
    bool captured = false;
    std::vector<std::size_t> nodes; ///< Of the capture, that it stands for.
  };

  stream& at(stream_id id) { return streams_[static_cast<std::size_t>(id)]; }
  event& at(event_id id) { return events_[static_cast<std::size_t>(id)]; }
  bool can_run(const stream& of) const;
  void run_one(stream& of);
  /// One operation, or a part of one, of a stream that the dice choose; false where none can run.
  bool run_some();
  void run_a_few();
  template <class Done>
  expected<void> run_until(Done done);

  std::mt19937 random_;
  std::vector<stream> streams_;
  std::vector<event> events_;
  std::vector<std::shared_ptr<const work_graph>> graphs_;
  std::unique_ptr<work_graph> capture_;
};

} // namespace troupe::gpu::shim
