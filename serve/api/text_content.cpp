#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

struct content_part {
  std::string type;
  std::string text;
};

expected<void> read_hint(const place& at, content_part&) {
  return at.value.is_object() ? expected<void>() : wrong_kind(at, "an object");
}

expected<void> read_earlier_logprobs(const place& at, content_part&) {
  return at.value.is_array() ? expected<void>() : wrong_kind(at, "a list");
}

expected<void> read_empty_list(const place& at, content_part&) {
  if (!at.value.is_array() || !at.value.empty())
    return refused_field(at.path, "text is taken as it stands");
  return {};
}

constexpr field_rule<content_part> part_rules[] = {
  {"type", kind::text, &read_member<&content_part::type>, "", is_needed},
  {"text", kind::text, &read_member<&content_part::text>, "", is_needed},
  {"annotations", kind::list<kind::anything, 0>, &read_empty_list},
  {"logprobs", kind::list<kind::anything>, &read_earlier_logprobs, "an earlier answer's"},
  {"citations", kind::list<kind::anything, 0>, &read_empty_list},
  {"prompt_cache_breakpoint", kind::object, &read_hint, "prefixes are cached by themselves"},
  {"cache_control", kind::object, &read_hint, "the same"},
};

} // namespace

expected<std::string> type_of(const place& at) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object");
  const auto type = at.value.find("type");
  if (type == at.value.end())
    return fail(errc::invalid_argument, fmt::format("Field '{}.type' is missing, but needed.", at.path));
  std::string name;
  if (auto read = read_into({at.path + ".type", *type}, name); !read)
    return tl::unexpected(std::move(read.error()));
  return name;
}

tl::unexpected<error> refused_type(const place& at, std::string_view type, std::string_view wanted) {
  return fail(errc::unsupported,
              fmt::format("Field '{}.type' is {}, but only {} supported.", at.path, in_quotes(type), wanted));
}

expected<void> read_text_part(const place& at, std::string& to, std::string_view other_type) {
  const auto type = type_of(at);
  if (!type)
    return tl::unexpected(type.error());
  if (*type != "text" && *type != other_type)
    return refused_type(at, *type, "parts of text are");
  content_part part;
  if (auto read = read_object<content_part>(at, part_rules, part); !read)
    return read;
  to = std::move(part.text);
  return {};
}

expected<void> read_text_content(const place& at, std::string& to, std::string_view other_type) {
  if (at.value.is_string())
    return read_into(at, to);
  if (!at.value.is_array())
    return wrong_kind(at, "a string or a list of parts");
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    std::string text;
    if (auto read = read_text_part(at.item(i), text, other_type); !read)
      return read;
    if (i > 0)
      to += '\n';
    to += text;
  }
  return {};
}

namespace kind {

json text_part_of(std::string_view other_type) {
  auto part = members<part_rules>();
  part["properties"]["type"] = other_type == "text" ? word<"text">() : choice_of({"text", other_type});
  part["title"] = "part of text";
  return part;
}

json text_content_of(std::string_view other_type) {
  return any_of({text(), list_of(text_part_of(other_type), any_length)});
}

} // namespace kind

} // namespace troupe::serve
