// Random values of all that travels between an engine and its workers, and whether two are the same bit for bit.
//
// Both take every type apart by a structured binding: a new member does not compile until it is here.
#pragma once

#include <bit>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>

#include "actors/wire.hpp"

namespace troupe::test {

// Each type's members, all of them.

template <class T, class Type>
concept is_a = std::same_as<std::remove_const_t<T>, Type>;

auto members(is_a<error> auto& v) {
  auto& [a, b, c] = v;
  return std::tie(a, b, c);
}
auto members(is_a<token_bias> auto& v) {
  auto& [a, b] = v;
  return std::tie(a, b);
}
auto members(is_a<sequence_sampling> auto& v) {
  auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r] = v;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r);
}
auto members(is_a<sequence_joined> auto& v) {
  auto& [a, b, c, d, e, f, g] = v;
  return std::tie(a, b, c, d, e, f, g);
}
auto members(is_a<blocks_appended> auto& v) {
  auto& [a, b, c, d] = v;
  return std::tie(a, b, c, d);
}
auto members(is_a<block_copied> auto& v) {
  auto& [a, b, c] = v;
  return std::tie(a, b, c);
}
auto members(is_a<step_rows> auto& v) {
  auto& [a, b, c, d, e, f, g, h] = v;
  return std::tie(a, b, c, d, e, f, g, h);
}
auto members(is_a<step_changes> auto& v) {
  auto& [a, b, c, d, e, f, g, h, i, j] = v;
  return std::tie(a, b, c, d, e, f, g, h, i, j);
}
auto members(is_a<token_logprob::alternative> auto& v) {
  auto& [a, b] = v;
  return std::tie(a, b);
}
auto members(is_a<token_logprob> auto& v) {
  auto& [a, b, c, d] = v;
  return std::tie(a, b, c, d);
}
auto members(is_a<row_logprobs> auto& v) {
  auto& [a, b, c] = v;
  return std::tie(a, b, c);
}
auto members(is_a<row_embedding> auto& v) {
  auto& [a, b] = v;
  return std::tie(a, b);
}
auto members(is_a<row_failure> auto& v) {
  auto& [a, b] = v;
  return std::tie(a, b);
}
auto members(is_a<step_result> auto& v) {
  auto& [a, b, c, d, e, f, g, h, i] = v;
  return std::tie(a, b, c, d, e, f, g, h, i);
}
auto members(is_a<step_tokens> auto& v) {
  auto& [a, b, c, d] = v;
  return std::tie(a, b, c, d);
}
auto members(is_a<memory_account> auto& v) {
  auto& [a, b, c] = v;
  return std::tie(a, b, c);
}
auto members(is_a<worker_info> auto& v) {
  auto& [a, b, c, d, e, f] = v;
  return std::tie(a, b, c, d, e, f);
}
auto members(is_a<block_place> auto& v) {
  auto& [a, b] = v;
  return std::tie(a, b);
}
auto members(is_a<block_content> auto& v) {
  auto& [a, b] = v;
  return std::tie(a, b);
}

class random_wire {
public:
  explicit random_wire(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t end) { return random_() % end; }

  template <class T>
  T make() {
    T out{};
    fill(out);
    return out;
  }

private:
  void fill(bool& value) { value = below(2) != 0; }

  /// Small, around a power of two, any, or one of the ends.
  template <std::integral T>
  void fill(T& value) {
    const auto any = random_();
    switch (below(4)) {
    case 0:
      value = static_cast<T>(any % 5);
      break;
    case 1:
      value = static_cast<T>((std::uint64_t{1} << (any % 64)) - any / 64 % 3);
      break;
    case 2:
      value = static_cast<T>(any);
      break;
    default:
      value = any % 2 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    }
  }

  // Any bits: also NaN with a payload, infinities, -0.
  void fill(float& value) { value = std::bit_cast<float>(make<std::uint32_t>()); }
  void fill(double& value) { value = std::bit_cast<double>(make<std::uint64_t>()); }
  void fill(std::byte& value) { value = static_cast<std::byte>(random_()); }

  void fill(std::string& value) {
    value.resize(length());
    for (auto& c : value)
      c = static_cast<char>(random_());
  }

  template <class T>
  void fill(std::vector<T>& value) {
    value.resize(length());
    for (auto& one : value)
      fill(one);
  }

  template <class T>
  void fill(std::shared_ptr<const T>& value) {
    value = below(3) == 0 ? nullptr : std::make_shared<const T>(make<T>());
  }

  template <class T>
  void fill(expected<T>& value) {
    if (below(4) == 0)
      value = tl::unexpected(make<error>());
    else
      value = make<T>();
  }

  void fill(nothing&) {}
  void fill(pooling& value) { value = static_cast<pooling>(below(3)); }
  void fill(errc& value) { value = static_cast<errc>(below(15)); }

  template <class T>
  requires requires(T& value) { members(value); }
  void fill(T& value) {
    std::apply([this](auto&... all) { (fill(all), ...); }, members(value));
  }

  std::size_t length() { return below(4) == 0 ? below(40) : below(4); }

  std::mt19937_64 random_;
};

template <class T>
requires std::is_arithmetic_v<T> || std::is_enum_v<T>
bool same(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}
inline bool same(const std::string& a, const std::string& b) {
  return a == b;
}
inline bool same(const nothing&, const nothing&) {
  return true;
}

template <class T>
requires requires(const T& value) {
  members(value);
}
bool same(const T& a, const T& b);

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i]))
      return false;
  return true;
}

template <class T>
bool same(const std::shared_ptr<const T>& a, const std::shared_ptr<const T>& b) {
  return a && b ? same(*a, *b) : !a && !b;
}

template <class T>
bool same(const expected<T>& a, const expected<T>& b) {
  return a && b ? same(*a, *b) : !a && !b && same(a.error(), b.error());
}

template <class T>
requires requires(const T& value) {
  members(value);
}
bool same(const T& a, const T& b) {
  return std::apply(
    [&](const auto&... of_a) {
      return std::apply([&](const auto&... of_b) { return (same(of_a, of_b) && ...); }, members(b));
    },
    members(a));
}

} // namespace troupe::test
