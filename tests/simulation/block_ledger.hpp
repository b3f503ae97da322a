// Accounts of blocks beside the engine's own: what the manager has been told and has granted, and what steps use.
//
//   - A block is leased only while nobody has it, spent only while it is leased, hit and forked only while it is not.
//   - A block that a step in flight reads is nobody's lease and not free; one that it writes is one sequence's alone.
//   - A hit brings no block of another salt, and a grant no hit of what an operator has had forgotten.
//   - What a tier writes into is nobody's, and what is read for it is leased by nobody and written by no step.
//
// Owner: the watch; it is told of messages in the order in which they are sent.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/kv/messages.hpp"

namespace troupe::simulated {

class block_ledger {
public:
  using complaint = std::function<void(const std::string&)>;

  block_ledger(std::vector<kv_group_options> groups, complaint broken);

  // What the manager has done.
  void apply(const kv_report& report);
  void grant(const kv_grant& grant);
  void hit(const kv_hit& hit, bool late = true);
  std::size_t owned_by(sequence_id sequence) const;
  void read_for_tier(kv_group group, block_id id);
  void written_by_tier(kv_group group, block_id id);

  /// So much has been spent; and what had been spent by then is not hit again by a lookup that comes from now on.
  std::uint64_t spent() const { return spent_; }
  void forget(std::uint64_t spent) { forgotten_ = spent; }

  // What steps use, as the scheduler sends them.
  void sent(const kv_report& report); ///< Not yet with the manager.
  void sent(const step_changes& step);
  bool ended(std::uint64_t step); ///< False: it is not in flight.
  void reset_steps();
  std::size_t steps_in_flight() const { return steps_.size(); }
  sequence_id in_slot(slot_id slot) const;

  /// All has ended: nothing is owned, nothing in flight.
  void check_at_the_end() const;

private:
  struct block {
    bool leased = false;
    std::uint32_t references = 0; ///< Of tables, as the manager has them.
    std::uint32_t users = 0;      ///< Of tables, as the steps have them.
    std::uint32_t in_flight = 0;  ///< Steps that read or write it.
    std::uint32_t written = 0;    ///< Those that write it.
    std::optional<std::string> salt; ///< Unknown: it came from a tier, and is its first user's.
    std::uint64_t spent = 0;         ///< When it was, or was written by a tier.
  };
  struct place {
    kv_group group = 0;
    block_id id = 0;
    bool writes = false;
  };
  struct account {
    std::string salt;
    std::vector<std::vector<block_id>> tables; ///< By group.
  };
  struct member {
    sequence_id sequence = 0; ///< 0: nobody.
    std::vector<std::vector<block_id>> tables;
  };

  std::string name(place where) const;
  block* at(place where, const char* what);
  account& account_of(sequence_id sequence);
  void take(const kv_operation& operation, const kv_report& report);
  void lease_ends(place where, account& owner);
  void reference(place where, account& owner, const char* what);
  void drop_reference(place where);
  void drop_front(std::vector<block_id>& table, std::uint32_t count, const std::function<void(block_id)>& dropped);
  void leave(member& m);
  void use(place where, const char* what, bool writes, std::vector<place>& used);
  void use_rows(const step_rows& rows, const member& m, std::vector<place>& used);

  std::vector<kv_group_options> groups_;
  complaint broken_;
  std::uint64_t spent_ = 0, forgotten_ = 0;
  std::vector<std::vector<block>> blocks_;
  std::map<sequence_id, account> accounts_;
  std::vector<member> slots_;
  std::map<std::uint64_t, std::vector<place>> steps_; ///< In flight.
};

} // namespace troupe::simulated
