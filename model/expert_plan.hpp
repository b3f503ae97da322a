// Expert parallelism's place: which rank has which expert of a layer, and where rows go.
//
// A layer of experts has a router that picks one for each row. Ranks have different experts and different rows: a row is sent
// to the rank that has its expert and comes back as that one's result (`communicator::all_to_all`, twice). Each pair of
// ranks exchanges as many rows, so all have room for the largest number that any rank has for another.
// No model with experts runs yet: the reader refuses them. These are the decisions that it will need.
// Source: https://arxiv.org/abs/2006.16668 (GShard).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/sharding.hpp"
#include "protocol/error.hpp"

namespace troupe {

struct expert_plan {
  std::vector<index_range> experts; ///< Of each rank.

  unsigned ranks() const { return static_cast<unsigned>(experts.size()); }
  /// The rank that has this expert, which is one of the model's.
  unsigned rank_of(std::uint32_t expert) const;
};

/// Neighbours together, and as many on each rank, but for one. Errors: invalid_argument (no rank, or more ranks than
/// experts).
expected<expert_plan> plan_experts(std::uint32_t experts, unsigned ranks);

/// Where each row of one rank lies in what it sends.
struct row_exchange {
  static constexpr std::uint32_t no_row = ~std::uint32_t{0};
  std::uint32_t capacity = 0; ///< Rows for each rank.
  std::vector<std::uint32_t>
    rows; ///< [ranks][capacity]: a row, or `no_row`, which fills up. Ascending for each rank.
};

/// How many of the rows with these chosen experts go to each rank: [ranks]. Each rank needs the largest of all ranks'.
std::vector<std::uint32_t> rows_for_ranks(const expert_plan& plan, std::span<const std::uint32_t> chosen);

/// capacity: no less than the largest of `rows_for_ranks`.
row_exchange plan_exchange(const expert_plan& plan, std::span<const std::uint32_t> chosen, std::uint32_t capacity);

} // namespace troupe
