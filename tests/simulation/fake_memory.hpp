// The batch and the KV memory of a fake device. It reads steps by itself, as simply as it can be done, so that what it
// computes does not depend on the engine's own reading of them (engine/batch_state.hpp): whatever is wrong with a
// step's rows or blocks is a complaint here, or a wrong token.
//
// KV memory holds the tokens themselves. What is sampled hangs on all tokens before it, read back through the table of
// the first group; a group with a window must show the same tokens as far as the window reaches.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/kv/messages.hpp"
#include "tests/simulation/fake_model.hpp"

namespace troupe::simulated {

class fake_memory {
public:
  using complaint = std::function<void(const std::string&)>;

  fake_memory(std::vector<kv_group_options> groups, complaint broken);

  step_result compute(const step_changes& step);

  /// What a block holds, for a tier.
  std::shared_ptr<const std::vector<std::byte>> read(kv_group group, block_id id);
  void write(kv_group group, block_id id, const std::vector<std::byte>& bytes);

private:
  struct member {
    bool joined = false;
    shared_sampling sampling;
    std::uint32_t prompt_tokens = 0;
    std::vector<std::vector<block_id>> tables; ///< By group.
    token_id last = -1;
  };

  member* find(slot_id slot);
  token_id* block(std::size_t group, block_id id);
  token_id* at(member& m, std::size_t group, std::uint32_t position);
  void change_members(const step_changes& step);
  bool write(const step_changes& step, const step_rows& rows, member& m);
  void compare_windows(member& m, std::uint32_t end);
  void sample(const step_changes& step, std::uint32_t index, member& m, step_result& result);
  void embed(std::uint32_t index, member& m, step_result& result);
  void report_prompt(const step_changes& step, std::uint32_t index, member& m, step_result& result);

  std::vector<kv_group_options> groups_;
  complaint broken_;
  std::vector<std::vector<token_id>> memory_; ///< By group.
  std::vector<member> members_;               ///< By slot.
};

} // namespace troupe::simulated
