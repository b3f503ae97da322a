// The graphs that a backend keeps: at most so many, of at most so many bytes; the one that was not used for longest goes first.
//
// Owner: the backend. All memory that its graphs have is counted in `graph_room_bytes`, which is left free at the start (gpu/memory.hpp).
#pragma once

#include <list>
#include <map>
#include <optional>
#include <set>

#include "gpu/backend/decode_batch.hpp"
#include "gpu/memory.hpp"
#include "gpu/runtime.hpp"

namespace troupe::gpu {

struct graph_limits {
  std::size_t graphs = 128;
  std::uint64_t bytes = graph_room_bytes;
};

class graph_cache {
public:
  explicit graph_cache(const graph_limits& limits = {}) : limits_(limits) {}

  /// The graph of a shape, which is used now. None: there is none.
  std::optional<graph_id> find(const decode_shape& shape);
  /// Whether the shape has come before; from now on it has. One that comes once may never come again, and wants no graph.
  bool comes_again(const decode_shape& shape) { return !seen_.insert(shape).second; }

  /// To be called before a graph is made: frees those that it takes the place of. Errors: those of the runtime.
  expected<void> make_room(runtime& device);
  /// bytes: of the device, that it has.
  void add(const decode_shape& shape, graph_id graph, std::uint64_t bytes);
  /// There was no memory for a graph: frees the oldest, and never again has more than there were. False: there was none.
  expected<bool> shrink(runtime& device);

  std::size_t size() const { return kept_.size(); }
  std::uint64_t bytes() const { return bytes_; }

private:
  struct entry {
    decode_shape shape;
    graph_id graph;
    std::uint64_t bytes;
  };
  expected<void> free_oldest(runtime& device);

  graph_limits limits_;
  std::list<entry> kept_; ///< The one that was used last is the first.
  std::map<decode_shape, std::list<entry>::iterator> by_shape_;
  std::set<decode_shape> seen_; ///< No more than there are rungs.
  std::uint64_t bytes_ = 0;
};

} // namespace troupe::gpu
