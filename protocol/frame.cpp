#include "protocol/frame.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <msgpack.hpp>

#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"

namespace troupe::detail {
namespace {

/// Notes "type" and "id" of the outermost map, also after something went wrong elsewhere.
class identity_watch {
public:
  void key(std::string_view name) {
    key_ = name;
    types_ += name == "type";
    ids_ += name == "id";
  }

  void text(std::string_view value) {
    if (std::exchange(key_, {}) == "type")
      type_ = value;
  }

  void integer(std::uint64_t value) {
    if (std::exchange(key_, {}) == "id")
      id_ = value;
  }

  /// A value of another kind.
  void other() { key_ = {}; }

  frame_identity result() const {
    frame_identity identity;
    if (types_ == 1)
      identity.type = type_;
    if (ids_ == 1)
      identity.id = id_;
    return identity;
  }

private:
  std::string_view key_; ///< The field whose value comes next.
  std::optional<std::string_view> type_;
  std::optional<request_id> id_;
  std::size_t types_ = 0;
  std::size_t ids_ = 0;
};

/// Memory is taken at once for so many values that a header claims; for more, when they are there.
constexpr std::size_t trusted_claim = 256;

/// What msgpack::parse calls. Returning false stops the parser at once, which is done only where going on could cost
/// memory (nesting) or long; for everything else `failure_` is set and the rest is looked through.
class frame_builder : public msgpack::null_visitor {
public:
  frame_builder() { levels_.reserve(8); }

  bool visit_nil() { return scalar(nil{}); }
  bool visit_boolean(bool value) { return scalar(value); }

  bool visit_positive_integer(std::uint64_t value) {
    if (at_top_value())
      watch_.integer(value);
    return integer(value, value <= std::uint64_t{std::numeric_limits<token_id>::max()},
                   [value] { return static_cast<token_id>(value); });
  }

  /// The parser calls this for every integer in a signed form, also for those from 0.
  bool visit_negative_integer(std::int64_t value) {
    if (value >= 0)
      return visit_positive_integer(static_cast<std::uint64_t>(value));
    return integer(value, value >= std::numeric_limits<token_id>::min(),
                   [value] { return static_cast<token_id>(value); });
  }

  bool visit_float32(float value) { return visit_float64(value); }
  bool visit_float64(double value) {
    if (!std::isfinite(value))
      wrong(errc::invalid_argument, [&] {
        return fmt::format("{} is {}, but numbers must be finite.", place(), value);
      });
    return in_array() ? number(value) : scalar(value);
  }

  bool visit_str(const char* data, std::uint32_t size) {
    const std::string_view text = size == 0 ? std::string_view{""} : std::string_view{data, size};
    if (in_key_)
      return key(text);
    if (at_top_value())
      watch_.text(text);
    if (!failure_)
      check_text(text);
    return scalar(text);
  }

  bool visit_bin(const char*, std::uint32_t) { return scalar(binary{}); }
  bool visit_ext(const char*, std::uint32_t) {
    wrong(errc::malformed, [&] { return fmt::format("{} has an extension type, which is not part of the protocol.",
                                                    place()); });
    return scalar(nil{});
  }

  bool start_array(std::uint32_t count) {
    claimed_ = count;
    return start(frame_array{});
  }
  bool end_array() { return end(); }
  bool start_map(std::uint32_t count) {
    frame_map fields;
    if (!failure_)
      fields.reserve(std::min<std::size_t>(count, max_map_fields));
    return start(std::move(fields));
  }
  bool end_map() { return end(); }

  bool start_map_key() {
    in_key_ = true;
    return true;
  }
  bool end_map_key() {
    in_key_ = false;
    return true;
  }

  bool end_map_value() {
    if (!failure_)
      levels_.back().key = {};
    return true;
  }
  bool end_array_item() {
    if (!failure_)
      ++levels_.back().index;
    return true;
  }

  void parse_error(std::size_t, std::size_t at) {
    structure_ = error{errc::malformed, fmt::format("The frame is not msgpack: byte {} begins no value.", at)};
  }
  void insufficient_bytes(std::size_t, std::size_t at) {
    structure_ = error{errc::malformed,
                       fmt::format("The frame ends in the middle of a value that byte {} belongs to.", at)};
  }

  frame_identity identity() const { return watch_.result(); }

  /// A broken structure matters more than a wrong field: it is reported first.
  const std::optional<error>& failure() const { return structure_ ? structure_ : failure_; }

  frame_value& root() { return root_; }

private:
  struct level {
    /// In its parent, whose vector does not grow before this container has ended.
    frame_value* container;
    std::string_view key; ///< Of a map: the name of the field that is being read.
    std::uint32_t index = 0; ///< Of an array: the index of the value that is being read.
  };

  bool at_top_value() const { return depth_ == 1 && !in_key_; }

  template <class Sentence>
  void wrong(errc code, Sentence sentence) {
    if (failure_)
      return;
    failure_ = error{code, sentence()};
    levels_.clear();
  }

  void check_text(std::string_view text) {
    if (text.size() > max_string_bytes)
      return wrong(errc::limit_exceeded, [&] {
        return fmt::format("{} has {} bytes, but at most {} are allowed. Shorten it.", place(), text.size(),
                           max_string_bytes);
      });
    if (const auto valid = valid_utf8_bytes(text); valid != text.size())
      wrong(errc::malformed, [&] {
        return fmt::format("{} is not valid UTF-8 at its byte {}. Send text as UTF-8.", place(), valid);
      });
  }

  bool key(std::string_view name) {
    if (depth_ == 1)
      watch_.key(name);
    if (failure_)
      return true;
    if (!is_valid_utf8(name)) {
      wrong(errc::malformed, [&] { return fmt::format("{} has a field name that is not valid UTF-8: {}.", place(),
                                                      in_quotes(name)); });
      return true;
    }
    const auto& fields = std::get<frame_map>(levels_.back().container->data);
    if (std::any_of(fields.begin(), fields.end(), [&](const frame_field& field) { return field.name == name; })) {
      levels_.back().key = name;
      wrong(errc::malformed, [&] { return fmt::format("{} is there twice. Send it once.", place()); });
      return true;
    }
    // No map of the protocol has so many fields, and the search above is linear.
    if (fields.size() >= max_map_fields)
      wrong(errc::limit_exceeded, [&] {
        return fmt::format("{} has more than {} fields.", levels_.size() == 1 ? "The frame" : place(),
                           max_map_fields);
      });
    else
      levels_.back().key = name;
    return true;
  }

  /// After a failure only so many values more are looked through, so that a bad frame costs no more than a good one.
  bool go_on() { return !failure_ || ++looked_through_ <= max_frame_values; }

  /// False after a failure, and where a map's key is not a string, which then is one.
  bool may_store() {
    if (failure_)
      return false;
    if (in_key_) {
      wrong(errc::malformed, [&] { return fmt::format("{} has a key that is not a string. Name fields by strings.",
                                                      place()); });
      return false;
    }
    return true;
  }

  template <class T>
  bool scalar(T value) {
    if (depth_ == 1)
      watch_.other();
    if (may_store())
      add(value);
    return go_on();
  }

  /// Integers in an array are kept flat while all its values are integers.
  template <class T, class AsToken>
  bool integer(T value, bool fits_token, AsToken as_token) {
    if (!in_array())
      return scalar(value);
    auto* tokens = flat_array<frame_integers>();
    if (!tokens) {
      mixed("an integer");
    } else if (!fits_token) {
      wrong(errc::invalid_argument, [&] { return fmt::format("{} is {}, which is no token id.", place(), value); });
    } else if (tokens_++ == max_prompt_tokens) {
      wrong(errc::limit_exceeded, [&] {
        return fmt::format("{} is one token id too many: at most {} are allowed.", place(), max_prompt_tokens);
      });
    } else {
      tokens->push_back(as_token());
    }
    return go_on();
  }

  /// The same for floats.
  bool number(double value) {
    auto* numbers = flat_array<frame_numbers>();
    if (!numbers)
      mixed("a float");
    else if (numbers_++ == max_prompt_tokens)
      wrong(errc::limit_exceeded, [&] {
        return fmt::format("{} is one number too many: at most {} are allowed.", place(), max_prompt_tokens);
      });
    else
      numbers->push_back(static_cast<float>(
        std::clamp<double>(value, std::numeric_limits<float>::lowest(), std::numeric_limits<float>::max())));
    return go_on();
  }

  /// Whether what comes is an element of an array that is kept.
  bool in_array() const {
    return !in_key_ && !failure_ && !levels_.empty() &&
           !std::holds_alternative<frame_map>(levels_.back().container->data);
  }

  /// The array that is being read, if it is of this kind or still empty.
  template <class Flat>
  Flat* flat_array() {
    auto& data = levels_.back().container->data;
    if (auto* values = std::get_if<frame_array>(&data); values && values->empty())
      data.template emplace<Flat>().reserve(std::min<std::size_t>(claimed_, trusted_claim));
    return std::get_if<Flat>(&data);
  }

  void mixed(std::string_view kind) {
    wrong(errc::invalid_argument, [&] {
      return fmt::format("{} is {}, unlike the values before it: an array's values must be of one kind.", place(),
                         kind);
    });
  }

  /// Where the value went, or nullptr where it is one too many.
  template <class T>
  frame_value* add(T&& value) {
    if (++values_ > max_frame_values) {
      wrong(errc::limit_exceeded, [&] {
        return fmt::format("{} is one value too many: a frame has at most {} besides token ids.", place(),
                           max_frame_values);
      });
      return nullptr;
    }
    if (levels_.empty()) {
      root_.data = std::forward<T>(value);
      return &root_;
    }
    level& top = levels_.back();
    if (auto* fields = std::get_if<frame_map>(&top.container->data)) {
      frame_field& field = fields->emplace_back(frame_field{top.key, {}, false});
      field.value.data = std::forward<T>(value);
      return &field.value;
    }
    if (auto* values = std::get_if<frame_array>(&top.container->data)) {
      frame_value& element = values->emplace_back();
      element.data = std::forward<T>(value);
      return &element;
    }
    mixed("no integer");
    return nullptr;
  }

  template <class Container>
  bool start(Container container) {
    if (depth_ == 1)
      watch_.other();
    if (++depth_ > max_frame_nesting) {
      wrong(errc::limit_exceeded, [&] {
        return fmt::format("{} is nested deeper than {} levels.", place(), max_frame_nesting);
      });
      return false;
    }
    if (may_store())
      if (frame_value* stored = add(std::move(container)))
        levels_.push_back({stored, {}, 0});
    // A key may be a container; what is in it is not in key position. The failure is noted already.
    in_key_ = false;
    return go_on();
  }

  bool end() {
    --depth_;
    if (!failure_)
      levels_.pop_back();
    return true;
  }

  /// "Field 'messages[3].role'", or "The frame" outside of every field.
  std::string place() const {
    std::string path;
    for (const level& each : levels_) {
      if (!std::holds_alternative<frame_map>(each.container->data))
        path += fmt::format("[{}]", each.index);
      else if (!each.key.empty())
        path += fmt::format("{}{}", path.empty() ? "" : ".", each.key.substr(0, 80));
      if (path.size() > 80)
        break;
    }
    return path.empty() ? "The frame" : fmt::format("Field {}", in_quotes(path));
  }

  std::vector<level> levels_;
  frame_value root_;
  std::size_t depth_ = 0;
  std::size_t values_ = 0;
  std::size_t tokens_ = 0;
  std::size_t numbers_ = 0;
  std::uint32_t claimed_ = 0; ///< How many values the array that began last says that it has.
  std::size_t looked_through_ = 0;
  bool in_key_ = false;
  identity_watch watch_;
  std::optional<error> failure_;
  std::optional<error> structure_;
};

} // namespace

expected<frame> read_frame(std::string_view bytes, frame_identity& identity) {
  if (bytes.size() > max_frame_bytes)
    return fail(errc::limit_exceeded, fmt::format("The frame has {} bytes, but at most {} are allowed.", bytes.size(),
                                                  max_frame_bytes));
  frame_builder builder;
  std::size_t end = 0;
  const bool complete = msgpack::parse(bytes.data(), bytes.size(), end, builder);
  identity = builder.identity();
  if (builder.failure())
    return tl::unexpected<error>(*builder.failure());
  if (!complete)
    return fail(errc::malformed, "The frame is not msgpack.");
  if (end != bytes.size())
    return fail(errc::malformed, fmt::format("The frame goes on after its message: {} bytes from byte {}. Send one "
                                             "message in each frame.",
                                             bytes.size() - end, end));
  auto* fields = std::get_if<frame_map>(&builder.root().data);
  if (!fields)
    return fail(errc::malformed, fmt::format("The frame is {}, but must be a map.", describe(builder.root())));
  return frame{std::move(*fields)};
}

std::string_view describe(const frame_value& value) {
  static constexpr std::string_view names[] = {
    "nil", "a boolean", "an integer", "an integer", "a float", "a string", "binary", "an array of integers",
    "an array of numbers", "an array", "a map"};
  static_assert(std::size(names) == std::variant_size_v<decltype(value.data)>);
  return names[value.data.index()];
}

} // namespace troupe::detail
