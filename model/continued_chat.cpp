#include "model/continued_chat.hpp"

#include <string_view>

#include <nlohmann/json.hpp>

namespace troupe {
namespace {

constexpr std::string_view space = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(space);
  return first == text.npos ? std::string_view() : text.substr(first, text.find_last_not_of(space) + 1 - first);
}

} // namespace

expected<text_parts> up_to_final_content(text_parts rendered, const nlohmann::ordered_json& messages) {
  const auto& last = messages.back();
  if (last.value("role", nlohmann::ordered_json()) != "assistant" ||
      !last.value("content", nlohmann::ordered_json()).is_string())
    return fail(errc::invalid_argument, "Only a last message of the assistant with text can be gone on with.");
  const std::string_view content = last["content"].get_ref<const std::string&>();
  const auto text = trimmed(content);
  if (text.empty())
    return fail(errc::invalid_argument, "The last message is empty: there is nothing to go on with.");
  const auto behind = content.substr(content.find(text) + text.size());
  for (; !rendered.empty(); rendered.pop_back()) { // From behind: the same may have been said before.
    auto& part = rendered.back();
    const auto at = part.trusted ? std::string::npos : part.text.rfind(text);
    if (at == std::string::npos)
      continue;
    auto end = at + text.size();
    if (std::string_view(part.text).substr(end).starts_with(behind))
      end += behind.size();
    part.text.resize(end);
    return rendered;
  }
  return fail(errc::unsupported,
              "This model's template does not show the last message as it is, so that it cannot be gone on "
              "with.");
}

} // namespace troupe
