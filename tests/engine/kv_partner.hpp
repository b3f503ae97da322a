// Who has the blocks, as a walk of the planner sees it.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "tests/engine/naive_truth.hpp"

namespace troupe::test {

class kv_partner {
public:
  virtual ~kv_partner() = default;
  virtual kv_grant process(const kv_report& report) = 0;

  /// Goes on with lookups that wait; a hit that is decided now, and its generation.
  virtual std::optional<std::pair<kv_hit, std::uint32_t>> decide_late() = 0;
  virtual bool nothing_waits() const = 0;

  /// Whether blocks can be leased now that could not when the last grant was made; once.
  virtual bool blocks_came_free() { return false; }

  /// Whether a step may use this block for this entry of the sequence's table; where that is not known, true.
  virtual bool may_use(sequence_id id, std::size_t group, std::size_t index, block_id block) const = 0;
  virtual bool has_account(sequence_id id) const = 0;
  virtual std::size_t accounts() const = 0;
  virtual std::uint32_t leased(std::size_t group) const = 0;
  virtual void check() const = 0;
};

} // namespace troupe::test
