// What the threaded backend does for a program: neighbouring operations put together into steps with a barrier
// between them.
//
// Pure decisions; the backend executes them. No fusion changes a bit of a result.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/architecture.hpp"
#include "model/backend.hpp"

namespace troupe::cpu {

enum class step_kind : std::uint8_t {
  rows,    ///< `row_operations`, each of which needs nothing but its own row, one after another on each row
  product, ///< `products`, all of the same input
  attention,
  take_rows,
  all_reduce, ///< `op`, with the other ranks; likewise
  all_gather,
};

/// What a product reads its input as. Floats are there anyway; the others are made of them.
enum class activation_form : std::uint8_t {
  floats,
  one_byte,  ///< Integers that share a scale.
  two_bytes, ///< The same with more bits.
  bfloats,   ///< Rounded to bfloat16.
};
/// Products of bytes that one product takes; 0 where it is one of floats.
constexpr unsigned byte_products(activation_form form) {
  return form == activation_form::one_byte ? 1 : form == activation_form::two_bytes ? 2 : 0;
}

class packed_matrix;

// The pointers below are the backend's to set, once it has the weights.

struct row_operation {
  operation op;
  const float* weight = nullptr;                  ///< Of a norm.
  activation_form form = activation_form::floats; ///< Else not `op.kind`: the buffer `op.input` gets this form.
};

struct product {
  operation op; ///< A matmul.
  const packed_matrix* matrix = nullptr;
  const float* bias = nullptr;                    ///< Null where it has none.
  bool accumulate = false;                        ///< Adds to its output: the `add` that followed it.
  activation_form form = activation_form::floats; ///< Of its input.
};

struct step {
  step_kind kind;
  std::vector<row_operation> row_operations = {};
  std::vector<product> products = {};
  operation op = {};                              ///< attention, take_rows
  activation_form form = activation_form::floats; ///< attention: what its output becomes besides.
};

/// Under `bf16` all activations are rounded to it. Under `int8` those that meet quantised weights have one byte. They have two where rounding shows most: what queries, keys and
/// values are made of, and all that comes after the last attention, logits included. docs/performance.md has the
/// figures. `quantised(weight)`: whether this weight is.
std::vector<step> plan_steps(const model_program& program, const std::function<bool(const std::string&)>& quantised,
                             cpu_arithmetic arithmetic = cpu_arithmetic::int8);

} // namespace troupe::cpu
