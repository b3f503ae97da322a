#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

struct content_part {
  std::string type;
  std::string text;
  bool has_text = false;
};

expected<void> read_nothing(const place& at, content_part&) {
  return at.value.is_structured() ? expected<void>() : wrong_kind(at, "an object or a list");
}

constexpr field_rule<content_part> part_rules[] = {
  {"type", "string", &read_member<&content_part::type>},
  {"text", "string",
   [](const place& at, content_part& to) {
     to.has_text = true;
     return read_into(at, to.text);
   }},
  {"annotations", "list",
   [](const place& at, content_part&) -> expected<void> {
     if (!at.value.is_array() || !at.value.empty())
       return refused_field(at.path, "text is taken as it stands");
     return {};
   }},
  {"logprobs", "list", &read_nothing, "an earlier answer's"},
  {"citations", "list", nullptr, "text is taken as it stands"},
  {"prompt_cache_breakpoint", "object", &read_nothing, "prefixes are cached by themselves"},
  {"cache_control", "object", &read_nothing, "the same"},
};

/// Before anything else of the part is looked at: "image_url" is refused for its type and not for its members.
expected<void> check_part_type(const place& at, std::string_view other_type) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object");
  const auto type = at.value.find("type");
  if (type == at.value.end())
    return fail(errc::invalid_argument, fmt::format("Field '{}.type' is missing.", at.path));
  const place at_type{at.path + ".type", *type};
  std::string name;
  if (auto read = read_into(at_type, name); !read)
    return read;
  if (name != "text" && name != other_type)
    return fail(errc::unsupported, fmt::format("Field '{}' is {}, but only parts of text are supported.",
                                               at_type.path, in_quotes(name)));
  return {};
}

} // namespace

expected<void> read_text_content(const place& at, std::string& to, std::string_view other_type) {
  if (at.value.is_string())
    return read_into(at, to);
  if (!at.value.is_array())
    return wrong_kind(at, "a string or a list of parts");
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    if (auto ok = check_part_type(here, other_type); !ok)
      return ok;
    content_part part;
    if (auto read = read_object<content_part>(here, part_rules, part); !read)
      return read;
    if (!part.has_text)
      return fail(errc::invalid_argument, fmt::format("Field '{}.text' is missing.", here.path));
    if (i > 0)
      to += '\n';
    to += part.text;
  }
  return {};
}

} // namespace troupe::serve
