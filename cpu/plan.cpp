#include "cpu/plan.hpp"

#include <map>
#include <utility>

#include "cpu/kernels.hpp"

namespace troupe::cpu {

namespace {

bool reads(const operation& op, buffer which) {
  switch (op.kind) {
  case op_kind::embed:
  case op_kind::take_hidden:
    return false;
  case op_kind::rope:
    return op.output == which;
  case op_kind::add:
    return op.input == which || op.output == which;
  case op_kind::store_kv:
  case op_kind::swiglu:
  case op_kind::take_rows:
    return op.input == which || op.input2 == which;
  case op_kind::rms_norm:
  case op_kind::matmul:
  case op_kind::attention:
  case op_kind::give_hidden:
    return op.input == which;
  case op_kind::all_reduce:
  case op_kind::all_gather:
    return op.output == which;
  }
  return true;
}

/// Its `output` means nothing.
bool only_reads(const operation& op) {
  return op.kind == op_kind::store_kv || op.kind == op_kind::take_rows || op.kind == op_kind::give_hidden;
}

bool writes(const operation& op, buffer which) {
  return !only_reads(op) && op.output == which;
}

class planner {
public:
  planner(const model_program& program, const std::function<bool(const std::string&)>& quantised,
          cpu_arithmetic arithmetic)
      : operations_(program.operations), quantised_(quantised), arithmetic_(arithmetic),
        heads_fill_blocks_(program.heads / program.kv_heads * program.head_size % block_columns == 0) {}

  std::vector<step> plan() {
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      const auto& op = operations_[i];
      switch (op.kind) {
      case op_kind::matmul:
        i += add_product(i);
        break;
      case op_kind::attention:
        steps_.push_back({.kind = step_kind::attention, .op = op});
        break;
      case op_kind::all_reduce:
        if (operations_[i - 1].kind != op_kind::embed) // Every rank reads any token's row from the file.
          steps_.push_back({.kind = step_kind::all_reduce, .op = op});
        break;
      case op_kind::all_gather:
        steps_.push_back({.kind = step_kind::all_gather, .op = op});
        break;
      case op_kind::take_rows:
        steps_.push_back({.kind = step_kind::take_rows, .op = op});
        forms_.clear();
        after_attention_ = true;
        break;
      default:
        add_row_operation({.op = op});
        break;
      }
      forms_.erase(only_reads(op) ? buffer::count : op.output);
    }
    return std::move(steps_);
  }

private:
  void add_row_operation(row_operation what) {
    if (steps_.empty() || steps_.back().kind != step_kind::rows)
      steps_.push_back({.kind = step_kind::rows});
    steps_.back().row_operations.push_back(std::move(what));
  }

  /// Of a product's input; plan_steps says why.
  activation_form form_for(const operation& product) const {
    if (arithmetic_ == cpu_arithmetic::bf16)
      return activation_form::bfloats;
    if (!quantised_(product.weight))
      return activation_form::floats;
    const bool attends =
      product.output == buffer::query || product.output == buffer::key || product.output == buffer::value;
    return attends || after_attention_ ? activation_form::two_bytes : activation_form::one_byte;
  }

  /// Makes sure that a buffer is there in this form: as the last thing of the step that wrote it, if that came just
  /// before.
  void need_form(buffer which, activation_form form) {
    if (form == activation_form::floats || std::exchange(forms_[which], form) == form)
      return;
    if (!steps_.empty() && steps_.back().kind == step_kind::attention && steps_.back().op.output == which &&
        heads_fill_blocks_)
      steps_.back().form = form;
    else
      add_row_operation({.op = {.kind = op_kind::add, .input = which}, .form = form});
  }

  /// Returns how many of the operations after it this product has taken in.
  std::size_t add_product(std::size_t index) {
    product what{.op = operations_[index]};
    what.form = form_for(what.op);
    need_form(what.op.input, what.form);
    std::size_t taken = 0;
    if (index + 1 < operations_.size()) {
      const auto& next = operations_[index + 1];
      if (next.kind == op_kind::add && next.input == what.op.output && next.output != what.op.input &&
          is_dead_after(index + 1, what.op.output)) {
        what.op.output = next.output;
        what.accumulate = true;
        taken = 1;
      }
    }
    forms_.erase(what.op.output);
    if (steps_.empty() || !fits(steps_.back(), what))
      steps_.push_back({.kind = step_kind::product});
    steps_.back().products.push_back(std::move(what));
    return taken;
  }

  static bool fits(const step& last, const product& next) {
    if (last.kind != step_kind::product)
      return false;
    for (const auto& other : last.products)
      if (other.op.input != next.op.input || other.op.output == next.op.output || other.op.output == next.op.input ||
          next.op.output == other.op.input)
        return false;
    return true;
  }

  /// Whether nothing after operation `index` reads what is in `which` now.
  bool is_dead_after(std::size_t index, buffer which) const {
    for (std::size_t i = index + 1; i < operations_.size(); ++i) {
      if (reads(operations_[i], which))
        return false;
      if (writes(operations_[i], which))
        return true;
    }
    return true;
  }

  const std::vector<operation>& operations_;
  const std::function<bool(const std::string&)>& quantised_;
  const cpu_arithmetic arithmetic_;
  const bool heads_fill_blocks_; ///< The heads of one KV head are whole blocks of what shares a scale.
  std::vector<step> steps_;
  bool after_attention_ = false; ///< Of the last layer.
  std::map<buffer, activation_form>
    forms_; ///< Of buffers that are there in another form, which says what their floats say.
};

} // namespace

std::vector<step> plan_steps(const model_program& program, const std::function<bool(const std::string&)>& quantised,
                             cpu_arithmetic arithmetic) {
  return planner(program, quantised, arithmetic).plan();
}

} // namespace troupe::cpu
