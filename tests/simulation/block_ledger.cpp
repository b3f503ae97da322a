#include "tests/simulation/block_ledger.hpp"

#include <algorithm>

namespace troupe::simulated {

block_ledger::block_ledger(std::vector<kv_group_options> groups, complaint broken)
    : groups_(std::move(groups)), broken_(std::move(broken)) {
  for (const auto& group : groups_)
    blocks_.emplace_back(group.blocks);
}

std::string block_ledger::name(place where) const {
  return "Block " + std::to_string(where.id) + " of group " + std::to_string(where.group);
}

block_ledger::block* block_ledger::at(place where, const char* what) {
  if (where.group < blocks_.size() && where.id < blocks_[where.group].size())
    return &blocks_[where.group][where.id];
  broken_(name(where) + " does not exist, but " + what + ".");
  return nullptr;
}

// --- the manager's side -----------------------------------------------------------------------------------------------

block_ledger::account& block_ledger::account_of(sequence_id sequence) {
  auto& result = accounts_[sequence];
  result.tables.resize(groups_.size());
  return result;
}

std::size_t block_ledger::owned_by(sequence_id sequence) const {
  auto found = accounts_.find(sequence);
  std::size_t result = 0;
  if (found != accounts_.end())
    for (const auto& table : found->second.tables)
      result += static_cast<std::size_t>(std::count_if(table.begin(), table.end(), [](auto id) { return id != no_block; }));
  return result;
}

void block_ledger::apply(const kv_report& report) {
  if (report.reset) {
    accounts_.clear();
    for (auto& group : blocks_)
      for (auto& b : group) {
        b.leased = false;
        b.references = 0;
      }
  }
  for (const auto& operation : report.operations)
    take(operation, report);
  for (const auto& lookup : report.lookups)
    account_of(lookup.sequence).salt = lookup.key.salt;
}

void block_ledger::take(const kv_operation& operation, const kv_report& report) {
  const auto blocks = std::span(report.blocks);
  auto& owner = account_of(operation.sequence);
  auto& table = owner.tables[operation.group];
  switch (operation.kind) {
    case kv_operation::kind_type::spend:
      for (auto id : blocks.subspan(operation.offset, operation.count)) {
        lease_ends({operation.group, id}, owner);
        table.push_back(id);
      }
      break;
    case kv_operation::kind_type::fill: break;
    case kv_operation::kind_type::fork: {
      const auto& parent = account_of(operation.other);
      owner.salt = parent.salt;
      const auto& from = parent.tables[operation.group];
      if (from.size() < operation.count || !table.empty())
        return broken_("A fork takes more than its parent has, or has blocks already.");
      table.assign(from.begin(), from.begin() + operation.count);
      for (auto id : table)
        reference({operation.group, id}, owner, "is forked");
      break;
    }
    case kv_operation::kind_type::drop_front:
      drop_front(table, operation.count, [&](block_id id) { drop_reference({operation.group, id}); });
      break;
    case kv_operation::kind_type::release:
      for (std::size_t g = 0; g < owner.tables.size(); ++g)
        for (auto id : owner.tables[g])
          if (id != no_block)
            drop_reference({static_cast<kv_group>(g), id});
      accounts_.erase(operation.sequence);
      break;
    case kv_operation::kind_type::take_back:
      for (auto id : blocks.subspan(operation.offset, operation.count))
        if (auto* b = at({operation.group, id}, "was taken back"))
          b->leased = false;
      break;
  }
}

void block_ledger::lease_ends(place where, account& owner) {
  auto* b = at(where, "was spent");
  if (!b)
    return;
  if (!b->leased)
    broken_(name(where) + " was spent, but is not leased.");
  b->leased = false;
  b->references = 1;
  b->salt = owner.salt;
  b->spent = ++spent_;
}

void block_ledger::reference(place where, account& owner, const char* what) {
  if (where.id == no_block)
    return;
  auto* b = at(where, what);
  if (!b)
    return;
  if (b->leased)
    broken_(name(where) + " " + what + ", but is leased.");
  if (!b->salt)
    b->salt = owner.salt;
  if (*b->salt != owner.salt)
    broken_(name(where) + " " + what + " by a sequence with another salt.");
  ++b->references;
}

void block_ledger::drop_reference(place where) {
  auto* b = at(where, "was released");
  if (!b)
    return;
  if (b->references == 0)
    return broken_(name(where) + " was released, but is nobody's.");
  if (--b->references == 0 && b->in_flight > 0)
    broken_(name(where) + " came free, but a step in flight uses it.");
}

void block_ledger::drop_front(std::vector<block_id>& table, std::uint32_t count,
                              const std::function<void(block_id)>& dropped) {
  for (std::size_t i = 0; i < std::min<std::size_t>(count, table.size()); ++i)
    if (const auto id = std::exchange(table[i], no_block); id != no_block)
      dropped(id);
}

void block_ledger::grant(const kv_grant& grant) {
  for (const auto& found : grant.hits)
    hit(found, false);
  for (std::size_t g = 0; g < grant.blocks.size(); ++g)
    for (auto id : grant.blocks[g]) {
      const place where{static_cast<kv_group>(g), id};
      auto* b = at(where, "was granted");
      if (!b)
        continue;
      if (b->leased || b->references > 0)
        broken_(name(where) + " was granted, but is not free.");
      if (b->in_flight > 0)
        broken_(name(where) + " was granted, but a step in flight uses it.");
      b->leased = true;
    }
}

void block_ledger::hit(const kv_hit& hit, bool late) {
  if (hit.tokens == 0)
    return;
  auto& owner = account_of(hit.sequence);
  if (hit.blocks.size() != groups_.size() || hit.tokens % tokens_per_block != 0)
    return broken_("A hit is not of whole blocks in every group.");
  for (std::size_t g = 0; g < hit.blocks.size(); ++g) {
    if (hit.blocks[g].size() != hit.tokens / tokens_per_block || !owner.tables[g].empty())
      return broken_("A hit has not as many blocks as it has tokens, or its sequence has blocks already.");
    owner.tables[g] = hit.blocks[g];
    for (auto id : hit.blocks[g]) {
      const place where{static_cast<kv_group>(g), id};
      reference(where, owner, "is hit");
      if (!late && id < blocks_[g].size() && blocks_[g][id].spent <= forgotten_)
        broken_(name(where) + " is hit, but the prefix cache was reset after it had been computed.");
    }
  }
}

/// A save reads it behind all steps that were sent, so none of them may write to it.
void block_ledger::read_for_tier(kv_group group, block_id id) {
  if (auto* b = at({group, id}, "is read for a tier"); b && (b->leased || b->written > 0))
    broken_(name({group, id}) + " is read for a tier, but is leased or written.");
}

void block_ledger::written_by_tier(kv_group group, block_id id) {
  auto* b = at({group, id}, "is written by a tier");
  if (!b)
    return;
  if (b->leased || b->references > 0 || b->in_flight > 0)
    broken_(name({group, id}) + " is written by a tier, but somebody has it.");
  b->salt.reset();
  b->spent = ++spent_;
}

// --- the steps' side --------------------------------------------------------------------------------------------------

sequence_id block_ledger::in_slot(slot_id slot) const {
  return slot < slots_.size() ? slots_[slot].sequence : 0;
}

/// What a window has passed is no more in a step's reach: its block may be another's when the manager has heard of it.
void block_ledger::sent(const kv_report& report) {
  for (const auto& operation : report.operations) {
    if (operation.kind != kv_operation::kind_type::drop_front)
      continue;
    auto m = std::find_if(slots_.begin(), slots_.end(), [&](const auto& s) { return s.sequence == operation.sequence; });
    if (m != slots_.end())
      drop_front(m->tables[operation.group], operation.count,
                 [&](block_id id) { --blocks_[operation.group][id].users; });
  }
}

void block_ledger::leave(member& m) {
  for (std::size_t g = 0; g < m.tables.size(); ++g)
    for (auto id : m.tables[g])
      if (id != no_block)
        --blocks_[g][id].users;
  m = {};
}

void block_ledger::sent(const step_changes& step) {
  if (step.snapshot)
    for (auto& m : slots_)
      leave(m);
  for (auto slot : step.left)
    if (in_slot(slot) != 0)
      leave(slots_[slot]);
    else
      broken_("A sequence left a slot where none was.");
  for (const auto& joined : step.joined) {
    if (joined.slot >= slots_.size())
      slots_.resize(joined.slot + 1);
    if (slots_[joined.slot].sequence != 0)
      broken_("A sequence joined where another is.");
    slots_[joined.slot] = {joined.sequence, std::vector<std::vector<block_id>>(groups_.size())};
  }
  for (const auto& appended : step.appended) {
    if (in_slot(appended.slot) == 0) {
      broken_("Blocks were appended where no sequence is.");
      continue;
    }
    auto& table = slots_[appended.slot].tables[appended.group];
    for (auto id : std::span(step.blocks).subspan(appended.offset, appended.count)) {
      table.push_back(id);
      if (id != no_block)
        if (auto* b = at({appended.group, id}, "was appended"))
          ++b->users;
    }
  }
  auto& used = steps_[step.step];
  for (const auto& copy : step.copied) {
    use({copy.group, copy.from}, "is copied from", false, used);
    use({copy.group, copy.to}, "is copied to", true, used);
  }
  for (const auto& rows : step.rows)
    if (in_slot(rows.slot) != 0)
      use_rows(rows, slots_[rows.slot], used);
    else
      broken_("A step has rows of a slot where no sequence is.");
}

void block_ledger::use_rows(const step_rows& rows, const member& m, std::vector<place>& used) {
  const auto end = rows.first_position + rows.count;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const auto window = groups_[g].window;
    const auto first = window > 0 && rows.first_position + 1 > window ? rows.first_position + 1 - window : 0;
    for (auto index = first / tokens_per_block; index * tokens_per_block < end; ++index) {
      if (index >= m.tables[g].size())
        return broken_("A step has rows of sequence " + std::to_string(m.sequence) + " beyond its blocks.");
      use({static_cast<kv_group>(g), m.tables[g][index]}, "is in a step", (index + 1) * tokens_per_block > rows.first_position,
          used);
    }
  }
}

void block_ledger::use(place where, const char* what, bool writes, std::vector<place>& used) {
  auto* b = at(where, what);
  if (!b)
    return;
  if (!b->leased && b->references == 0)
    broken_(name(where) + " " + what + ", but is free.");
  if (writes && b->users > 1)
    broken_(name(where) + " is written by a step, but " + std::to_string(b->users) + " sequences have it.");
  ++b->in_flight;
  b->written += writes;
  where.writes = writes;
  used.push_back(where);
}

bool block_ledger::ended(std::uint64_t step) {
  auto found = steps_.find(step);
  if (found == steps_.end())
    return false;
  for (auto where : found->second) {
    --blocks_[where.group][where.id].in_flight;
    blocks_[where.group][where.id].written -= where.writes;
  }
  steps_.erase(found);
  return true;
}

void block_ledger::reset_steps() {
  while (!steps_.empty())
    ended(steps_.begin()->first);
}

void block_ledger::check_at_the_end() const {
  for (std::size_t g = 0; g < blocks_.size(); ++g)
    for (std::size_t i = 0; i < blocks_[g].size(); ++i)
      if (blocks_[g][i].references > 0 || blocks_[g][i].in_flight > 0)
        broken_(name({static_cast<kv_group>(g), static_cast<block_id>(i)}) + " is not back when all is over.");
}

} // namespace troupe::simulated
