// `troupe keygen`, and the files that it writes.
#include "tools/troupe/curve_keys.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <sstream>

#include <zmq.h>

#include "tools/troupe/options.hpp"

namespace troupe::cli {

namespace {

using std::filesystem::path;

const error no_curve{errc::unsupported, "This libzmq has no CURVE: it was built without libsodium."};

enum class readers { any, owner_alone };

/// As much of it as a file of keys may have, and one byte more. Who may read it is asked of the file that is read, and not of
/// one that had its name before.
expected<std::string> read_text(const path& file, const std::string& option, readers may) {
  const auto failed = [&] {
    return fail(errc::io, option + " " + file.string() + ": " + std::strerror(errno) + ".");
  };
  const int in = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0)
    return failed();
  const std::unique_ptr<const int, void (*)(const int*)> closed(&in, [](const int* open) { ::close(*open); });
  struct stat what {};
  if (::fstat(in, &what) != 0)
    return failed();
  if (may == readers::owner_alone && (what.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return fail(errc::invalid_argument, option + " " + file.string() +
                                          ": others may open this file, so that it keeps no secret: chmod 600 it.");
  std::string text(max_key_file_bytes + 1, '\0');
  std::size_t size = 0;
  for (ssize_t got = 1; got > 0 && size < text.size(); size += static_cast<std::size_t>(got))
    if ((got = ::read(in, text.data() + size, text.size() - size)) < 0)
      return failed();
  text.resize(size);
  return text;
}

expected<std::vector<std::string>> read_keys(const path& file, const std::string& option,
                                             readers may = readers::any) {
  const auto text = read_text(file, option, may);
  if (!text)
    return tl::unexpected(text.error());
  std::vector<std::string> keys;
  std::istringstream lines(*text);
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
  if (text->size() > max_key_file_bytes || keys.size() > max_curve_clients)
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

/// For its owner alone, and never in place of another file; whole, or not at all.
expected<void> write_key(const path& file, const std::string& key) {
  const int out = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const auto line = key + "\n";
  if (out < 0)
    return fail(errc::io, "Cannot write " + file.string() + ": " + std::strerror(errno) + ". Choose another name.");
  const auto written = ::write(out, line.data(), line.size());
  const int problem = written < 0 ? errno : ENOSPC;
  ::close(out);
  if (written == static_cast<ssize_t>(line.size()))
    return {};
  ::unlink(file.c_str());
  return fail(errc::io, "Cannot write " + file.string() + ": " + std::strerror(problem) + ".");
}

} // namespace

expected<std::string> read_public_key(const path& file, const std::string& option) {
  return only_one_of(read_keys(file, option), file, option);
}

expected<std::string> read_secret_key(const path& file, const std::string& option) {
  return only_one_of(read_keys(file, option, readers::owner_alone), file, option);
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
  if (auto written = write_key(public_file, public_text); !written) {
    ::unlink(secret_file.c_str()); // One without the other is of no use, and in the way of the next attempt.
    return report(written.error());
  }
  if (!write_stdout(secret_file + " is the secret key: it stays here.\n" + public_file +
                    " is the public one: " + public_text + "\n"))
    return report({errc::io, "Cannot write to stdout: it is closed or full."});
  return 0;
}

} // namespace troupe::cli
