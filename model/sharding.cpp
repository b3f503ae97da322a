#include "model/sharding.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace troupe {

namespace {

/// Logits that sampling looks at together, and two panels of the CPU's matrices.
constexpr std::uint32_t vocabulary_unit = 32;

/// Part `index` of `parts` of [0, count) in whole units; the last one has the rest.
index_range part_of(std::uint32_t count, std::uint32_t unit, std::uint32_t index, std::uint32_t parts) {
  const std::uint64_t units = (count + unit - 1) / unit;
  const auto at = [&](std::uint64_t i) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(units * i / parts * unit, count));
  };
  return {at(index), at(index + 1)};
}

/// Columns that lie in one block of every matrix that ends with `suffix`.
std::uint32_t columns_together(const model_program& whole, const gguf::file& file, std::string_view suffix) {
  std::uint32_t out = 1;
  for (const auto& op : whole.operations)
    if (op.kind == op_kind::matmul && op.weight.ends_with(suffix))
      out = std::lcm(out, static_cast<std::uint32_t>(gguf::format_of(file.find_tensor(op.weight)->type).elements));
  return out;
}

constexpr std::string_view attention_output = "attn_output.weight", down = "ffn_down.weight";

} // namespace

std::vector<unsigned> sharding_plan::shards_of_ranks() const {
  std::vector<unsigned> out;
  for (const auto& range : shards)
    out.push_back(range.size());
  return out;
}

expected<sharding_plan> plan_shards(const model_program& whole, const gguf::file& file, unsigned ranks) {
  const std::uint32_t columns_of_kv_head = whole.heads / whole.kv_heads * whole.head_size;
  const auto attended_unit = columns_together(whole, file, attention_output);
  const auto feed_forward_unit = columns_together(whole, file, down);
  // As few KV heads together as leave blocks whole.
  const auto kv_heads_unit = std::lcm(columns_of_kv_head, attended_unit) / columns_of_kv_head;
  const auto units = [](std::uint32_t count, std::uint32_t unit) { return (count + unit - 1) / unit; };
  const auto shards = std::min({units(whole.kv_heads, kv_heads_unit), units(whole.feed_forward, feed_forward_unit),
                                units(whole.vocabulary, vocabulary_unit)});
  if (ranks == 0 || ranks > shards)
    return fail(errc::invalid_argument,
                fmt::format("The model can be cut into {} parts at most, not into {}.", shards, ranks));
  sharding_plan out;
  for (std::uint32_t s = 0; s < shards; ++s) {
    out.kv_heads.push_back(part_of(whole.kv_heads, kv_heads_unit, s, shards));
    out.feed_forward.push_back(part_of(whole.feed_forward, feed_forward_unit, s, shards));
  }
  for (unsigned r = 0; r < ranks; ++r) {
    out.shards.push_back(part_of(shards, 1, r, ranks));
    out.vocabulary.push_back(part_of(whole.vocabulary, vocabulary_unit, r, ranks));
  }
  return out;
}

namespace {

class rank_writer {
public:
  rank_writer(const model_program& whole, const sharding_plan& plan, unsigned rank)
      : whole_(whole), plan_(plan), rank_(rank), shards_(plan.shards[rank]), vocabulary_(plan.vocabulary[rank]),
        group_(whole.heads / whole.kv_heads) {}

  model_program write() {
    model_program out = whole_;
    const auto kv = own(plan_.kv_heads), ff = own(plan_.feed_forward);
    out.kv_heads = kv.size();
    out.heads = kv.size() * group_;
    out.feed_forward = ff.size();
    out.rank = rank_;
    for (const auto& part : plan_.vocabulary)
      out.logit_cuts.push_back(part.begin);
    out.logit_cuts.push_back(whole_.vocabulary);
    out.operations.clear();
    for (auto op : whole_.operations) {
      cut(op, kv, ff);
      out.operations.push_back(op);
      if (op.kind == op_kind::embed || !op.shard_columns.empty())
        out.operations.push_back({.kind = op_kind::all_reduce, .output = op.output, .layer = op.layer});
      if (op.kind == op_kind::matmul && op.output == buffer::logits)
        out.operations.push_back({.kind = op_kind::all_gather, .output = buffer::logits, .layer = op.layer});
    }
    return out;
  }

private:
  /// What this rank's logical shards have together.
  index_range own(const std::vector<index_range>& of) const {
    return {of[shards_.begin].begin, of[shards_.end - 1].end};
  }

  std::vector<std::uint32_t> columns_of_shards(const std::vector<index_range>& of, std::uint32_t each) const {
    std::vector<std::uint32_t> out{0};
    for (auto s = shards_.begin; s < shards_.end; ++s)
      out.push_back(out.back() + of[s].size() * each);
    return out;
  }

  void cut(operation& op, index_range kv, index_range ff) const {
    const std::uint32_t size = whole_.head_size;
    if (op.kind == op_kind::embed) {
      op.slice = {.first_row = vocabulary_.begin, .rows = vocabulary_.size()};
    } else if (op.kind != op_kind::matmul) {
      return;
    } else if (op.output == buffer::query) {
      op.slice = {.first_row = kv.begin * group_ * size, .rows = kv.size() * group_ * size};
    } else if (op.output == buffer::key || op.output == buffer::value) {
      op.slice = {.first_row = kv.begin * size, .rows = kv.size() * size};
    } else if (op.output == buffer::gate || op.output == buffer::up) {
      op.slice = {.first_row = ff.begin, .rows = ff.size()};
    } else if (op.output == buffer::logits) {
      op.slice = {.first_row = vocabulary_.begin, .rows = vocabulary_.size()};
    } else if (op.input == buffer::attended) {
      op.slice = {.first_column = kv.begin * group_ * size, .columns = kv.size() * group_ * size};
      op.shard_columns = columns_of_shards(plan_.kv_heads, group_ * size);
    } else {
      op.slice = {.first_column = ff.begin, .columns = ff.size()};
      op.shard_columns = columns_of_shards(plan_.feed_forward, 1);
    }
    if (!op.shard_columns.empty() && shards_.begin != 0)
      op.bias.clear(); // The first shard adds it, once.
  }

  const model_program& whole_;
  const sharding_plan& plan_;
  const unsigned rank_;
  const index_range shards_, vocabulary_;
  const std::uint32_t group_;
};

} // namespace

model_program program_of_rank(const model_program& whole, const sharding_plan& plan, unsigned rank) {
  return rank_writer(whole, plan, rank).write();
}

std::optional<error> check_group(const model_program& program, const backend_options& options, unsigned shards) {
  const auto ranks = program.logit_cuts.empty() ? 1 : program.logit_cuts.size() - 1;
  const auto* group = options.group.get();
  if (ranks == 1 && !group)
    return {};
  if (!group || group->size() != ranks || group->rank() != program.rank || group->shards() != shards)
    return error{errc::invalid_argument,
                 fmt::format("The program of rank {} of {} has no such group of ranks.", program.rank, ranks)};
  return {};
}

} // namespace troupe
