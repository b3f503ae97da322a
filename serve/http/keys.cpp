#include "serve/http/keys.hpp"

#include <fstream>
#include <string>

#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace troupe::serve {

namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  return first == text.npos ? std::string_view() : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// Calls `take` for each part that is not empty, until one is refused.
template <class Take>
expected<void> each_part(std::string_view text, char separator, Take take) {
  while (!text.empty()) {
    const auto end = text.find(separator);
    if (const auto part = trimmed(text.substr(0, end)); !part.empty())
      if (auto taken = take(part); !taken)
        return taken;
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
  }
  return {};
}

/// What follows "Bearer ", whose case does not count.
std::string_view bearer_of(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() < scheme.size())
    return {};
  for (std::size_t i = 0; i < scheme.size(); ++i)
    if ((authorization[i] | 0x20) != (scheme[i] | 0x20))
      return {};
  return trimmed(authorization.substr(scheme.size()));
}

} // namespace

expected<void> api_keys::add(std::string_view key) {
  if (key.size() > max_api_key_bytes || digests_.size() >= max_api_keys)
    return fail(errc::limit_exceeded, "There can be " + std::to_string(max_api_keys) + " API keys of " +
                                        std::to_string(max_api_key_bytes) + " bytes each at most.");
  for (unsigned char c : key)
    if (c <= ' ' || c > '~')
      return fail(errc::invalid_argument, "An API key consists of printable ASCII characters other than spaces: no "
                                          "client could send this one.");
  digests_.push_back(digest_of(key));
  return {};
}

expected<void> api_keys::add_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(max_api_key_file_bytes + 1, '\0'); // What is larger is refused, however large it is.
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (!in.is_open() || in.bad())
    return fail(errc::io, "Cannot read API keys from " + file.string() +
                            ": it must be a file with one key a line (--api-key-file).");
  if (text.size() > max_api_key_file_bytes)
    return fail(errc::limit_exceeded, "The file of API keys " + file.string() + " is larger than " +
                                        std::to_string(max_api_key_file_bytes) + " bytes.");
  const auto before = digests_.size();
  if (auto added = each_part(text, '\n', [&](std::string_view key) { return add(key); }); !added)
    return fail(added.error().code,
                "In " + file.string() + ": " + added.error().message + " There is one key a line, and nothing else.");
  if (digests_.size() == before)
    return fail(errc::invalid_argument, "There is no API key in " + file.string() + ": write one a line.");
  return {};
}

expected<void> api_keys::add_list(std::string_view list, std::string_view name) {
  const auto before = digests_.size();
  if (auto added = each_part(list, ',', [&](std::string_view key) { return add(key); }); !added)
    return fail(added.error().code, "In " + std::string(name) + ": " + added.error().message);
  if (digests_.size() == before)
    return fail(errc::invalid_argument,
                "There is no API key in " + std::string(name) + ": separate several by commas, or unset it.");
  return {};
}

bool api_keys::allow(std::string_view authorization, std::string_view api_key) const {
  if (empty())
    return true;
  const bool by_bearer = knows(bearer_of(authorization));
  const bool by_field = knows(trimmed(api_key));
  return by_bearer || by_field;
}

api_keys::digest api_keys::digest_of(std::string_view key) {
  digest result;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), result.data());
  return result;
}

bool api_keys::knows(std::string_view key) const {
  const auto given = digest_of(key); // Of an empty one, too: no key is empty.
  int found = 0;
  for (const auto& each : digests_)
    found |= CRYPTO_memcmp(each.data(), given.data(), given.size()) == 0;
  return found != 0;
}

} // namespace troupe::serve
