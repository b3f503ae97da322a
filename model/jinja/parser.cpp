#include "model/jinja/parser.hpp"
#include "model/jinja/workspace.hpp"

namespace troupe::jinja {

syntax_tree parser::run() {
  tree_.root = parse_block({});
  if (now().kind != token_kind::end)
    fail_expected("the end of the template");
  return std::move(tree_);
}

// ---- tokens

void parser::fail(const std::string& message) const { refuse_at(now().line, now().column, message); }

void parser::fail_expected(std::string_view what) const {
  std::string found;
  switch (now().kind) {
    case token_kind::end: found = "the end of the template"; break;
    case token_kind::data: found = "text"; break;
    case token_kind::variable_begin: found = "'{{'"; break;
    case token_kind::variable_end: found = "'}}'"; break;
    case token_kind::block_begin: found = "'{%'"; break;
    case token_kind::block_end: found = "'%}'"; break;
    case token_kind::string: found = "a string"; break;
    default: found = "'" + now().text + "'";
  }
  fail("expected " + std::string(what) + ", found " + found);
}

bool parser::skip_symbol(std::string_view s) {
  if (!at_symbol(s))
    return false;
  take();
  return true;
}

bool parser::skip_name(std::string_view s) {
  if (!at_name(s))
    return false;
  take();
  return true;
}

void parser::expect_symbol(std::string_view s) {
  if (!skip_symbol(s))
    fail_expected("'" + std::string(s) + "'");
}

void parser::expect_name(std::string_view s) {
  if (!skip_name(s))
    fail_expected("'" + std::string(s) + "'");
}

void parser::expect(token_kind kind, std::string_view what) {
  if (now().kind != kind)
    fail_expected(what);
  take();
}

std::string parser::expect_identifier(std::string_view what) {
  if (now().kind != token_kind::name)
    fail_expected(what);
  return take().text;
}

parser::nested::nested(parser& p) : owner(p) {
  if (p.nesting_ >= p.bounds_.max_syntax_nesting)
    p.fail("brackets or blocks are nested more than " + std::to_string(p.bounds_.max_syntax_nesting) + " deep");
  ++p.nesting_;
}

// ---- nodes

expression& parser::make(expression_kind kind) {
  expression& e = tree_.expressions.emplace_back();
  e.kind = kind;
  e.line = now().line;
  return e;
}

const expression* parser::make(expression_kind kind, std::vector<const expression*> children) {
  expression& e = make(kind);
  e.children = std::move(children);
  return &e;
}

symbol parser::symbol_of(const std::string& name) {
  auto [found, added] = symbols_.try_emplace(name, static_cast<symbol>(tree_.names.size()));
  if (added)
    tree_.names.push_back(name);
  return found->second;
}

const expression* parser::make_name(const std::string& name) {
  expression& e = make(expression_kind::name);
  e.text = name;
  e.name = symbol_of(name);
  for (signature* macro : macros_) {
    macro->uses_caller |= name == "caller";
    macro->uses_varargs |= name == "varargs";
    macro->uses_kwargs |= name == "kwargs";
  }
  return &e;
}

const expression* parser::make_string(std::string content) {
  expression& e = make(expression_kind::string);
  e.text = std::move(content);
  e.constant = tree_.strings++;
  return &e;
}

const expression* parser::make_binary(operation op, std::string_view text, const expression* left,
                                      const expression* right) {
  expression& e = make(expression_kind::binary);
  e.op = op;
  e.text = text;
  e.children = {left, right};
  return &e;
}

statement& parser::make(statement_kind kind) {
  statement& s = tree_.statements.emplace_back();
  s.kind = kind;
  s.line = now().line;
  return s;
}

} // namespace troupe::jinja
