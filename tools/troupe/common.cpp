#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>

#include "models.hpp" // made from tools/models.txt
#include "protocol/limits.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

namespace {

std::filesystem::path models_folder() {
  if (const char* folder = std::getenv("TROUPE_MODELS"); folder && *folder)
    return folder;
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : ".") / ".cache" / "troupe" / "models";
}

/// The file of a known name, by the manifest that tools/fetch-model reads too.
std::string file_of(const std::string& wanted, std::string& known) {
  std::istringstream manifest(models_manifest);
  for (std::string line; std::getline(manifest, line);) {
    std::istringstream fields(line);
    std::string name, package, version, file;
    if (!(fields >> name >> package >> version >> file) || name[0] == '#')
      continue;
    known += (known.empty() ? "" : ", ") + name;
    if (name == wanted)
      return file;
  }
  return {};
}

} // namespace

expected<std::filesystem::path> find_model(const std::string& name_or_path) {
  std::string known;
  const auto file = file_of(name_or_path, known);
  if (!file.empty()) {
    auto path = models_folder() / file;
    if (std::error_code problem; std::filesystem::exists(path, problem))
      return path;
    return fail(errc::not_found, "The model " + name_or_path + " is not at " + path.string() +
                                   " yet: get it with tools/fetch-model " + name_or_path + ".");
  }
  if (std::error_code problem; std::filesystem::exists(name_or_path, problem) || problem) // `open` says what is wrong
    return std::filesystem::path(name_or_path);
  return fail(errc::not_found, "There is no file " + name_or_path + ", and no model of this name is known (known: " +
                                 known + "). Give the path of a GGUF file.");
}

std::uint32_t kv_tokens_of(const engine_flags& flags, std::uint32_t context_length) {
  return flags.kv_tokens ? flags.kv_tokens : std::clamp(context_length, least_kv_tokens, most_kv_tokens);
}

expected<std::shared_ptr<const gguf::file>> open_model(const std::string& name_or_path) {
  auto path = find_model(name_or_path);
  if (!path)
    return tl::unexpected(path.error());
  return gguf::open(*path);
}

expected<std::string> read_stdin() {
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const auto got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got == 0)
      return text;
    if (got < 0) {
      if (errno == EINTR)
        continue;
      return fail(errc::io, std::string("Cannot read stdin: ") + std::strerror(errno) + ".");
    }
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > max_string_bytes)
      return fail(errc::limit_exceeded,
                  "The text on stdin is longer than " + std::to_string(max_string_bytes) + " bytes.");
  }
}

bool write_stdout(std::string_view text) {
  while (!text.empty()) {
    const auto put = write(STDOUT_FILENO, text.data(), text.size());
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

int report(const error& problem) {
  std::cerr << "troupe: " << problem.message << std::endl;
  return exit_failed;
}

} // namespace troupe::cli
