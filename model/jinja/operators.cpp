#include "model/jinja/operators.hpp"

#include <algorithm>
#include <cmath>

#include "model/jinja/print.hpp"

namespace troupe::jinja {

namespace {

std::string_view sign_of(operation op) {
  switch (op) {
    case operation::add: return "+";
    case operation::subtract: return "-";
    case operation::multiply: return "*";
    case operation::divide: return "/";
    case operation::floor_divide: return "//";
    case operation::modulo: return "%";
    case operation::power: return "**";
    default: return "?";
  }
}

[[noreturn]] void refuse_overflow() { refuse_limit("an integer does not fit 64 bits"); }

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0)
    refuse("division by zero");
  if (b == -1) {
    std::int64_t negated;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &negated))
      refuse_overflow();
    return negated;
  }
  std::int64_t quotient = a / b;
  return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

std::int64_t modulo(std::int64_t a, std::int64_t b) {
  if (b == 0)
    refuse("division by zero");
  if (b == -1)
    return 0;
  std::int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

std::int64_t power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  for (;;) {
    if (exponent & 1)
      if (__builtin_mul_overflow(result, base, &result))
        refuse_overflow();
    exponent >>= 1;
    if (exponent == 0)
      return result;
    if (__builtin_mul_overflow(base, base, &base))
      refuse_overflow();
  }
}

value apply_integers(operation op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case operation::add: overflow = __builtin_add_overflow(a, b, &result); break;
    case operation::subtract: overflow = __builtin_sub_overflow(a, b, &result); break;
    case operation::multiply: overflow = __builtin_mul_overflow(a, b, &result); break;
    case operation::floor_divide: result = floor_divide(a, b); break;
    case operation::modulo: result = modulo(a, b); break;
    case operation::power:
      if (b < 0)
        return value::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
      result = power(a, b);
      break;
    default:
      if (b == 0)
        refuse("division by zero");
      return value::real(static_cast<double>(a) / static_cast<double>(b));
  }
  if (overflow)
    refuse_overflow();
  return value::integer(result);
}

value apply_reals(operation op, double a, double b) {
  switch (op) {
    case operation::add: return value::real(a + b);
    case operation::subtract: return value::real(a - b);
    case operation::multiply: return value::real(a * b);
    case operation::power: return value::real(std::pow(a, b));
    default: break;
  }
  if (b == 0)
    refuse("division by zero");
  if (op == operation::divide)
    return value::real(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0))
    rest += b;
  if (op == operation::modulo)
    return value::real(rest);
  return value::real(std::round((a - rest) / b));
}

value add_strings(workspace& ws, const value& left, const value& right) {
  bool markup = left.as_string().markup || right.as_string().markup;
  text_builder out(ws);
  out.append((markup ? escape_markup(ws, left) : left).as_string().content);
  out.append((markup ? escape_markup(ws, right) : right).as_string().content);
  return out.finish(markup);
}

value repeat(workspace& ws, const value& what, std::int64_t times) {
  auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(times, 0));
  std::uint64_t size = what.is_string() ? what.as_string().bytes().size()
                                        : what.as_sequence().items.size() * sizeof(value);
  if (size > 0 && count > ws.bounds().max_value_bytes / size)
    refuse_limit("a repeated value needs more than " + std::to_string(ws.bounds().max_value_bytes) + " bytes");
  if (what.is_string()) {
    text_builder out(ws);
    for (std::uint64_t i = 0; size > 0 && i < count; ++i)
      out.append(what.as_string().content);
    return out.finish(what.as_string().markup);
  }
  value out = make_sequence(ws, what.as_sequence().form);
  for (std::uint64_t i = 0; size > 0 && i < count; ++i) {
    ws.step(1 + what.as_sequence().items.size() / 16);
    for (std::size_t j = 0, n = what.as_sequence().items.size(); j < n; ++j)
      out.as_sequence().push(what.as_sequence().items[j]);
  }
  return out;
}

bool is_list_or_tuple(const value& v) {
  return v.is_sequence() && v.as_sequence().form <= sequence_form::tuple;
}

value add_sequences(workspace& ws, const value& left, const value& right) {
  value out = make_sequence(ws, left.as_sequence().form);
  for (const value* side : {&left, &right}) {
    ws.step(side->as_sequence().items.size() / 16);
    for (const value& item : side->as_sequence().items)
      out.as_sequence().push(item);
  }
  return out;
}

} // namespace

value apply(workspace& ws, operation op, const value& left, const value& right) {
  require_defined(left);
  if (left.is_string() && op == operation::modulo)
    return format_percent(ws, left.as_string(), right);
  require_defined(right);
  if (left.is_integral() && right.is_integral())
    return apply_integers(op, left.as_integer(), right.as_integer());
  if (left.is_number() && right.is_number())
    return apply_reals(op, left.as_real(), right.as_real());
  if (op == operation::add) {
    if (left.is_string() && right.is_string())
      return add_strings(ws, left, right);
    if (is_list_or_tuple(left) && is_list_or_tuple(right) && left.as_sequence().form == right.as_sequence().form)
      return add_sequences(ws, left, right);
  }
  if (op == operation::multiply) {
    if ((left.is_string() || is_list_or_tuple(left)) && right.is_integral())
      return repeat(ws, left, right.as_integer());
    if ((right.is_string() || is_list_or_tuple(right)) && left.is_integral())
      return repeat(ws, right, left.as_integer());
  }
  refuse("the operator " + std::string(sign_of(op)) + " does not go with the types " + std::string(type_name(left))
         + " and " + std::string(type_name(right)));
}

value negate(const value& v) {
  require_defined(v);
  if (v.is_integral())
    return apply_integers(operation::subtract, 0, v.as_integer());
  if (v.is_number())
    return value::real(-v.as_real());
  refuse("a value of the type " + std::string(type_name(v)) + " cannot be negated");
}

bool compare(workspace& ws, operation op, const value& left, const value& right) {
  // A NaN is neither less, equal nor greater.
  bool unordered = left.is_number() && right.is_number() && (std::isnan(left.as_real()) || std::isnan(right.as_real()));
  switch (op) {
    case operation::equal: return equal(ws, left, right);
    case operation::not_equal: return !equal(ws, left, right);
    case operation::less: return !unordered && compare(ws, left, right) < 0;
    case operation::less_equal: return !unordered && compare(ws, left, right) <= 0;
    case operation::greater: return !unordered && compare(ws, left, right) > 0;
    case operation::greater_equal: return !unordered && compare(ws, left, right) >= 0;
    case operation::in: return contains(ws, right, left);
    default: return !contains(ws, right, left);
  }
}

} // namespace troupe::jinja
