// Tokens to a tree. Throws `failure` with line, column and what was expected.
#pragma once

#include <initializer_list>
#include <string_view>
#include <unordered_map>

#include "model/jinja/lexer.hpp"
#include "model/jinja/syntax.hpp"

namespace troupe::jinja {

class parser {
public:
  parser(std::vector<token> tokens, const limits& bounds) : tokens_(std::move(tokens)), bounds_(bounds) {}

  syntax_tree run();

private:
  // Tokens.
  const token& now() const { return tokens_[at_]; }
  const token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool at_symbol(std::string_view s) const { return now().kind == token_kind::symbol && now().text == s; }
  bool at_name(std::string_view s) const { return now().kind == token_kind::name && now().text == s; }
  bool skip_symbol(std::string_view s);
  bool skip_name(std::string_view s);
  void expect_symbol(std::string_view s);
  void expect_name(std::string_view s);
  void expect(token_kind kind, std::string_view what);
  std::string expect_identifier(std::string_view what);
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void fail_expected(std::string_view what) const;

  // Nodes.
  expression& make(expression_kind kind);
  const expression* make(expression_kind kind, std::vector<const expression*> children);
  const expression* make_name(const std::string& name);
  const expression* make_string(std::string content);
  const expression* make_binary(operation op, std::string_view text, const expression* left, const expression* right);
  statement& make(statement_kind kind);
  symbol symbol_of(const std::string& name);

  // Expressions (parser_expression.cpp), loosest binding first.
  const expression* parse_expression(bool with_condition = true);
  const expression* parse_tuple(bool with_condition = true, std::string_view end_name = {});
  const expression* parse_conditional();
  const expression* parse_or();
  const expression* parse_and();
  const expression* parse_not();
  const expression* parse_comparison();
  const expression* parse_sum();
  const expression* parse_concatenation();
  const expression* parse_product();
  const expression* parse_power();
  const expression* parse_unary(bool with_filter = true);
  const expression* parse_primary();
  const expression* parse_number();
  const expression* parse_postfix(const expression* subject);
  const expression* parse_filters(const expression* subject);
  const expression* parse_filter(const expression* subject);
  const expression* parse_test(const expression* subject);
  const expression* parse_index(const expression* subject);
  const expression* parse_subscript();
  const expression* parse_call(const expression* callee);
  void parse_arguments(expression& call);
  const expression* parse_list();
  const expression* parse_dict();
  bool at_tuple_end(std::string_view end_name) const;

  // Statements (parser_statement.cpp).
  block parse_block(std::initializer_list<std::string_view> ends);
  const statement* parse_statement();
  const statement* parse_for();
  const statement* parse_if();
  const statement* parse_set();
  const statement* parse_macro();
  const statement* parse_call_block();
  const statement* parse_filter_block();
  const statement* parse_with();
  const statement* parse_generation();
  const statement* parse_loop_control(statement_kind kind);
  block parse_body(std::string_view end);
  const expression* parse_target(bool with_attribute, std::string_view end_name = {});
  const expression* parse_target_item(bool with_attribute);
  void parse_signature(signature& s);

  std::vector<token> tokens_;
  limits bounds_;
  std::size_t at_ = 0;
  std::size_t nesting_ = 0;
  std::size_t loops_ = 0; ///< Around the statement, within its macro.
  std::vector<signature*> macros_; ///< Around the statement.
  syntax_tree tree_;
  std::unordered_map<std::string, symbol> symbols_;

  /// One more bracket or block around what is parsed.
  struct nested {
    explicit nested(parser& p);
    ~nested() { --owner.nesting_; }
    parser& owner;
  };
};

} // namespace troupe::jinja
