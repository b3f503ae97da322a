#include <algorithm>

#include "model/jinja/parser.hpp"

namespace troupe::jinja {

const expression* parser::parse_expression(bool with_condition) {
  nested guard(*this);
  return with_condition ? parse_conditional() : parse_or();
}

bool parser::at_tuple_end(std::string_view end_name) const {
  return now().kind == token_kind::variable_end || now().kind == token_kind::block_end || at_symbol(")")
         || (!end_name.empty() && at_name(end_name));
}

/// One expression, or several with commas between them, which is a tuple.
const expression* parser::parse_tuple(bool with_condition, std::string_view end_name) {
  std::vector<const expression*> items;
  bool comma = false;
  while (!at_tuple_end(end_name)) {
    items.push_back(parse_expression(with_condition));
    comma = skip_symbol(",");
    if (!comma)
      break;
  }
  if (items.empty())
    fail_expected("an expression");
  return items.size() == 1 && !comma ? items[0] : make(expression_kind::tuple, std::move(items));
}

const expression* parser::parse_conditional() {
  const expression* subject = parse_or();
  while (skip_name("if")) {
    const expression* condition = parse_or();
    const expression* otherwise = skip_name("else") ? parse_expression() : nullptr;
    subject = make(expression_kind::conditional, {condition, subject, otherwise});
  }
  return subject;
}

const expression* parser::parse_or() {
  const expression* left = parse_and();
  while (skip_name("or"))
    left = make(expression_kind::logical_or, {left, parse_and()});
  return left;
}

const expression* parser::parse_and() {
  const expression* left = parse_not();
  while (skip_name("and"))
    left = make(expression_kind::logical_and, {left, parse_not()});
  return left;
}

const expression* parser::parse_not() {
  if (!skip_name("not"))
    return parse_comparison();
  nested guard(*this);
  return make(expression_kind::logical_not, {parse_not()});
}

const expression* parser::parse_comparison() {
  static constexpr struct {
    std::string_view text;
    operation op;
  } comparisons[] = {{"==", operation::equal}, {"!=", operation::not_equal},    {"<", operation::less},
                     {">", operation::greater}, {"<=", operation::less_equal}, {">=", operation::greater_equal}};
  std::vector<const expression*> operands{parse_sum()};
  std::vector<operation> operators;
  for (;;) {
    if (at_name("not") && tokens_[at_ + 1].kind == token_kind::name && tokens_[at_ + 1].text == "in") {
      take();
      take();
      operators.push_back(operation::not_in);
    } else if (skip_name("in")) {
      operators.push_back(operation::in);
    } else {
      std::size_t before = operators.size();
      for (const auto& each : comparisons)
        if (at_symbol(each.text))
          operators.push_back(each.op);
      if (operators.size() == before)
        break;
      take();
    }
    operands.push_back(parse_sum());
  }
  if (operators.empty())
    return operands[0];
  expression& e = make(expression_kind::compare);
  e.children = std::move(operands);
  e.operators = std::move(operators);
  return &e;
}

const expression* parser::parse_sum() {
  const expression* left = parse_concatenation();
  while (at_symbol("+") || at_symbol("-")) {
    std::string text = take().text;
    left = make_binary(text == "+" ? operation::add : operation::subtract, text, left, parse_concatenation());
  }
  return left;
}

const expression* parser::parse_concatenation() {
  std::vector<const expression*> pieces{parse_product()};
  while (skip_symbol("~"))
    pieces.push_back(parse_product());
  return pieces.size() == 1 ? pieces[0] : make(expression_kind::concatenate, std::move(pieces));
}

const expression* parser::parse_product() {
  const expression* left = parse_power();
  while (at_symbol("*") || at_symbol("/") || at_symbol("//") || at_symbol("%")) {
    std::string text = take().text;
    operation op = text == "*" ? operation::multiply : text == "/" ? operation::divide
                   : text == "%" ? operation::modulo : operation::floor_divide;
    left = make_binary(op, text, left, parse_power());
  }
  return left;
}

const expression* parser::parse_power() {
  const expression* left = parse_unary();
  while (skip_symbol("**"))
    left = make_binary(operation::power, "**", left, parse_unary());
  return left;
}

const expression* parser::parse_unary(bool with_filter) {
  const expression* e;
  if (at_symbol("-") || at_symbol("+")) {
    nested guard(*this);
    bool negative = take().text == "-";
    e = make(negative ? expression_kind::negative : expression_kind::positive, {parse_unary(false)});
  } else {
    e = parse_primary();
  }
  e = parse_postfix(e);
  return with_filter ? parse_filters(e) : e;
}

const expression* parser::parse_primary() {
  switch (now().kind) {
    case token_kind::name: {
      std::string name = take().text;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        expression& e = make(expression_kind::boolean);
        e.integer = name[0] == 't' || name[0] == 'T';
        return &e;
      }
      if (name == "none" || name == "None")
        return &make(expression_kind::none);
      return make_name(name);
    }
    case token_kind::string: {
      std::string content = take().text;
      while (now().kind == token_kind::string)
        content += take().text;
      return make_string(std::move(content));
    }
    case token_kind::integer: case token_kind::real: return parse_number();
    default: break;
  }
  if (skip_symbol("(")) {
    nested guard(*this);
    const expression* inner = at_symbol(")") ? make(expression_kind::tuple, {}) : parse_tuple();
    expect_symbol(")");
    return inner;
  }
  if (skip_symbol("["))
    return parse_list();
  if (skip_symbol("{"))
    return parse_dict();
  fail_expected("an expression");
}

const expression* parser::parse_number() {
  bool integer = now().kind == token_kind::integer;
  expression& e = make(integer ? expression_kind::integer : expression_kind::real);
  e.integer = now().integer;
  e.real = now().real;
  take();
  return &e;
}

const expression* parser::parse_list() {
  nested guard(*this);
  std::vector<const expression*> items;
  while (!at_symbol("]")) {
    if (!items.empty())
      expect_symbol(",");
    if (at_symbol("]"))
      break;
    items.push_back(parse_expression());
  }
  expect_symbol("]");
  return make(expression_kind::list, std::move(items));
}

const expression* parser::parse_dict() {
  nested guard(*this);
  std::vector<const expression*> items;
  while (!at_symbol("}")) {
    if (!items.empty())
      expect_symbol(",");
    if (at_symbol("}"))
      break;
    items.push_back(parse_expression());
    expect_symbol(":");
    items.push_back(parse_expression());
  }
  expect_symbol("}");
  return make(expression_kind::dict, std::move(items));
}

const expression* parser::parse_postfix(const expression* subject) {
  for (;;) {
    if (at_symbol(".") || at_symbol("["))
      subject = parse_index(subject);
    else if (at_symbol("("))
      subject = parse_call(subject);
    else
      return subject;
  }
}

const expression* parser::parse_filters(const expression* subject) {
  for (;;) {
    if (skip_symbol("|"))
      subject = parse_filter(subject);
    else if (skip_name("is"))
      subject = parse_test(subject);
    else if (at_symbol("("))
      subject = parse_call(subject);
    else
      return subject;
  }
}

/// One filter, whose bar is taken already.
const expression* parser::parse_filter(const expression* subject) {
  expression& e = make(expression_kind::filter);
  e.text = expect_identifier("the name of a filter");
  e.function = find_filter(e.text);
  e.children.push_back(subject);
  if (at_symbol("("))
    parse_arguments(e);
  return &e;
}

const expression* parser::parse_test(const expression* subject) {
  bool negated = skip_name("not");
  expression& e = make(expression_kind::test);
  e.text = expect_identifier("the name of a test");
  e.function = find_test(e.text);
  e.children.push_back(subject);
  if (at_symbol("(")) {
    parse_arguments(e);
  } else if (!at_name("else") && !at_name("or") && !at_name("and")
             && (now().kind == token_kind::string || now().kind == token_kind::integer
                 || now().kind == token_kind::real || now().kind == token_kind::name || at_symbol("[")
                 || at_symbol("{"))) {
    if (at_name("is"))
      fail("a test cannot follow a test: use 'and'");
    // A keyword that goes on with the expression is no argument.
    if (!at_name("if") && !at_name("in") && !at_name("not"))
      e.children.push_back(parse_postfix(parse_primary()));
  }
  return negated ? make(expression_kind::logical_not, {&e}) : &e;
}

const expression* parser::parse_index(const expression* subject) {
  if (skip_symbol(".")) {
    if (now().kind == token_kind::integer)
      return make(expression_kind::item, {subject, parse_number()});
    expression& e = make(expression_kind::attribute);
    e.text = expect_identifier("the name of an attribute");
    e.children.push_back(subject);
    return &e;
  }
  nested guard(*this);
  expect_symbol("[");
  std::vector<const expression*> indices;
  while (!at_symbol("]")) {
    if (!indices.empty())
      expect_symbol(",");
    indices.push_back(parse_subscript());
  }
  expect_symbol("]");
  if (indices.empty())
    fail("an index is missing in the brackets");
  const expression* index = indices.size() == 1 ? indices[0] : make(expression_kind::tuple, std::move(indices));
  return make(expression_kind::item, {subject, index});
}

const expression* parser::parse_subscript() {
  const expression* start = at_symbol(":") ? nullptr : parse_expression();
  if (!at_symbol(":"))
    return start;
  std::vector<const expression*> parts{start};
  while (parts.size() < 3 && skip_symbol(":"))
    parts.push_back(at_symbol(":") || at_symbol("]") || at_symbol(",") ? nullptr : parse_expression());
  parts.resize(3, nullptr);
  return make(expression_kind::slice, std::move(parts));
}

const expression* parser::parse_call(const expression* callee) {
  expression& e = make(expression_kind::call);
  e.children.push_back(callee);
  parse_arguments(e);
  return &e;
}

void parser::parse_arguments(expression& call) {
  nested guard(*this);
  expect_symbol("(");
  bool first = true;
  while (!at_symbol(")")) {
    if (!first)
      expect_symbol(",");
    first = false;
    if (at_symbol(")"))
      break;
    const token& next = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
    if (skip_symbol("*")) {
      call.splat = parse_expression();
    } else if (skip_symbol("**")) {
      call.named_splat = parse_expression();
    } else if (now().kind == token_kind::name && next.kind == token_kind::symbol && next.text == "=") {
      std::string name = take().text;
      take();
      call.keywords.push_back({std::move(name), parse_expression()});
    } else if (call.keywords.empty() && !call.named_splat && !call.splat) {
      call.children.push_back(parse_expression());
    } else {
      fail("an argument without a name follows one with a name");
    }
  }
  expect_symbol(")");
}

} // namespace troupe::jinja
