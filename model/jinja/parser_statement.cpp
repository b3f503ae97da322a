#include "model/jinja/parser.hpp"
#include "model/jinja/workspace.hpp"

namespace troupe::jinja {

/// Statements until a block whose name is one of `ends`, whose '{%' is taken; without ends, until the template ends.
block parser::parse_block(std::initializer_list<std::string_view> ends) {
  nested guard(*this);
  block body;
  for (;;) {
    switch (now().kind) {
      case token_kind::data: {
        statement& s = make(statement_kind::data);
        s.text = take().text;
        body.push_back(&s);
        break;
      }
      case token_kind::variable_begin: {
        take();
        statement& s = make(statement_kind::print);
        s.subject = parse_tuple();
        expect(token_kind::variable_end, "'}}'");
        body.push_back(&s);
        break;
      }
      case token_kind::block_begin: {
        take();
        for (std::string_view end : ends)
          if (at_name(end))
            return body;
        body.push_back(parse_statement());
        expect(token_kind::block_end, "'%}'");
        break;
      }
      default:
        if (ends.size() > 0)
          fail_expected("'{% " + std::string(*(ends.end() - 1)) + " %}'");
        return body;
    }
  }
}

/// The body of the block whose opening tag ends here, and the name that ends it.
block parser::parse_body(std::string_view end) {
  expect(token_kind::block_end, "'%}'");
  block body = parse_block({end});
  expect_name(end);
  return body;
}

const statement* parser::parse_statement() {
  if (now().kind != token_kind::name)
    fail_expected("the name of a block");
  if (skip_name("for")) return parse_for();
  if (skip_name("if")) return parse_if();
  if (skip_name("set")) return parse_set();
  if (skip_name("macro")) return parse_macro();
  if (skip_name("call")) return parse_call_block();
  if (skip_name("filter")) return parse_filter_block();
  if (skip_name("with")) return parse_with();
  if (skip_name("generation")) return parse_generation();
  if (skip_name("break")) return parse_loop_control(statement_kind::break_loop);
  if (skip_name("continue")) return parse_loop_control(statement_kind::continue_loop);
  for (std::string_view known : {"include", "import", "from", "extends", "block", "autoescape", "do", "print"})
    if (at_name(known))
      throw failure{errc::unsupported, "line " + std::to_string(now().line) + ": chat templates cannot use the block '"
                                         + now().text + "'"};
  fail("there is no block '" + now().text + "'");
}

const statement* parser::parse_for() {
  statement& s = make(statement_kind::loop);
  s.target = parse_target(false, "in");
  expect_name("in");
  s.subject = parse_tuple(false, "recursive");
  if (skip_name("if"))
    s.condition = parse_expression();
  if (at_name("recursive"))
    throw failure{errc::unsupported, "line " + std::to_string(s.line) + ": recursive loops are not supported"};
  expect(token_kind::block_end, "'%}'");
  ++loops_;
  s.body = parse_block({"else", "endfor"});
  --loops_;
  if (skip_name("else"))
    s.otherwise = parse_body("endfor");
  else
    expect_name("endfor");
  return &s;
}

const statement* parser::parse_if() {
  statement& s = make(statement_kind::branch);
  for (;;) {
    arm next{parse_tuple(false), {}};
    expect(token_kind::block_end, "'%}'");
    next.body = parse_block({"elif", "else", "endif"});
    s.arms.push_back(std::move(next));
    if (!skip_name("elif"))
      break;
  }
  if (skip_name("else"))
    s.otherwise = parse_body("endif");
  else
    expect_name("endif");
  return &s;
}

const statement* parser::parse_set() {
  const expression* target = parse_target(true);
  if (skip_symbol("=")) {
    statement& s = make(statement_kind::assign);
    s.target = target;
    s.subject = parse_tuple();
    return &s;
  }
  statement& s = make(statement_kind::assign_block);
  s.target = target;
  if (at_symbol("|")) {
    const expression* chain = make_name(std::string(rendered_body));
    while (skip_symbol("|"))
      chain = parse_filter(chain);
    s.subject = chain;
  }
  std::size_t loops = std::exchange(loops_, 0);
  s.body = parse_body("endset");
  loops_ = loops;
  return &s;
}

/// A name, names with commas between them, or with `with_attribute` the attribute of a namespace.
const expression* parser::parse_target(bool with_attribute, std::string_view end_name) {
  std::vector<const expression*> items;
  bool comma = false;
  do {
    if (!items.empty() && (at_symbol("=") || at_symbol(")") || (!end_name.empty() && at_name(end_name))))
      break;
    items.push_back(parse_target_item(with_attribute));
    comma = skip_symbol(",");
  } while (comma);
  return items.size() == 1 && !comma ? items[0] : make(expression_kind::tuple, std::move(items));
}

const expression* parser::parse_target_item(bool with_attribute) {
  if (skip_symbol("(")) {
    nested guard(*this);
    const expression* inner = parse_target(with_attribute);
    expect_symbol(")");
    return inner;
  }
  std::string name = expect_identifier("the name of a variable");
  for (std::string_view taken : {"true", "false", "none", "True", "False", "None"})
    if (name == taken)
      fail("'" + name + "' cannot be assigned to");
  const expression* target = make_name(name);
  if (with_attribute && skip_symbol(".")) {
    expression& e = make(expression_kind::attribute);
    e.text = expect_identifier("the name of an attribute");
    e.children.push_back(target);
    return &e;
  }
  return target;
}

void parser::parse_signature(signature& s) {
  expect_symbol("(");
  bool first = true;
  while (!at_symbol(")")) {
    if (!first)
      expect_symbol(",");
    first = false;
    if (at_symbol(")"))
      break;
    parameter p{0, expect_identifier("the name of a parameter")};
    p.name = symbol_of(p.text);
    if (skip_symbol("="))
      p.fallback = parse_expression();
    else if (!s.parameters.empty() && s.parameters.back().fallback)
      fail("the parameter '" + p.text + "' without a default follows one that has one");
    s.parameters.push_back(std::move(p));
  }
  expect_symbol(")");
}

const statement* parser::parse_macro() {
  statement& s = make(statement_kind::macro);
  s.signature.name = expect_identifier("the name of a macro");
  s.target = make_name(s.signature.name);
  std::size_t loops = std::exchange(loops_, 0);
  macros_.push_back(&s.signature);
  parse_signature(s.signature);
  s.body = parse_body("endmacro");
  macros_.pop_back();
  loops_ = loops;
  return &s;
}

const statement* parser::parse_call_block() {
  statement& s = make(statement_kind::call_block);
  s.signature.name = "caller";
  if (at_symbol("("))
    parse_signature(s.signature);
  s.subject = parse_expression();
  if (s.subject->kind != expression_kind::call)
    fail("a call block needs a call");
  std::size_t loops = std::exchange(loops_, 0);
  s.body = parse_body("endcall");
  loops_ = loops;
  return &s;
}

const statement* parser::parse_filter_block() {
  statement& s = make(statement_kind::filter_block);
  const expression* chain = parse_filter(make_name(std::string(rendered_body)));
  while (skip_symbol("|"))
    chain = parse_filter(chain);
  s.subject = chain;
  std::size_t loops = std::exchange(loops_, 0);
  s.body = parse_body("endfilter");
  loops_ = loops;
  return &s;
}

const statement* parser::parse_with() {
  statement& s = make(statement_kind::with);
  while (now().kind != token_kind::block_end) {
    if (!s.assignments.empty())
      expect_symbol(",");
    const expression* target = parse_target_item(false);
    expect_symbol("=");
    s.assignments.push_back({target, parse_expression()});
  }
  s.body = parse_body("endwith");
  return &s;
}

/// Marks what the model itself said, for training; it renders as its body.
const statement* parser::parse_generation() {
  statement& s = make(statement_kind::scope);
  s.body = parse_body("endgeneration");
  return &s;
}

const statement* parser::parse_loop_control(statement_kind kind) {
  if (loops_ == 0)
    fail("'break' and 'continue' belong inside a for");
  return &make(kind);
}

} // namespace troupe::jinja
