#include "model/gguf/file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "model/gguf/contents.hpp"

namespace troupe::gguf {

mapping::~mapping() {
  if (address_ != nullptr)
    ::munmap(address_, size_);
}

void mapping::release(std::span<const std::byte> range) const {
  if (!of_file_ || range.empty())
    return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(range.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(range.data() + range.size()) / page * page;
  // A hint: where the system declines, the pages stay, which costs memory and nothing else.
  if (begin < end)
    (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

namespace {

class descriptor {
public:
  explicit descriptor(const char* path) : number_(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  descriptor(const descriptor&) = delete;
  ~descriptor() {
    if (number_ >= 0)
      ::close(number_);
  }
  int number() const { return number_; }

private:
  int number_;
};

std::string reason() {
  return std::strerror(errno);
}

/// A new file in its place has another inode, or is one of another time.
std::string identity_of(const struct stat& about) {
  return fmt::format("{}:{}:{}:{}.{:09}", about.st_dev, about.st_ino, about.st_size, about.st_mtim.tv_sec,
                     about.st_mtim.tv_nsec);
}

struct mapped_file {
  mapping pages;
  std::string identity;
};

expected<mapped_file> map_file(const std::filesystem::path& path) {
  const descriptor from(path.c_str());
  if (from.number() < 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      return fail(errc::not_found, fmt::format("There is no file {}. Give the path of a .gguf model.", path.native()));
    return fail(errc::io, fmt::format("Cannot open {}: {}.", path.native(), reason()));
  }
  struct stat about {};
  if (::fstat(from.number(), &about) != 0)
    return fail(errc::io, fmt::format("Cannot read the size of {}: {}.", path.native(), reason()));
  if (!S_ISREG(about.st_mode))
    return fail(errc::io, fmt::format("{} is no regular file. Give the path of a .gguf model.", path.native()));
  if (about.st_size == 0)
    return fail(errc::malformed, fmt::format("{} is empty (at byte 0). Fetch it again.", path.native()));
  const auto size = static_cast<std::size_t>(about.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, from.number(), 0);
  if (address == MAP_FAILED)
    return fail(errc::io, fmt::format("Cannot map {}: {}.", path.native(), reason()));
  return mapped_file{mapping(address, size, true), identity_of(about)};
}

expected<mapping> map_copy(std::span<const std::byte> bytes) {
  if (bytes.empty())
    return fail(errc::malformed, "The GGUF file is empty (at byte 0).");
  void* address = ::mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED)
    return fail(errc::out_of_memory, fmt::format("Cannot get {} bytes for a GGUF file: {}.", bytes.size(), reason()));
  mapping copy(address, bytes.size(), false);
  std::memcpy(address, bytes.data(), bytes.size());
  return copy;
}

/// A part of a model would look like a model whose tensors are missing: say what it is.
expected<void> refuse_split(const file& what) {
  const auto parts = what.get_or<std::uint32_t>("split.count", 1);
  if (!parts)
    return tl::unexpected(parts.error());
  if (*parts > 1)
    return fail(errc::unsupported,
                fmt::format("The file is one of {} parts of a model (split.count). Merge them into one file.", *parts));
  return {};
}

} // namespace

file::file(std::unique_ptr<const contents> what) : contents_(std::move(what)) {}

file::~file() = default;

expected<std::shared_ptr<const file>> file::make(std::unique_ptr<contents> what) {
  auto head = read_header(what->pages.bytes());
  if (!head)
    return tl::unexpected(head.error());
  what->head = std::move(*head);
  std::shared_ptr<const file> result(new file(std::move(what)));
  if (auto whole = refuse_split(*result); !whole)
    return tl::unexpected(whole.error());
  return result;
}

expected<std::shared_ptr<const file>> open(const std::filesystem::path& path) {
  auto mapped = map_file(path);
  if (!mapped)
    return tl::unexpected(mapped.error());
  auto what = std::make_unique<file::contents>();
  what->path = path;
  what->identity = std::move(mapped->identity);
  what->pages = std::move(mapped->pages);
  auto result = file::make(std::move(what));
  if (!result)
    return fail(result.error().code, fmt::format("{}: {}", path.native(), result.error().message));
  return result;
}

expected<std::shared_ptr<const file>> parse(std::span<const std::byte> bytes) {
  auto pages = map_copy(bytes);
  if (!pages)
    return tl::unexpected(pages.error());
  auto what = std::make_unique<file::contents>();
  what->pages = std::move(*pages);
  return file::make(std::move(what));
}

std::span<const tensor> file::tensors() const {
  return contents_->head.tensors;
}

const tensor* file::find_tensor(std::string_view name) const {
  const auto& index = contents_->head.by_name;
  const auto& tensors = contents_->head.tensors;
  const auto found = std::lower_bound(index.begin(), index.end(), name,
                                      [&](auto i, std::string_view wanted) { return tensors[i].name < wanted; });
  return found != index.end() && tensors[*found].name == name ? &tensors[*found] : nullptr;
}

const std::filesystem::path& file::path() const {
  return contents_->path;
}

const std::string& file::identity() const {
  return contents_->identity;
}

std::uint64_t file::size() const {
  return contents_->pages.bytes().size();
}

std::span<const std::byte> file::bytes() const {
  return contents_->pages.bytes();
}

std::uint64_t file::alignment() const {
  return contents_->head.alignment;
}

std::uint64_t file::data_offset() const {
  return contents_->head.data_offset;
}

void file::release_pages() const {
  contents_->pages.release(contents_->pages.bytes());
}

void file::release_pages(const tensor& which) const {
  contents_->pages.release(which.data);
}

} // namespace troupe::gguf
