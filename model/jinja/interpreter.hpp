// Walks a syntax tree with the variables of one rendering.
#pragma once

#include <utility>
#include <vector>

#include "model/jinja/syntax.hpp"

namespace troupe::jinja {

/// Variables of a template, a loop's turn or a macro's call; names that it lacks are looked up in its parent. Scopes
/// are counted, because a macro keeps the one that it was defined in.
class scope : public object {
public:
  scope(workspace& ws, counted<scope> parent) : object(ws), parent_(std::move(parent)) { charge(sizeof(*this)); }
  void clear() noexcept override {
    variables_.clear();
    parent_ = {};
  }

  const value* find(symbol name) const;
  void set(symbol name, value item);

private:
  counted<scope> parent_;
  std::vector<std::pair<symbol, value>> variables_;
};

class interpreter {
public:
  /// `variables` are what the template sees, by name.
  interpreter(workspace& ws, const syntax_tree& tree, const std::vector<named_value>& variables);

  text run();
  std::uint32_t line() const { return line_; } ///< Where it is, or was when it failed.

private:
  enum class flow : std::uint8_t { on, broken, continued };
  class in_scope;

  // Expressions (evaluate.cpp).
  value evaluate(const expression& e);
  value evaluate_name(const expression& e);
  value evaluate_string(const std::string& content, std::uint32_t constant);
  value evaluate_collection(const expression& e);
  value evaluate_item(const expression& e);
  value evaluate_call(const expression& e, value* caller = nullptr);
  value evaluate_builtin(const expression& e, std::string_view what);
  value evaluate_conditional(const expression& e);
  value evaluate_binary(const expression& e);
  value evaluate_sum(const expression& e);
  value evaluate_comparison(const expression& e);
  value evaluate_concatenation(const expression& e);
  void add_arguments(const expression& e, arguments& args);

  // Statements (execute.cpp).
  flow execute(const block& body);
  flow execute(const statement& s);
  flow execute_branch(const statement& s);
  flow execute_loop(const statement& s);
  value filtered(const statement& s, const value& items);
  void execute_assign_block(const statement& s);
  flow execute_with(const statement& s);
  void execute_call_block(const statement& s);
  void assign(const expression& target, const value& item);
  void check_output() const;
  value capture(const block& body);
  value make_macro(const statement& s);
  value call_macro(const statement& s, const counted<scope>& closure, arguments& args);
  void bind_parameters(const signature& s, arguments& args);
  symbol symbol_of(std::string_view name) const; ///< One that no variable has, if the template never names it.

  workspace& ws_;
  const syntax_tree& tree_;
  counted<scope> scope_;
  text_builder* out_ = nullptr;
  std::vector<value> strings_; ///< The tree's constants, made when they are first used.
  const symbol loop_name_;
  const symbol body_name_;
  std::uint32_t line_ = 1;
};

} // namespace troupe::jinja
