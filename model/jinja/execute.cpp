#include <algorithm>

#include "model/jinja/interpreter.hpp"
#include "model/jinja/print.hpp"

namespace troupe::jinja {

/// Runs what follows in a scope of its own inside the given one.
class interpreter::in_scope {
public:
  in_scope(interpreter& owner, const counted<scope>& parent) : owner_(owner), outer_(owner.scope_) {
    owner.scope_ = counted<scope>(*new scope(owner.ws_, parent));
  }
  ~in_scope() { owner_.scope_ = std::move(outer_); }
  in_scope(const in_scope&) = delete;
  in_scope& operator=(const in_scope&) = delete;

private:
  interpreter& owner_;
  counted<scope> outer_;
};

interpreter::interpreter(workspace& ws, const syntax_tree& tree, const std::vector<named_value>& variables)
  : ws_(ws), tree_(tree), strings_(tree.strings), loop_name_(symbol_of("loop")),
    body_name_(symbol_of(rendered_body)) {
  ws_.charge(strings_.size() * sizeof(value)); // Until the workspace ends.
  counted<scope> globals(*new scope(ws_, {}));
  for (const builtin& function : global_functions()) {
    auto body = [&function](workspace& w, arguments& args) { return call_builtin(w, function, std::move(args)); };
    globals->set(symbol_of(function.name), make_function(ws_, function.name, body));
  }
  scope_ = counted<scope>(*new scope(ws_, globals));
  for (const named_value& variable : variables)
    scope_->set(symbol_of(variable.name), variable.item);
}

symbol interpreter::symbol_of(std::string_view name) const {
  auto found = std::find(tree_.names.begin(), tree_.names.end(), name);
  return found == tree_.names.end() ? ~symbol{0} : static_cast<symbol>(found - tree_.names.begin());
}

text interpreter::run() {
  text_builder out(ws_);
  out_ = &out;
  execute(tree_.root);
  check_output();
  return out.content();
}

void interpreter::check_output() const {
  if (out_->size() > ws_.bounds().max_output_bytes)
    refuse_limit("the rendered text has more than " + std::to_string(ws_.bounds().max_output_bytes) + " bytes");
}

interpreter::flow interpreter::execute(const block& body) {
  deeper guard(ws_);
  for (const statement* s : body)
    if (flow after = execute(*s); after != flow::on)
      return after;
  return flow::on;
}

interpreter::flow interpreter::execute(const statement& s) {
  ws_.step();
  line_ = s.line;
  switch (s.kind) {
    case statement_kind::data:
      out_->append(s.text);
      check_output();
      break;
    case statement_kind::print:
      print(ws_, *out_, evaluate(*s.subject));
      check_output();
      break;
    case statement_kind::branch: return execute_branch(s);
    case statement_kind::loop: return execute_loop(s);
    case statement_kind::assign: assign(*s.target, evaluate(*s.subject)); break;
    case statement_kind::assign_block: execute_assign_block(s); break;
    case statement_kind::macro: assign(*s.target, make_macro(s)); break;
    case statement_kind::call_block: execute_call_block(s); break;
    case statement_kind::filter_block: {
      in_scope inner(*this, scope_);
      scope_->set(body_name_, capture(s.body));
      print(ws_, *out_, evaluate(*s.subject));
      break;
    }
    case statement_kind::with: return execute_with(s);
    case statement_kind::scope: {
      in_scope inner(*this, scope_);
      return execute(s.body);
    }
    case statement_kind::break_loop: return flow::broken;
    case statement_kind::continue_loop: return flow::continued;
  }
  return flow::on;
}

interpreter::flow interpreter::execute_branch(const statement& s) {
  for (const arm& each : s.arms)
    if (truthy(evaluate(*each.condition)))
      return execute(each.body);
  return execute(s.otherwise);
}

interpreter::flow interpreter::execute_loop(const statement& s) {
  value items = iterate(ws_, evaluate(*s.subject));
  if (s.condition)
    items = filtered(s, items);
  if (items.as_sequence().items.empty()) {
    in_scope inner(*this, scope_);
    return execute(s.otherwise);
  }
  loop_object& loop = *new loop_object(ws_, items);
  value loop_value(kind::loop, loop);
  for (; loop.index < items.as_sequence().items.size(); ++loop.index) {
    ws_.step();
    in_scope turn(*this, scope_);
    scope_->set(loop_name_, loop_value);
    assign(*s.target, items.as_sequence().items[loop.index]);
    if (execute(s.body) == flow::broken)
      break;
  }
  return flow::on;
}

/// The items for which the loop's condition holds.
value interpreter::filtered(const statement& s, const value& items) {
  value kept = make_sequence(ws_);
  for (std::size_t i = 0; i < items.as_sequence().items.size(); ++i) {
    in_scope inner(*this, scope_);
    value item = items.as_sequence().items[i];
    assign(*s.target, item);
    if (truthy(evaluate(*s.condition)))
      kept.as_sequence().push(item);
  }
  return kept;
}

void interpreter::execute_assign_block(const statement& s) {
  value content;
  {
    in_scope inner(*this, scope_);
    content = capture(s.body);
    if (s.subject) {
      scope_->set(body_name_, content);
      content = evaluate(*s.subject);
    }
  }
  assign(*s.target, content);
}

interpreter::flow interpreter::execute_with(const statement& s) {
  std::vector<value> items;
  for (const assignment& each : s.assignments)
    items.push_back(evaluate(*each.item));
  in_scope inner(*this, scope_);
  for (std::size_t i = 0; i < items.size(); ++i)
    assign(*s.assignments[i].target, items[i]);
  return execute(s.body);
}

void interpreter::execute_call_block(const statement& s) {
  value caller = make_macro(s);
  print(ws_, *out_, evaluate_call(*s.subject, &caller));
}

void interpreter::assign(const expression& target, const value& item) {
  if (target.kind == expression_kind::name)
    return scope_->set(target.name, item);
  if (target.kind == expression_kind::attribute) {
    value owner = evaluate(*target.children[0]);
    if (!owner.is(kind::name_space))
      refuse("'" + target.children[0]->text + "." + target.text + "' cannot be set: only a namespace has attributes "
             "that can");
    return owner.as_mapping().set(make_string(ws_, target.text), item);
  }
  value items = iterate(ws_, item);
  if (items.as_sequence().items.size() != target.children.size())
    refuse("expected " + std::to_string(target.children.size()) + " values to unpack, found "
           + std::to_string(items.as_sequence().items.size()));
  for (std::size_t i = 0; i < target.children.size(); ++i)
    assign(*target.children[i], value(items.as_sequence().items[i]));
}

/// What a body renders, as a string.
value interpreter::capture(const block& body) {
  text_builder out(ws_);
  text_builder* outer = std::exchange(out_, &out);
  execute(body);
  check_output();
  out_ = outer;
  return out.finish();
}

value interpreter::make_macro(const statement& s) {
  return make_function(ws_, s.signature.name, [this, &s, closure = scope_](workspace&, arguments& args) {
    return call_macro(s, closure, args);
  });
}

value interpreter::call_macro(const statement& s, const counted<scope>& closure, arguments& args) {
  deeper guard(ws_);
  in_scope call(*this, closure);
  bind_parameters(s.signature, args);
  return capture(s.body);
}

void interpreter::bind_parameters(const signature& s, arguments& args) {
  auto take_named = [&](std::string_view name, value& to) {
    for (auto each = args.named.begin(); each != args.named.end(); ++each)
      if (each->name == name) {
        to = each->item;
        args.named.erase(each);
        return true;
      }
    return false;
  };
  for (std::size_t i = 0; i < s.parameters.size(); ++i) {
    const parameter& p = s.parameters[i];
    value item;
    if (i < args.positional.size())
      item = args.positional[i];
    else if (!take_named(p.text, item))
      item = p.fallback ? evaluate(*p.fallback) : make_undefined(ws_, "parameter '" + p.text + "' was not provided");
    scope_->set(p.name, item);
  }
  value caller = make_undefined(ws_, "no caller defined");
  bool called = take_named("caller", caller);
  if (s.uses_caller)
    scope_->set(symbol_of("caller"), caller);
  else if (called)
    refuse("the macro '" + s.name + "' does not use a caller");
  if (args.positional.size() > s.parameters.size() && !s.uses_varargs)
    refuse("the macro '" + s.name + "' takes " + std::to_string(s.parameters.size()) + " arguments, not "
           + std::to_string(args.positional.size()));
  if (!args.named.empty() && !s.uses_kwargs)
    refuse("the macro '" + s.name + "' has no parameter '" + args.named[0].name + "'");
  if (s.uses_varargs) {
    value rest = make_sequence(ws_, sequence_form::tuple);
    for (std::size_t i = s.parameters.size(); i < args.positional.size(); ++i)
      rest.as_sequence().push(args.positional[i]);
    scope_->set(symbol_of("varargs"), rest);
  }
  if (s.uses_kwargs) {
    value rest = make_mapping(ws_);
    for (const named_value& each : args.named)
      rest.as_mapping().set(make_string(ws_, each.name), each.item);
    scope_->set(symbol_of("kwargs"), rest);
  }
}

} // namespace troupe::jinja
