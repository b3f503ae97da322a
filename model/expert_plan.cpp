#include "model/expert_plan.hpp"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

namespace troupe {

unsigned expert_plan::rank_of(std::uint32_t expert) const {
  const auto found = std::ranges::find_if(experts, [&](const index_range& one) { return one.contains(expert); });
  assert(found != experts.end());
  return static_cast<unsigned>(found - experts.begin());
}

expected<expert_plan> plan_experts(std::uint32_t experts, unsigned ranks) {
  if (ranks == 0 || ranks > experts)
    return fail(errc::invalid_argument,
                fmt::format("{} experts can be on {} ranks at most, not on {}.", experts, experts, ranks));
  const auto begin_of = [&](std::uint64_t rank) { return static_cast<std::uint32_t>(experts * rank / ranks); };
  expert_plan out;
  for (unsigned rank = 0; rank < ranks; ++rank)
    out.experts.push_back({begin_of(rank), begin_of(rank + 1)});
  return out;
}

std::vector<std::uint32_t> rows_for_ranks(const expert_plan& plan, std::span<const std::uint32_t> chosen) {
  std::vector<std::uint32_t> out(plan.ranks());
  for (const auto expert : chosen)
    ++out[plan.rank_of(expert)];
  return out;
}

row_exchange plan_exchange(const expert_plan& plan, std::span<const std::uint32_t> chosen, std::uint32_t capacity) {
  row_exchange out{capacity, std::vector<std::uint32_t>(std::size_t{capacity} * plan.ranks(), row_exchange::no_row)};
  std::vector<std::uint32_t> used(plan.ranks());
  for (std::uint32_t row = 0; row < chosen.size(); ++row) {
    const auto rank = plan.rank_of(chosen[row]);
    assert(used[rank] < capacity);
    out.rows[std::size_t{rank} * capacity + used[rank]++] = row;
  }
  return out;
}

} // namespace troupe
