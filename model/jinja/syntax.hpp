// A parsed template: expressions and statements, owned by one `syntax_tree` and immutable once parsed.
//
// Nodes refer to each other by plain pointers, and the tree frees them in a row, so that no shape of a template makes
// freeing it recurse. Variables are numbers into `names`.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "model/jinja/builtins.hpp"

namespace troupe::jinja {

using symbol = std::uint32_t;

enum class expression_kind : std::uint8_t {
  none, boolean, integer, real, string, name, list, tuple, dict,
  attribute,   ///< children[0].text
  item,        ///< children[0][children[1]]
  slice,       ///< The index start:stop:step; absent parts are nullptr.
  call,        ///< children[0](the other children, keywords, splats)
  filter,      ///< children[0] | text(the other children, keywords)
  test,        ///< children[0] is text(the other children, keywords)
  negative, positive, logical_not, logical_and, logical_or,
  conditional, ///< children: condition, then, otherwise (may be nullptr)
  binary,      ///< text is the operator
  compare,     ///< children[0] operators[0] children[1] operators[1] ...
  concatenate, ///< All children, ~ between them.
};

enum class operation : std::uint8_t {
  add, subtract, multiply, divide, floor_divide, modulo, power,
  equal, not_equal, less, less_equal, greater, greater_equal, in, not_in,
};

struct expression;

struct keyword_argument {
  std::string name;
  const expression* item;
};

struct expression {
  expression_kind kind = expression_kind::none;
  std::uint32_t line = 0;
  symbol name = 0;
  std::int64_t integer = 0;
  double real = 0;
  operation op = operation::add;
  const builtin* function = nullptr; ///< Of a filter or test; nullptr if there is none of that name.
  std::string text;
  std::uint32_t constant = 0; ///< Of a string: its index among the tree's strings.
  std::vector<const expression*> children;
  std::vector<operation> operators;
  std::vector<keyword_argument> keywords;
  const expression* splat = nullptr;       ///< *x in a call
  const expression* named_splat = nullptr; ///< **x in a call
};

enum class statement_kind : std::uint8_t {
  data,         ///< text
  print,        ///< subject
  branch,       ///< if: `arms` in order, then `otherwise`
  loop,         ///< for target in subject if condition: body else otherwise
  assign,       ///< target = subject
  assign_block, ///< target = body, through `subject` if there is one
  macro,
  call_block,   ///< subject is a call; `signature` of caller
  filter_block, ///< body through subject
  with,         ///< assignments, body
  scope,        ///< generation: just its body
  break_loop, continue_loop,
};

struct statement;
using block = std::vector<const statement*>;

struct parameter {
  symbol name;
  std::string text;
  const expression* fallback = nullptr;
};

struct signature {
  std::string name; ///< Of the macro, or "caller".
  std::vector<parameter> parameters;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct arm {
  const expression* condition;
  block body;
};

struct assignment {
  const expression* target;
  const expression* item;
};

struct statement {
  statement_kind kind = statement_kind::data;
  std::uint32_t line = 0;
  std::string text;
  const expression* target = nullptr;
  const expression* subject = nullptr;
  const expression* condition = nullptr;
  block body;
  block otherwise;
  std::vector<arm> arms;
  std::vector<assignment> assignments;
  jinja::signature signature;
};

/// The variable which the filters of a filter block or of a block set are applied to: what was rendered.
inline constexpr std::string_view rendered_body = "<body>";

struct syntax_tree {
  std::deque<expression> expressions;
  std::deque<statement> statements;
  std::vector<std::string> names;
  std::uint32_t strings = 0; ///< How many string constants there are.
  block root;
};

} // namespace troupe::jinja
