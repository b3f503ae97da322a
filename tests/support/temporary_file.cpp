#include "tests/support/temporary_file.hpp"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>

#include <unistd.h>

namespace troupe::test {

namespace {

[[noreturn]] void give_up(int error_number, const std::string& what) {
  throw std::system_error(error_number, std::generic_category(), what);
}

void write_all(int to, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(to, bytes.data(), bytes.size());
    if (written < 0)
      give_up(errno, "writing a temporary file");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

} // namespace

temporary_file::temporary_file(std::span<const std::byte> bytes, std::string_view suffix) {
  auto name = (std::filesystem::temp_directory_path() / "troupe-test-XXXXXX").native() + std::string(suffix);
  const int to = ::mkstemps(name.data(), static_cast<int>(suffix.size()));
  if (to < 0)
    give_up(errno, "making a temporary file");
  path_ = name;
  try {
    write_all(to, bytes);
  } catch (...) {
    ::close(to);
    ::unlink(path_.c_str());
    throw;
  }
  ::close(to);
}

temporary_file::temporary_file(temporary_file&& other) noexcept : path_(std::exchange(other.path_, {})) {}

temporary_file::~temporary_file() {
  if (!path_.empty())
    ::unlink(path_.c_str());
}

} // namespace troupe::test
