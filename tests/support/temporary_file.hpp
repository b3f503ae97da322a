// A file that is there while its owner lives.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace troupe::test {

class temporary_file {
public:
  /// Writes `bytes` to a new file in the system's folder for such; throws std::system_error where it cannot.
  explicit temporary_file(std::span<const std::byte> bytes, std::string_view suffix = ".gguf");
  temporary_file(temporary_file&& other) noexcept;
  temporary_file& operator=(temporary_file&&) = delete;
  ~temporary_file();

  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_; ///< Empty once moved from.
};

} // namespace troupe::test
