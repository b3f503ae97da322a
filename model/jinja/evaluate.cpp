#include <optional>

#include "model/jinja/interpreter.hpp"
#include "model/jinja/operators.hpp"
#include "model/jinja/print.hpp"

namespace troupe::jinja {

const value* scope::find(symbol name) const {
  for (const scope* s = this; s; s = s->parent_.get())
    for (const auto& variable : s->variables_)
      if (variable.first == name)
        return &variable.second;
  return nullptr;
}

void scope::set(symbol name, value item) {
  for (auto& variable : variables_)
    if (variable.first == name) {
      variable.second = std::move(item);
      return;
    }
  charge(sizeof(variables_[0]));
  variables_.emplace_back(name, std::move(item));
}

value interpreter::evaluate(const expression& e) {
  deeper guard(ws_);
  ws_.step();
  line_ = e.line;
  switch (e.kind) {
    case expression_kind::none: return value::none();
    case expression_kind::boolean: return value::boolean(e.integer != 0);
    case expression_kind::integer: return value::integer(e.integer);
    case expression_kind::real: return value::real(e.real);
    case expression_kind::string: return evaluate_string(e.text, e.constant);
    case expression_kind::name: return evaluate_name(e);
    case expression_kind::list: case expression_kind::tuple: case expression_kind::dict: return evaluate_collection(e);
    case expression_kind::attribute: return attribute_of(ws_, evaluate(*e.children[0]), e.text);
    case expression_kind::item: return evaluate_item(e);
    case expression_kind::slice: refuse("a slice stands alone");
    case expression_kind::call: return evaluate_call(e);
    case expression_kind::filter: return evaluate_builtin(e, "filter");
    case expression_kind::test: return evaluate_builtin(e, "test");
    case expression_kind::negative: return negate(evaluate(*e.children[0]));
    case expression_kind::positive: return apply(ws_, operation::add, value::integer(0), evaluate(*e.children[0]));
    case expression_kind::logical_not: return value::boolean(!truthy(evaluate(*e.children[0])));
    case expression_kind::logical_and: case expression_kind::logical_or: {
      value left = evaluate(*e.children[0]);
      return truthy(left) == (e.kind == expression_kind::logical_or) ? left : evaluate(*e.children[1]);
    }
    case expression_kind::conditional: return evaluate_conditional(e);
    case expression_kind::binary: return evaluate_binary(e);
    case expression_kind::compare: return evaluate_comparison(e);
    case expression_kind::concatenate: return evaluate_concatenation(e);
  }
  return {};
}

value interpreter::evaluate_name(const expression& e) {
  if (const value* found = scope_->find(e.name))
    return *found;
  return make_undefined(ws_, "'" + e.text + "' is undefined");
}

value interpreter::evaluate_string(const std::string& content, std::uint32_t constant) {
  value& made = strings_[constant];
  if (made.is_undefined())
    made = make_string(ws_, content);
  return made;
}

value interpreter::evaluate_collection(const expression& e) {
  if (e.kind == expression_kind::dict) {
    value out = make_mapping(ws_);
    for (std::size_t i = 0; i < e.children.size(); i += 2) {
      value key = evaluate(*e.children[i]);
      out.as_mapping().set(key, evaluate(*e.children[i + 1]));
    }
    return out;
  }
  value out = make_sequence(ws_, e.kind == expression_kind::list ? sequence_form::list : sequence_form::tuple);
  for (const expression* child : e.children)
    out.as_sequence().push(evaluate(*child));
  return out;
}

value interpreter::evaluate_item(const expression& e) {
  value subject = evaluate(*e.children[0]);
  const expression& index = *e.children[1];
  if (index.kind != expression_kind::slice) {
    value at = evaluate(index);
    return item_of(ws_, subject, at);
  }
  std::array<value, 3> parts{value::none(), value::none(), value::none()};
  for (std::size_t i = 0; i < 3; ++i)
    if (index.children[i])
      parts[i] = evaluate(*index.children[i]);
  return slice_of(ws_, subject, parts[0], parts[1], parts[2]);
}

void interpreter::add_arguments(const expression& e, arguments& args) {
  for (std::size_t i = 1; i < e.children.size(); ++i)
    args.positional.push_back(evaluate(*e.children[i]));
  for (const keyword_argument& keyword : e.keywords)
    args.named.push_back({keyword.name, evaluate(*keyword.item)});
  if (e.splat) {
    value items = iterate(ws_, evaluate(*e.splat));
    for (const value& item : items.as_sequence().items)
      args.positional.push_back(item);
  }
  if (e.named_splat) {
    value items = evaluate(*e.named_splat);
    if (!items.is_mapping())
      refuse("** needs a dict, not " + std::string(type_name(items)));
    for (const auto& entry : items.as_mapping().entries()) {
      if (!entry.key.is_string())
        refuse("the names of arguments must be strings");
      args.named.push_back({std::string(entry.key.as_string().bytes()), entry.item});
    }
  }
}

value interpreter::evaluate_call(const expression& e, value* caller) {
  const expression& callee = *e.children[0];
  arguments args;
  const builtin* method = nullptr;
  value function;
  if (callee.kind == expression_kind::attribute) {
    value self = evaluate(*callee.children[0]);
    method = find_method(self, callee.text);
    if (method)
      args.positional.push_back(std::move(self));
    else
      function = attribute_of(ws_, self, callee.text);
  } else {
    function = evaluate(callee);
  }
  add_arguments(e, args);
  if (caller)
    args.named.push_back({"caller", *caller});
  line_ = e.line;
  if (method)
    return call_builtin(ws_, *method, std::move(args));
  value result = call_function(ws_, function, std::move(args));
  line_ = e.line;
  return result;
}

value interpreter::evaluate_builtin(const expression& e, std::string_view what) {
  if (!e.function)
    throw failure{errc::unsupported, "there is no " + std::string(what) + " named '" + e.text + "'"};
  arguments args;
  args.positional.push_back(evaluate(*e.children[0]));
  add_arguments(e, args);
  line_ = e.line;
  return call_builtin(ws_, *e.function, std::move(args));
}

value interpreter::evaluate_conditional(const expression& e) {
  if (truthy(evaluate(*e.children[0])))
    return evaluate(*e.children[1]);
  if (e.children[2])
    return evaluate(*e.children[2]);
  return make_undefined(ws_, "an inline if on line " + std::to_string(e.line) + " is false and has no else");
}

value interpreter::evaluate_binary(const expression& e) {
  if (e.op == operation::add)
    return evaluate_sum(e);
  value left = evaluate(*e.children[0]);
  value right = evaluate(*e.children[1]);
  line_ = e.line;
  return apply(ws_, e.op, left, right);
}

// Templates add dozens of strings in one expression: they are gathered in one text, and not copied for each +.
value interpreter::evaluate_sum(const expression& e) {
  std::vector<const expression*> operands;
  const expression* first = &e;
  for (; first->kind == expression_kind::binary && first->op == operation::add; first = first->children[0])
    operands.push_back(first->children[1]);
  auto plain = [](const value& v) { return v.is_string() && !v.as_string().markup; };
  value sum = evaluate(*first);
  std::optional<text_builder> gathered;
  for (auto each = operands.rbegin(); each != operands.rend(); ++each) {
    value next = evaluate(**each);
    if (plain(next) && (gathered || plain(sum))) {
      if (!gathered)
        gathered.emplace(ws_).append(sum.as_string().content);
      gathered->append(next.as_string().content);
      continue;
    }
    if (gathered)
      sum = gathered->finish();
    gathered.reset();
    sum = apply(ws_, operation::add, sum, next);
  }
  return gathered ? gathered->finish() : sum;
}

value interpreter::evaluate_comparison(const expression& e) {
  value left = evaluate(*e.children[0]);
  for (std::size_t i = 0; i < e.operators.size(); ++i) {
    value right = evaluate(*e.children[i + 1]);
    line_ = e.line;
    if (!compare(ws_, e.operators[i], left, right))
      return value::boolean(false);
    left = std::move(right);
  }
  return value::boolean(true);
}

value interpreter::evaluate_concatenation(const expression& e) {
  text_builder out(ws_);
  for (const expression* child : e.children)
    print(ws_, out, evaluate(*child)); // Markup is text here; only + minds it.
  return out.finish();
}

} // namespace troupe::jinja
