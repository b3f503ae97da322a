// What can follow `is`.
#include "model/jinja/builtins.hpp"
#include "model/jinja/operators.hpp"
#include "model/jinja/unicode.hpp"

namespace troupe::jinja {

namespace {

template <bool (*Holds)(const value&)>
value do_kind(workspace&, bound& a) {
  return value::boolean(Holds(a[0]));
}

bool is_defined(const value& v) { return !v.is_undefined(); }
bool is_undefined(const value& v) { return v.is_undefined(); }
bool is_none(const value& v) { return v.is_none(); }
bool is_boolean(const value& v) { return v.is(kind::boolean); }
bool is_true(const value& v) { return v.is(kind::boolean) && v.as_integer() != 0; }
bool is_false(const value& v) { return v.is(kind::boolean) && v.as_integer() == 0; }
bool is_integer(const value& v) { return v.is(kind::integer); }
bool is_float(const value& v) { return v.is(kind::real); }
bool is_number(const value& v) { return v.is_number(); }
bool is_string(const value& v) { return v.is_string(); }
bool is_mapping(const value& v) { return v.is_mapping(); }
bool is_callable(const value& v) { return v.is(kind::function); }
bool is_escaped(const value& v) { return v.is_string() && v.as_string().markup; }

/// What has a length and elements; for Jinja that is undefined too.
bool is_sequence(const value& v) {
  if (v.is_sequence())
    return v.as_sequence().form != sequence_form::generator && v.as_sequence().form != sequence_form::view;
  return v.is_undefined() || v.is_string() || v.is_mapping();
}

bool is_iterable(const value& v) {
  return v.is_undefined() || v.is_string() || v.is_mapping() || v.is_sequence() || v.is(kind::loop);
}

template <operation Op>
value do_compare(workspace& ws, bound& a) {
  return value::boolean(compare(ws, Op, a[0], a[1]));
}

bool divisible(workspace& ws, const value& v, std::int64_t by) {
  return equal(ws, apply(ws, operation::modulo, v, value::integer(by)), value::integer(0));
}

value do_odd(workspace& ws, bound& a) { return value::boolean(!divisible(ws, a[0], 2)); }
value do_even(workspace& ws, bound& a) { return value::boolean(divisible(ws, a[0], 2)); }
value do_divisible(workspace& ws, bound& a) { return value::boolean(divisible(ws, a[0], a.integer(1))); }

template <bool Upper>
value do_letters(workspace& ws, bound& a) {
  if (!a[0].is_string())
    refuse("a test for upper or lower case needs a string, not " + std::string(type_name(a[0])));
  return call_builtin(ws, *find_method(a[0], Upper ? "isupper" : "islower"), {{a[0]}, {}});
}

value do_sameas(workspace&, bound& a) {
  bool plain = !a[0].identity() && !a[1].identity() && a[0].kind() == a[1].kind();
  return value::boolean(plain ? a[0].as_integer() == a[1].as_integer() : a[0].identity() == a[1].identity());
}

value do_filter(workspace&, bound& a) { return value::boolean(find_filter(a.string(0).bytes()) != nullptr); }
value do_test(workspace&, bound& a) { return value::boolean(find_test(a.string(0).bytes()) != nullptr); }

} // namespace

std::span<const builtin> tests() {
  static const builtin all[] = {
    {"defined", {"value"}, do_kind<is_defined>},
    {"undefined", {"value"}, do_kind<is_undefined>},
    {"none", {"value"}, do_kind<is_none>},
    {"boolean", {"value"}, do_kind<is_boolean>},
    {"true", {"value"}, do_kind<is_true>},
    {"false", {"value"}, do_kind<is_false>},
    {"integer", {"value"}, do_kind<is_integer>},
    {"float", {"value"}, do_kind<is_float>},
    {"number", {"value"}, do_kind<is_number>},
    {"string", {"value"}, do_kind<is_string>},
    {"mapping", {"value"}, do_kind<is_mapping>},
    {"sequence", {"value"}, do_kind<is_sequence>},
    {"iterable", {"value"}, do_kind<is_iterable>},
    {"callable", {"value"}, do_kind<is_callable>},
    {"escaped", {"value"}, do_kind<is_escaped>},
    {"odd", {"value"}, do_odd},
    {"even", {"value"}, do_even},
    {"divisibleby", {"value", "num"}, do_divisible},
    {"upper", {"value"}, do_letters<true>},
    {"lower", {"value"}, do_letters<false>},
    {"sameas", {"value", "other"}, do_sameas},
    {"filter", {"value"}, do_filter},
    {"test", {"value"}, do_test},
    {"in", {"value", "seq"}, do_compare<operation::in>},
    {"==", {"a", "b"}, do_compare<operation::equal>},
    {"eq", {"a", "b"}, do_compare<operation::equal>},
    {"equalto", {"a", "b"}, do_compare<operation::equal>},
    {"!=", {"a", "b"}, do_compare<operation::not_equal>},
    {"ne", {"a", "b"}, do_compare<operation::not_equal>},
    {"<", {"a", "b"}, do_compare<operation::less>},
    {"lt", {"a", "b"}, do_compare<operation::less>},
    {"lessthan", {"a", "b"}, do_compare<operation::less>},
    {"<=", {"a", "b"}, do_compare<operation::less_equal>},
    {"le", {"a", "b"}, do_compare<operation::less_equal>},
    {">", {"a", "b"}, do_compare<operation::greater>},
    {"gt", {"a", "b"}, do_compare<operation::greater>},
    {"greaterthan", {"a", "b"}, do_compare<operation::greater>},
    {">=", {"a", "b"}, do_compare<operation::greater_equal>},
    {"ge", {"a", "b"}, do_compare<operation::greater_equal>},
  };
  return all;
}

} // namespace troupe::jinja
