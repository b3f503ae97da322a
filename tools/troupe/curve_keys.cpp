// `troupe keygen`, and the files that it writes.
#include "tools/troupe/curve_keys.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <zmq.h>

#include "tools/troupe/options.hpp"

namespace troupe::cli {

namespace {

using std::filesystem::path;

const error no_curve{errc::unsupported, "This libzmq has no CURVE: it was built without libsodium."};

expected<std::vector<std::string>> read_keys(const path& file, const std::string& option) {
  std::ifstream in(file, std::ios::binary);
  std::string text(max_key_file_bytes + 1, '\0');
  if (!in || (in.read(text.data(), static_cast<std::streamsize>(text.size())), in.bad()))
    return fail(errc::io, option + " " + file.string() + ": " + std::strerror(errno) + ".");
  text.resize(static_cast<std::size_t>(in.gcount()));
  std::vector<std::string> keys;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::string key;
    if (!(std::istringstream(line) >> key))
      continue;
    if (!is_curve_key(key)) // It is not repeated: it may be a secret that is almost one.
      return fail(errc::invalid_argument,
                  option + " " + file.string() + ": line " + std::to_string(keys.size() + 1) +
                    " of its keys is no CURVE key of 40 characters (Z85). `troupe keygen` makes "
                    "them.");
    keys.push_back(std::move(key));
  }
  if (text.size() > max_key_file_bytes || keys.size() > max_curve_clients)
    return fail(errc::limit_exceeded, option + " " + file.string() + " has more than " +
                                        std::to_string(max_curve_clients) + " keys, or more than 1 MiB.");
  if (keys.empty())
    return fail(errc::invalid_argument, option + " " + file.string() + " has no key.");
  return keys;
}

expected<std::string> only_one_of(expected<std::vector<std::string>> keys, const path& file,
                                  const std::string& option) {
  if (!keys)
    return tl::unexpected(keys.error());
  if (keys->size() > 1)
    return fail(errc::invalid_argument, option + " " + file.string() + " has several keys, but one is wanted.");
  return std::move(keys->front());
}

/// For its owner alone, and never in place of another file.
expected<void> write_key(const path& file, const std::string& key) {
  const int out = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const auto line = key + "\n";
  const bool written = out >= 0 && ::write(out, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int problem = errno;
  if (out >= 0)
    ::close(out);
  if (!written)
    return fail(errc::io, "Cannot write " + file.string() + ": " + std::strerror(problem) + ". Choose another name.");
  return {};
}

} // namespace

expected<std::string> read_public_key(const path& file, const std::string& option) {
  return only_one_of(read_keys(file, option), file, option);
}

expected<std::string> read_secret_key(const path& file, const std::string& option) {
  struct stat what {};
  if (::stat(file.c_str(), &what) == 0 && (what.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return fail(errc::invalid_argument, option + " " + file.string() +
                                          ": others may open this file, so that it keeps no secret: chmod 600 it.");
  return only_one_of(read_keys(file, option), file, option);
}

expected<std::vector<std::string>> read_public_keys(const path& file, const std::string& option) {
  return read_keys(file, option);
}

expected<std::string> public_key_of(const std::string& secret) {
  char text[curve_key_characters + 1];
  if (zmq_curve_public(text, secret.c_str()) != 0)
    return tl::unexpected(no_curve);
  return std::string(text);
}

int keygen(const keygen_flags& flags) {
  char public_text[curve_key_characters + 1], secret_text[curve_key_characters + 1];
  if (zmq_curve_keypair(public_text, secret_text) != 0)
    return report(no_curve);
  const auto secret_file = flags.name.string() + ".key", public_file = flags.name.string() + ".pub";
  if (auto written = write_key(secret_file, secret_text); !written)
    return report(written.error());
  if (auto written = write_key(public_file, public_text); !written)
    return report(written.error());
  if (!write_stdout(secret_file + " is the secret key: it stays here.\n" + public_file +
                    " is the public one: " + public_text + "\n"))
    return report({errc::io, "Cannot write to stdout: it is closed or full."});
  return 0;
}

} // namespace troupe::cli
