#include "actors/stage.hpp"

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

/// Blocks lie in parts on the ranks.
constexpr const char* no_contents = "Blocks of a model on several ranks cannot be read or written yet.";

/// What all ranks have together.
struct sum_of_ranks {
  std::size_t missing;
  worker_info sum;
  caf::typed_response_promise<expected<worker_info>> promise;

  void add(expected<worker_info>& info) {
    if (!info)
      return fail(info.error());
    if (sum.block_bytes.empty()) {
      sum = *info;
    } else {
      sum.memory.weight_bytes += info->memory.weight_bytes;
      sum.memory.kv_bytes += info->memory.kv_bytes;
      sum.memory.workspace_bytes += info->memory.workspace_bytes;
      for (std::size_t group = 0; group < sum.block_bytes.size(); ++group)
        sum.block_bytes[group] += info->block_bytes[group];
    }
    if (--missing == 0)
      promise.deliver(expected<worker_info>(sum));
  }
  void fail(const error& why) {
    if (promise.pending())
      promise.deliver(expected<worker_info>(tl::unexpected(why)));
  }
};

} // namespace

stage_actor::behavior_type stage(stage_actor::pointer self, std::vector<worker_actor> workers,
                                 std::shared_ptr<shared_group> group) {
  explain_exceptions(self);
  for (const auto& worker : workers)
    self->link_to(worker);
  if (group)
    self->attach_functor([group] { group->abort(); });
  const auto first = workers.front();
  const bool alone = workers.size() == 1;
  return {
    [=](step_atom step, const step_ptr& changes) {
      for (const auto& worker : workers)
        self->send(worker, step, changes);
    },
    [=](read_atom read, const std::vector<block_place>& places) -> caf::result<expected<block_contents>> {
      if (!alone)
        return expected<block_contents>(fail(errc::unsupported, no_contents));
      return self->delegate(first, read, places);
    },
    [=](write_atom write, const block_contents& contents) -> caf::result<expected<nothing>> {
      if (!alone)
        return expected<nothing>(fail(errc::unsupported, no_contents));
      return self->delegate(first, write, contents);
    },
    [=](info_atom info) -> caf::result<expected<worker_info>> {
      if (alone)
        return self->delegate(first, info);
      auto sum = std::make_shared<sum_of_ranks>();
      sum->missing = workers.size();
      sum->promise = self->make_response_promise<expected<worker_info>>();
      for (const auto& worker : workers)
        ask<expected<worker_info>>(
          self, worker, timeouts::step, [sum](expected<worker_info>& one) { sum->add(one); },
          [sum](const caf::error& reason) { // Its death, of which a new epoch comes.
            if (sum->promise.pending())
              sum->promise.deliver(reason);
          },
          info);
      return sum->promise;
    },
  };
}

} // namespace troupe
