#include "gpu/cuda/algorithm_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace troupe::gpu::cuda {

namespace {

constexpr const char* first_words = "troupe cublaslt algorithms 1: ";

/// FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
std::uint64_t checksum_of(std::string_view text) {
  std::uint64_t sum = 0xcbf29ce484222325u;
  for (const char each : text)
    sum = (sum ^ static_cast<unsigned char>(each)) * 0x100000001b3u;
  return sum;
}

std::string line_of(const product_shape& shape, const algorithm_words& words) {
  auto line = fmt::format("{} {} {} {} {} {}", shape.rows, shape.outputs, shape.inputs, shape.stride,
                          shape.accumulates ? 1 : 0, shape.types);
  for (const auto word : words)
    line += fmt::format(" {:016x}", word);
  return line + fmt::format(" {:016x}", checksum_of(line));
}

std::optional<std::pair<product_shape, algorithm_words>> parse(const std::string& line) {
  const auto last = line.rfind(' ');
  if (last == std::string::npos || line.substr(last + 1) != fmt::format("{:016x}", checksum_of(line.substr(0, last))))
    return std::nullopt;
  std::istringstream in(line);
  product_shape shape;
  algorithm_words words{};
  int accumulates = 0;
  in >> shape.rows >> shape.outputs >> shape.inputs >> shape.stride >> accumulates >> shape.types >> std::hex;
  shape.accumulates = accumulates != 0;
  for (auto& word : words)
    in >> word;
  return in ? std::optional(std::pair(shape, words)) : std::nullopt;
}

} // namespace

algorithm_file::algorithm_file(std::filesystem::path path, std::string owner,
                               std::function<void(const std::string&)> says)
    : path_(std::move(path)), owner_(std::move(owner)), says_(std::move(says)) {
  if (!path_.empty())
    read();
}

void algorithm_file::give_up(const std::string& why) {
  says_(
    fmt::format("{}: {}. cuBLASLt is asked for its algorithms anew, and they are not kept.", path_.string(), why));
  path_.clear();
}

void algorithm_file::read() {
  std::ifstream in(path_, std::ios::binary);
  if (!in) {
    std::error_code problem;
    if (std::filesystem::exists(path_, problem))
      give_up("It cannot be read");
    return;
  }
  std::string line;
  if (!std::getline(in, line)) // Nothing is in it: another process has made it a moment ago, or one was killed then.
    return;
  if (line != first_words + owner_)
    return give_up("It is not a file of algorithms for this device and version of the library (remove it, if nothing "
                   "else needs it)");
  std::size_t damaged = 0;
  while (known_.size() < most_shapes && std::getline(in, line)) {
    ends_in_a_line_ = !in.eof();
    if (line == first_words + owner_)
      continue; // Two processes were the first at once.
    if (const auto found = parse(line))
      known_.insert_or_assign(found->first, found->second);
    else
      ++damaged;
  }
  if (damaged > 0)
    says_(fmt::format("{}: {} lines are damaged, and left out: cuBLASLt is asked anew for what they were for.",
                      path_.string(), damaged));
}

std::optional<algorithm_words> algorithm_file::find(const product_shape& shape) const {
  const auto found = known_.find(shape);
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

void algorithm_file::add(const product_shape& shape, const algorithm_words& words) {
  if (known_.size() >= most_shapes)
    return;
  known_.insert_or_assign(shape, words);
  if (path_.empty())
    return;
  std::error_code problem;
  std::filesystem::create_directories(path_.parent_path(), problem);
  const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0)
    return give_up(std::string("It cannot be written: ") + std::strerror(errno));
  auto text = line_of(shape, words) + "\n";
  if (lseek(file, 0, SEEK_END) == 0)
    text = first_words + owner_ + "\n" + text;
  else if (!ends_in_a_line_)
    text = "\n" + text;
  ends_in_a_line_ = true;
  const auto written = write(file, text.data(), text.size());
  const int reason = errno;
  close(file);
  if (written != static_cast<ssize_t>(text.size()))
    give_up(std::string("It cannot be written: ") + std::strerror(written < 0 ? reason : ENOSPC));
}

std::filesystem::path cache_folder() {
  if (const char* folder = std::getenv("XDG_CACHE_HOME"); folder && *folder == '/')
    return std::filesystem::path(folder) / "troupe";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache" / "troupe";
  return {};
}

std::filesystem::path algorithm_path(const std::filesystem::path& folder, const std::string& owner) {
  if (folder.empty())
    return {};
  std::string name;
  for (const char each : owner)
    name += std::isalnum(static_cast<unsigned char>(each)) ? each : '-';
  return folder / ("cublaslt-" + name + ".txt");
}

} // namespace troupe::gpu::cuda
