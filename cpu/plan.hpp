// What the threaded backend does for a program: neighbouring operations put together into steps with a barrier
// between them.
//
// Pure decisions; the backend executes them. No fusion changes a bit of a result.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/architecture.hpp"

namespace troupe::cpu {

enum class step_kind : std::uint8_t {
  rows,    ///< `row_operations`, each of which needs nothing but its own row, one after another on each row
  product, ///< `products`, all of the same input
  attention,
  take_rows,
};

class packed_matrix;

// The pointers below are the backend's to set, once it has the weights.

struct row_operation {
  operation op;
  const float* weight = nullptr; ///< Of a norm.
  unsigned quantise_bytes =
    0; ///< Not 0: not `op.kind`, but make the integers of the buffer `op.input`, with so many bytes.
};

struct product {
  operation op; ///< A matmul.
  const packed_matrix* matrix = nullptr;
  const float* bias = nullptr;   ///< Null where it has none.
  bool accumulate = false;       ///< Adds to its output: the `add` that followed it.
  unsigned activation_bytes = 0; ///< Of its input's integers; 0 where the weights are not quantised.
};

struct step {
  step_kind kind;
  std::vector<row_operation> row_operations = {};
  std::vector<product> products = {};
  operation op = {};           ///< attention, take_rows
  unsigned quantise_bytes = 0; ///< attention: not 0: makes the integers of its output too, with so many bytes.
};

/// Activations that meet quantised weights have one byte. They have two where rounding shows most: what queries, keys and
/// values are made of, and all that comes after the last attention, logits included. docs/performance.md has the
/// figures. `quantised(weight)`: whether this weight is.
std::vector<step> plan_steps(const model_program& program, const std::function<bool(const std::string&)>& quantised);

} // namespace troupe::cpu
