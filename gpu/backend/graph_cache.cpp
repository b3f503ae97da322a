#include "gpu/backend/graph_cache.hpp"

#include <algorithm>

namespace troupe::gpu {

std::optional<graph_id> graph_cache::find(const decode_shape& shape) {
  const auto found = by_shape_.find(shape);
  if (found == by_shape_.end())
    return std::nullopt;
  kept_.splice(kept_.begin(), kept_, found->second);
  return kept_.front().graph;
}

expected<void> graph_cache::free_oldest(runtime& device) {
  const auto oldest = kept_.back();
  by_shape_.erase(oldest.shape);
  bytes_ -= oldest.bytes;
  kept_.pop_back();
  return device.free(oldest.graph);
}

/// What a graph takes is known only when it is there: as much as the largest, it is thought.
expected<void> graph_cache::make_room(runtime& device) {
  const auto largest = [&] { return std::ranges::max_element(kept_, {}, &entry::bytes)->bytes; };
  while (!kept_.empty() && (kept_.size() >= limits_.graphs || bytes_ + largest() > limits_.bytes))
    if (auto done = free_oldest(device); !done)
      return done;
  return {};
}

void graph_cache::add(const decode_shape& shape, graph_id graph, std::uint64_t bytes) {
  kept_.push_front({shape, graph, bytes});
  by_shape_[shape] = kept_.begin();
  bytes_ += bytes;
}

expected<bool> graph_cache::shrink(runtime& device) {
  if (kept_.empty())
    return false;
  limits_.graphs = kept_.size();
  if (auto done = free_oldest(device); !done)
    return tl::unexpected(done.error());
  return true;
}

} // namespace troupe::gpu
