#include "model/jinja/builtins.hpp"

#include <unordered_map>

namespace troupe::jinja {

const value& bound::operator[](std::size_t i) const {
  if (!given[i])
    refuse("'" + std::string(callee) + "' needs the argument '" + std::string(names[i]) + "'");
  return *given[i];
}

const string_object& bound::string(std::size_t i) const {
  const value& v = (*this)[i];
  require_defined(v);
  if (!v.is_string())
    refuse("the argument '" + std::string(names[i]) + "' of '" + std::string(callee) + "' must be a string, not "
           + std::string(type_name(v)));
  return v.as_string();
}

std::int64_t bound::integer(std::size_t i) const {
  const value& v = (*this)[i];
  require_defined(v);
  if (!v.is_integral())
    refuse("the argument '" + std::string(names[i]) + "' of '" + std::string(callee) + "' must be an integer, not "
           + std::string(type_name(v)));
  return v.as_integer();
}

namespace {

std::size_t parameter_count(const builtin& b) {
  std::size_t count = 0;
  while (count < max_parameters && !b.parameters[count].empty())
    ++count;
  return count;
}

void bind_named(const builtin& b, std::size_t count, named_value& argument, bound& to) {
  for (std::size_t i = 0; i < count; ++i)
    if (b.parameters[i] == argument.name) {
      if (to.given[i])
        refuse("'" + std::string(b.name) + "' gets the argument '" + argument.name + "' twice");
      to.given[i] = std::move(argument.item);
      return;
    }
  if (!b.variadic)
    refuse("'" + std::string(b.name) + "' has no argument '" + argument.name + "'");
  to.more.named.push_back(std::move(argument));
}

/// Long texts cost steps, whatever is done to them.
void charge_texts(workspace& ws, const arguments& args) {
  for (const value& v : args.positional)
    if (v.is_string())
      ws.step_bytes(v.as_string().bytes().size());
}

using table = std::unordered_map<std::string_view, const builtin*>;

table table_of(std::initializer_list<std::span<const builtin>> parts) {
  table all;
  for (auto part : parts)
    for (const builtin& b : part)
      all.emplace(b.name, &b);
  return all;
}

const builtin* find(const table& in, std::string_view name) {
  auto found = in.find(name);
  return found == in.end() ? nullptr : found->second;
}

} // namespace

value call_builtin(workspace& ws, const builtin& b, arguments args) {
  ws.step();
  charge_texts(ws, args);
  bound to;
  to.callee = b.name;
  to.names = b.parameters;
  const std::size_t count = parameter_count(b);
  for (std::size_t i = 0; i < args.positional.size(); ++i) {
    if (i < count)
      to.given[i] = std::move(args.positional[i]);
    else if (b.variadic)
      to.more.positional.push_back(std::move(args.positional[i]));
    else
      refuse("'" + std::string(b.name) + "' takes at most " + std::to_string(count) + " arguments, not "
             + std::to_string(args.positional.size()));
  }
  for (named_value& argument : args.named)
    bind_named(b, count, argument, to);
  return b.function(ws, to);
}

const builtin* find_filter(std::string_view name) {
  static const table all = table_of({string_filters(), value_filters(), sequence_filters()});
  return find(all, name);
}

const builtin* find_test(std::string_view name) {
  static const table all = table_of({tests()});
  return find(all, name);
}

const builtin* find_method(const value& self, std::string_view name) {
  static const table strings = table_of({string_methods()});
  static const table lists = table_of({list_methods()});
  static const table mappings = table_of({mapping_methods()});
  if (self.is_string())
    return find(strings, name);
  if (self.is_sequence() && self.as_sequence().form == sequence_form::list)
    return find(lists, name);
  if (self.is_mapping())
    return find(mappings, name);
  return nullptr;
}

value call_function(workspace& ws, const value& callee, arguments args) {
  require_defined(callee);
  if (!callee.is(kind::function))
    refuse("a value of the type " + std::string(type_name(callee)) + " cannot be called");
  ws.step();
  auto body = callee.as_function().body; // A copy: the variable that holds the function may be set by it.
  return body(ws, args);
}

} // namespace troupe::jinja
