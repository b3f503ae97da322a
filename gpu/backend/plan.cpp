#include "gpu/backend/plan.hpp"

#include <fmt/format.h>

namespace troupe::gpu {

namespace {

class planner {
public:
  explicit planner(const model_program& program) : operations_(program.operations) {}

  expected<std::vector<step>> plan() {
    while (at_ < operations_.size()) {
      const auto before = at_;
      take_one();
      if (at_ == before)
        return fail(errc::unsupported,
                    fmt::format("The CUDA backend has no kernels for operation {} of this model (kind {}).", at_,
                                static_cast<int>(operations_[at_].kind)));
    }
    return std::move(steps_);
  }

private:
  const operation* next(std::size_t ahead = 0) const {
    return at_ + ahead < operations_.size() ? &operations_[at_ + ahead] : nullptr;
  }
  bool is_next(op_kind kind, std::size_t ahead = 0) const { return next(ahead) && next(ahead)->kind == kind; }
  bool is_residual(std::size_t ahead) const {
    return is_next(op_kind::add, ahead) && next(ahead)->input == buffer::projected &&
           next(ahead)->output == buffer::hidden;
  }

  void add(step what, std::size_t operations = 1) {
    steps_.push_back(std::move(what));
    at_ += operations;
  }

  void take_one() {
    const auto& op = *next();
    switch (op.kind) {
    case op_kind::embed:
      if (op.output == buffer::hidden)
        add({.kind = step_kind::embed, .op = op});
      break;
    case op_kind::take_hidden:
      add({.kind = step_kind::take_hidden, .op = op});
      break;
    case op_kind::rms_norm:
      take_norm(0);
      break;
    case op_kind::matmul:
      take_product(op);
      break;
    case op_kind::rope:
      if (op.output == buffer::query && is_next(op_kind::rope, 1) && next(1)->output == buffer::key &&
          is_next(op_kind::store_kv, 2) && next(2)->input == buffer::key && next(2)->input2 == buffer::value)
        add({.kind = step_kind::rope_store,
             .op = *next(2),
             .input = device_buffer::query,
             .output = device_buffer::rotated},
            3);
      break;
    case op_kind::attention:
      if (op.input == buffer::query && op.output == buffer::attended)
        add({.kind = step_kind::attention,
             .op = op,
             .input = device_buffer::rotated,
             .output = device_buffer::attended});
      break;
    case op_kind::swiglu:
      if (op.input == buffer::gate && op.input2 == buffer::up && op.output == buffer::gate)
        add({.kind = step_kind::swiglu, .op = op, .input = device_buffer::gate, .output = device_buffer::activated});
      break;
    case op_kind::add:
      if (!is_residual(0))
        break;
      if (is_next(op_kind::rms_norm, 1) && next(1)->input == buffer::hidden)
        take_norm(1);
      else
        add({.kind = step_kind::add, .op = op, .input = device_buffer::projected});
      break;
    case op_kind::take_rows:
      if (op.input == buffer::hidden && op.input2 == buffer::attended)
        add({.kind = step_kind::take_rows, .op = op});
      break;
    case op_kind::all_reduce:
      if (op.output == buffer::hidden || op.output == buffer::projected)
        add({.kind = step_kind::all_reduce,
             .op = op,
             .output = op.output == buffer::hidden ? device_buffer::hidden : device_buffer::projected});
      break;
    case op_kind::all_gather:
      add({.kind = step_kind::all_gather, .op = op, .output = device_buffer::logits});
      break;
    case op_kind::give_hidden:
      add({.kind = step_kind::give_hidden, .op = op});
      break;
    case op_kind::store_kv: // Without the two `rope` before it.
      break;
    }
  }

  /// A norm that is `ahead`, behind the residual's sum.
  void take_norm(std::size_t ahead) {
    const auto& op = *next(ahead);
    if (op.input == buffer::hidden && op.output == buffer::normed)
      add({.kind = step_kind::norm, .op = op, .output = device_buffer::normed, .adds = ahead == 1}, ahead + 1);
  }

  void take_product(const operation& op) {
    step what{.kind = step_kind::product, .op = op};
    switch (op.input) {
    case buffer::normed:
      what.input = device_buffer::normed;
      break;
    case buffer::attended:
      what.input = device_buffer::attended;
      break;
    case buffer::gate: // Of which SwiGLU has made another.
      what.input = device_buffer::activated;
      break;
    default:
      return;
    }
    switch (op.output) {
    case buffer::query:
      what.output = device_buffer::query;
      break;
    case buffer::key:
      what.output = device_buffer::key;
      break;
    case buffer::value:
      what.output = device_buffer::value;
      break;
    case buffer::gate:
      what.output = device_buffer::gate;
      break;
    case buffer::up:
      what.output = device_buffer::up;
      break;
    case buffer::projected:
      what.output = device_buffer::projected;
      break;
    case buffer::logits:
      what.output = device_buffer::logits;
      break;
    default:
      return;
    }
    // What is projected goes straight to the residual, unless other ranks bring a part of it.
    what.accumulates = what.output == device_buffer::projected && is_residual(1);
    if (what.accumulates)
      what.output = device_buffer::hidden;
    const std::size_t operations = what.accumulates ? 2 : 1;
    add(std::move(what), operations);
  }

  const std::vector<operation>& operations_;
  std::size_t at_ = 0;
  std::vector<step> steps_;
};

} // namespace

expected<std::vector<step>> plan_steps(const model_program& program) {
  return planner(program).plan();
}

} // namespace troupe::gpu
