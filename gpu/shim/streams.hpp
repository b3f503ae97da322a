// Streams, events and graphs of the shim: what is queued, and in which order it runs.
//
// Any order is drawn from the seed that streams and events allow; nothing runs before it must, or before the dice say so.
// A program that forgets an event, or does not wait for a copy, is wrong in some order, and is found out by one of a few seeds.
//
// A capture has CUDA's rules (CUDA Programming Guide, "Graphs", stream capture; thread-local mode), and is stricter where they leave room:
// one capture at a time, no graph within a graph, and an event that is waited for in one was recorded in it. What breaks a rule is an
// invalid_argument, and so is everything on the captured streams after that, until `end_capture`, which fails.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gpu/runtime.hpp"

namespace troupe::gpu::shim {

using work = std::function<void()>;
/// Work in which others take part who are not here: called until it says that it is done, and maybe once more.
using shared_work = std::function<bool()>;
/// Called when the work is queued, for one in a graph when that is launched: gives what runs later.
using plan = std::function<work()>;

/// Work with an order: a node runs after those that it needs.
struct work_graph {
  struct node {
    plan what;
    std::vector<std::size_t> needs;
  };
  std::vector<node> nodes;
  std::vector<address> uses; ///< Addresses in memory that has to be there when it is launched.
};

/// Errors of all that get an id: invalid_argument (there is none of that number), and the rules of a capture.
class stream_set {
public:
  /// longest_wait: so long the host may wait for others' work; a device would have it wait for ever.
  explicit stream_set(std::uint32_t seed, std::chrono::milliseconds longest_wait = std::chrono::seconds(60))
      : random_(seed), longest_wait_(longest_wait) {}

  /// That a stream has room for, as CUDA's have for about as many launches.
  static constexpr std::size_t most_queued = 1024;

  stream_id make_stream();
  event_id make_event();

  /// uses: only looked at in a capture.
  expected<void> add(stream_id on, plan what, const std::vector<address>& uses = {});
  expected<void> add_shared(stream_id on, shared_work what);
  /// Refuses what no graph has on a stream that is captured ("A group of ranks is called"), and breaks the capture.
  expected<void> refuse_on_captured(stream_id on, const std::string& what);
  expected<void> record(event_id event, stream_id on);
  expected<void> wait(stream_id on, event_id event);
  expected<void> launch(stream_id on, graph_id graph);
  /// What a graph uses; nothing, if there is no such graph.
  std::vector<address> uses(graph_id graph) const;
  /// From now on there is no such graph.
  expected<void> free(graph_id graph);

  expected<bool> is_done(event_id event);
  /// What is queued runs until that is done. Errors: internal (it never will be, as it waits for itself). Throws a violation where
  /// others do not come.
  expected<void> finish(event_id event);
  expected<void> finish(stream_id on);
  expected<void> finish();

  expected<void> begin_capture(stream_id on);
  expected<graph_id> end_capture(stream_id on);
  /// Refuses what may not be while a stream is captured ("Memory is allocated"), and breaks the capture.
  expected<void> refuse_in_capture(const std::string& what);

private:
  struct operation {
    work run;                          ///< Or, where it is empty:
    std::shared_ptr<const bool> event; ///< waits for this to be true,
    std::shared_ptr<const work_graph> graph;
    std::vector<work> of_graph;    ///< or runs this graph's,
    std::vector<std::size_t> left; ///< of which these nodes are left.
    shared_work shared;            ///< Or is not done before this says so.
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
    std::size_t capture = 0;        ///< That it was recorded in last; 0: outside of one.
    std::vector<std::size_t> nodes; ///< Of the capture, that it stands for.
  };
  struct capture {
    work_graph graph;
    stream_id origin;
    std::string broken_by; ///< Empty: it is valid.
  };

  bool knows(stream_id stream) const { return static_cast<std::size_t>(stream) < streams_.size(); }
  bool knows(event_id event) const { return static_cast<std::size_t>(event) < events_.size(); }
  bool knows(graph_id graph) const {
    return static_cast<std::size_t>(graph) < graphs_.size() && graphs_[static_cast<std::size_t>(graph)];
  }
  template <class Id>
  expected<void> check_known(Id id, const char* kind) const;
  /// Known, and not captured by a capture that is broken.
  expected<void> check_usable(stream_id on) const;
  tl::unexpected<error> break_capture(const std::string& why);

  stream& at(stream_id id) { return streams_[static_cast<std::size_t>(id)]; }
  const stream& at(stream_id id) const { return streams_[static_cast<std::size_t>(id)]; }
  event& at(event_id id) { return events_[static_cast<std::size_t>(id)]; }
  /// Where a stream has no room the host waits, as for a device.
  expected<void> queue(stream_id on, operation what);
  bool can_run(const stream& of) const;
  void run_one(stream& of);
  /// One operation, or a part of one, of a stream that the dice choose; false where none can run.
  bool run_some();
  void run_a_few();
  bool waits_for_others() const;
  template <class Done>
  expected<void> run_until(Done done);
  bool joins_all(const work_graph& graph, std::vector<std::size_t> last) const;

  std::mt19937 random_;
  const std::chrono::milliseconds longest_wait_;
  std::vector<stream> streams_;
  std::vector<event> events_;
  std::vector<std::shared_ptr<const work_graph>> graphs_; ///< Null: freed.
  std::unique_ptr<capture> capture_;
  std::size_t captures_ = 0; ///< So far; the number of the one that is under way, if one is.
};

} // namespace troupe::gpu::shim
