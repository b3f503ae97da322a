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

struct row_operation {
  operation op;
  bool quantise = false; ///< Not `op.kind`, but: make the int8 form of the buffer `op.input`.
};

struct product {
  operation op;            ///< A matmul.
  bool accumulate = false; ///< Adds to its output: the `add` that followed it.
};

struct step {
  step_kind kind;
  std::vector<row_operation> row_operations = {};
  std::vector<product> products = {};
  operation op = {};            ///< attention, take_rows
  bool quantise_output = false; ///< attention: makes the int8 form of its output too.
};

/// `quantised(weight)`: whether this weight's products take int8 activations.
std::vector<step> plan_steps(const model_program& program, const std::function<bool(const std::string&)>& quantised);

} // namespace troupe::cpu
