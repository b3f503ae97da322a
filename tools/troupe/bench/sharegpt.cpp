#include <cerrno>
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tools/troupe/bench/datasets.hpp"

namespace troupe::cli {

namespace {

/// Nothing where it has another shape.
std::optional<std::vector<std::string>> texts_of(const nlohmann::json& entry) {
  if (!entry.is_object() || !entry.contains("conversations") || !entry["conversations"].is_array())
    return {};
  std::vector<std::string> texts;
  for (const auto& said : entry["conversations"]) {
    if (!said.is_object() || !said.contains("value") || !said["value"].is_string())
      return {};
    texts.push_back(said["value"].get<std::string>());
  }
  return texts;
}

} // namespace

expected<std::vector<std::vector<std::string>>> read_sharegpt(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail(errc::not_found, "Cannot read " + path.string() + ": " + std::strerror(errno) + ".");
  const auto list = nlohmann::json::parse(file, nullptr, false);
  if (file.bad())
    return fail(errc::io, "Cannot read " + path.string() + ": is it a file?");
  if (!list.is_array())
    return fail(errc::malformed, path.string() + " is no JSON list of conversations, as ShareGPT has it.");
  std::vector<std::vector<std::string>> found;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto texts = texts_of(list[i]);
    if (!texts)
      return fail(errc::malformed, path.string() + ": entry " + std::to_string(i) +
                                     " has no \"conversations\" of objects with a \"value\" that is text.");
    if (texts->size() >= 2)
      found.push_back(std::move(*texts));
  }
  return found;
}

} // namespace troupe::cli
