#include "model/strict_json.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "protocol/utf8.hpp"

namespace troupe {
namespace {

using json = nlohmann::ordered_json;

/// Builds values from the inside out: a list or an object is made when all that is in it is there, so nothing is
/// copied because something grows.
class builder : public nlohmann::json_sax<json> {
public:
  explicit builder(const json_limits& limits) : limits_(limits) {}

  expected<json> result() {
    if (problem_.code != errc::none)
      return tl::unexpected(std::move(problem_));
    return std::move(root_);
  }

  bool null() override { return put_number(json(nullptr)); }
  bool boolean(bool value) override { return put_number(json(value)); }
  bool number_integer(number_integer_t value) override { return put_number(json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return put_number(json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return put_number(json(value)); }
  bool string(string_t& value) override { return count() && put(json(std::move(value))); }
  bool binary(binary_t&) override { return refuse(errc::malformed, "This is not JSON."); }
  bool start_object(std::size_t) override { return begin(); }
  bool start_array(std::size_t) override { return begin(); }

  bool key(string_t& name) override {
    open_.back().keys.push_back(std::move(name));
    return count();
  }

  bool end_array() override {
    auto items = std::move(open_.back().items);
    open_.pop_back();
    return put(json(std::move(items)));
  }

  bool end_object() override {
    auto [keys, items] = std::move(open_.back());
    open_.pop_back();
    if (!distinct(keys))
      return false;
    json::object_t object;
    object.reserve(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i)
      object.emplace_back(std::move(keys[i]), std::move(items[i])); // The vector's own: it compares nothing.
    return put(json(std::move(object)));
  }

  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception&) override {
    return refuse(errc::malformed, fmt::format("This is not JSON: it breaks off or goes wrong at byte {}.", byte));
  }

private:
  struct container {
    std::vector<std::string> keys; ///< Of an object.
    json::array_t items;
  };

  bool refuse(errc code, std::string message) {
    problem_ = {code, std::move(message)};
    return false;
  }

  bool count() {
    return ++values_ <= limits_.max_values ||
           refuse(errc::limit_exceeded,
                  fmt::format("The JSON has more than {} lists, objects, keys and strings.", limits_.max_values));
  }

  bool begin() {
    if (open_.size() >= limits_.max_nesting)
      return refuse(errc::limit_exceeded, fmt::format("The JSON is nested more than {} deep.", limits_.max_nesting));
    open_.emplace_back();
    return count();
  }

  bool put(json&& value) {
    if (open_.empty())
      root_ = std::move(value);
    else
      open_.back().items.push_back(std::move(value));
    return true;
  }

  bool put_number(json&& value) {
    if (++numbers_ > limits_.max_numbers)
      return refuse(errc::limit_exceeded, fmt::format("The JSON has more than {} numbers.", limits_.max_numbers));
    return put(std::move(value));
  }

  bool distinct(const std::vector<std::string>& keys) {
    std::vector<std::string_view> sorted(keys.begin(), keys.end());
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    return twice == sorted.end() ||
           refuse(errc::malformed,
                  fmt::format("Field '{}' is there twice in one object. Send it once.", cut_utf8(*twice, 64)));
  }

  const json_limits& limits_;
  std::vector<container> open_;
  json root_;
  error problem_{errc::none, {}};
  std::size_t values_ = 0;
  std::size_t numbers_ = 0;
};

} // namespace

expected<nlohmann::ordered_json> parse_strict_json(std::string_view text, const json_limits& limits) {
  builder made(limits);
  json::sax_parse(text, &made);
  return made.result();
}

} // namespace troupe
