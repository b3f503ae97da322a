#include "engine/kv/disk_tier.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <tuple>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace troupe {

namespace fs = std::filesystem;

namespace {

constexpr const char* temporary_folder = "tmp";
constexpr std::uint64_t looks_per_capacity = 8; ///< After 1/8 was written, look again.

class descriptor {
public:
  explicit descriptor(int number) : number_(number) {}
  descriptor(const descriptor&) = delete;
  ~descriptor() {
    if (number_ >= 0)
      ::close(number_);
  }
  int number() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

private:
  int number_;
};

/// Over the process's limit on the size of files the system also sends a signal, which would end the process.
class no_file_size_signal {
public:
  no_file_size_signal() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  no_file_size_signal(const no_file_size_signal&) = delete;
  ~no_file_size_signal() {
    const timespec at_once{};
    sigtimedwait(&set_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

private:
  sigset_t set_, before_;
};

constexpr std::int64_t second = 1'000'000'000;

std::int64_t now() {
  timespec time;
  ::clock_gettime(CLOCK_REALTIME, &time); // Finer than the kernel's own stamp, which several blocks would share.
  return time.tv_sec * second + time.tv_nsec;
}

bool touch(int file, std::int64_t used) {
  const timespec time{used / second, used % second};
  const timespec times[2] = {time, time};
  return ::futimens(file, times) == 0;
}

bool touch(const fs::path& path, std::int64_t used) {
  const timespec time{used / second, used % second};
  const timespec times[2] = {time, time};
  return ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0;
}

bool read_all(int file, std::span<std::byte> to) {
  while (!to.empty()) {
    const auto got = ::read(file, to.data(), to.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    to = to.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

/// 0, or the system's reason.
int write_all(int file, std::span<const std::byte> first, std::span<const std::byte> second) {
  const no_file_size_signal guard;
  while (!first.empty() || !second.empty()) {
    const iovec parts[] = {{const_cast<std::byte*>(first.data()), first.size()},
                           {const_cast<std::byte*>(second.data()), second.size()}};
    const auto put = ::writev(file, parts, 2);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return errno;
    const auto of_first = std::min(first.size(), static_cast<std::size_t>(put));
    first = first.subspan(of_first);
    second = second.subspan(static_cast<std::size_t>(put) - of_first);
  }
  return 0;
}

struct found_file {
  std::string key;
  std::uint64_t bytes;
  std::int64_t used;
};

/// Calls `take(name, about)` for what is in a folder; a folder that cannot be read has nothing in it.
template <class Take>
void each_in(const fs::path& folder, Take take) {
  std::error_code none;
  for (fs::directory_iterator at(folder, none), end; !none && at != end; at.increment(none)) {
    struct stat about;
    if (::lstat(at->path().c_str(), &about) == 0)
      take(at->path().filename().string(), about);
  }
}

std::int64_t used_at(const struct stat& about) {
  return std::int64_t{about.st_mtim.tv_sec} * second + about.st_mtim.tv_nsec;
}

std::int64_t age_of(const struct stat& about) {
  return (now() - used_at(about)) / second;
}

/// The blocks of one fingerprint; removes what a dead server has left.
void find_blocks(const fs::path& folder, const std::string& name, std::vector<found_file>& found) {
  each_in(folder / name, [&](const std::string& part, const struct stat& about) {
    if (!S_ISDIR(about.st_mode))
      return;
    each_in(folder / name / part, [&](const std::string& file, const struct stat& about) {
      if (!S_ISREG(about.st_mode))
        return;
      if (part == temporary_folder) {
        if (age_of(about) > disk_tier::leftover_seconds)
          ::unlink((folder / name / part / file).c_str());
      } else if (hash_of_file_name(file) && file.starts_with(part) && part.size() == 2) {
        found.push_back({name + "/" + part + "/" + file, static_cast<std::uint64_t>(about.st_size), used_at(about)});
      }
    });
  });
}

} // namespace

disk_tier::disk_tier(disk_tier_options options)
    : options_(std::move(options)), fingerprint_(hash_of(options_.fingerprint)),
      own_folder_(folder_name(fingerprint_)) {
  counts_.name = name();
  counts_.capacity = options_.capacity;
}

expected<std::unique_ptr<disk_tier>> disk_tier::open(disk_tier_options options) {
  const auto folder = options.folder.string();
  std::unique_ptr<disk_tier> tier(new disk_tier(std::move(options)));
  const auto& sizes = tier->options_.fingerprint.block_bytes;
  if (sizes.empty())
    return fail(errc::invalid_argument, "A KV cache on disk must be told the sizes of blocks.");
  if (const auto largest = block_header_bytes + std::ranges::max(sizes); tier->options_.capacity < largest)
    return fail(errc::invalid_argument, "A KV cache of " + std::to_string(tier->options_.capacity) +
                                          " bytes on disk does not hold one block, which takes " +
                                          std::to_string(largest) + ". Give it more.");
  const auto temporary = tier->options_.folder / tier->own_folder_ / temporary_folder;
  std::error_code problem;
  const bool is_new = !fs::exists(tier->options_.folder, problem);
  fs::create_directories(temporary, problem);
  if (problem)
    return fail(errc::io, "Cannot keep a KV cache in " + folder + ": " + problem.message() + ".");
  if (is_new) // What people have asked is in there.
    fs::permissions(tier->options_.folder, fs::perms::owner_all, problem);
  if (::access(temporary.c_str(), R_OK | W_OK | X_OK) != 0)
    return fail(errc::io, "Cannot write to the KV cache in " + folder + ": " + std::strerror(errno) + ".");
  tier->read_folder();
  tier_saved none;
  if (!tier->make_room(0, nullptr, none))
    return tl::unexpected(tier->problem("remove a block from", errno));
  return tier;
}

bool disk_tier::is_file_size(std::uint64_t bytes) const {
  return std::ranges::any_of(options_.fingerprint.block_bytes,
                             [&](std::uint64_t block) { return bytes == block_header_bytes + block; });
}

void disk_tier::read_folder() {
  std::vector<found_file> found;
  each_in(options_.folder, [&](const std::string& name, const struct stat& about) {
    if (S_ISDIR(about.st_mode) && is_folder_name(name))
      find_blocks(options_.folder, name, found);
  });
  std::ranges::sort(found, [](const found_file& a, const found_file& b) {
    return std::tie(a.used, a.key) < std::tie(b.used, b.key);
  });
  files_.clear();
  written_ = 0;
  for (const auto& file : found) {
    if (is_own(file.key) && !is_file_size(file.bytes)) {
      ++counts_.damaged;
      if (remove_file(file.key))
        continue;
    }
    files_.put(file.key, file.bytes, file.used);
  }
}

/// Learns what other servers have done to the folder.
void disk_tier::look_again(std::vector<block_hash>& gone) {
  const auto before = list();
  read_folder();
  for (const auto& hash : before)
    if (!contains(hash))
      gone.push_back(hash);
}

std::vector<block_hash> disk_tier::list() const {
  std::vector<block_hash> result;
  for (const auto& file : files_.entries())
    if (is_own(file.key))
      result.push_back(*hash_of_file_name(std::string_view(file.key).substr(file.key.rfind('/') + 1)));
  return result;
}

tier_saved disk_tier::save(const tier_block& block) {
  const auto bytes = block_header_bytes + block.bytes->size();
  assert(is_file_size(bytes));
  tier_saved result;
  const auto file = key_of(block.hash);
  const auto above = block.parent ? key_of(*block.parent) : key();
  const auto* parent = block.parent ? &above : nullptr;
  if (files_.contains(file) && touch_under(file, parent)) {
    result.saved = true;
    return result;
  }
  files_.remove(file); // Another server has removed it.
  if (!counts_.accepts && options_.now() < again_at_)
    return result;
  if (written_ + bytes > options_.capacity / looks_per_capacity)
    look_again(result.evicted);
  if (!make_room(bytes, parent, result))
    return result;
  const auto used = stamp_under(parent);
  if (const int why = write_file(file, header_of(fingerprint_, block.hash, *block.bytes), *block.bytes, used)) {
    stop("write to", why, result);
    return result;
  }
  written_ += bytes;
  files_.put(file, bytes, used, parent);
  ++counts_.saved;
  counts_.accepts = true;
  result.saved = true;
  std::erase(result.evicted, block.hash);
  return result;
}

/// Evicts until so many bytes more are within the capacity. False: something could not be removed, or it is the
/// parent's turn, and nothing that is older than it is left.
bool disk_tier::make_room(std::uint64_t bytes, const key* parent, tier_saved& result) {
  while (files_.bytes() + bytes > options_.capacity) {
    const auto oldest = files_.oldest().key;
    if (parent && oldest == *parent)
      return false;
    if (!remove_file(oldest)) {
      stop("remove a block from", errno, result);
      return false;
    }
    ++counts_.evicted;
    if (is_own(oldest))
      result.evicted.push_back(*hash_of_file_name(std::string_view(oldest).substr(oldest.rfind('/') + 1)));
    files_.remove(oldest);
  }
  return true;
}

disk_tier::stamp disk_tier::stamp_under(const key* parent) const {
  const auto* above = parent ? files_.find(*parent) : nullptr;
  return above ? above->value - 1 : now();
}

/// False: the file cannot be touched; it may be gone.
bool disk_tier::touch_under(const key& file, const key* parent) {
  const auto used = stamp_under(parent);
  if (!touch(options_.folder / file, used))
    return false;
  files_.use(file, parent)->value = used;
  return true;
}

bool disk_tier::remove_file(const key& file) {
  return ::unlink((options_.folder / file).c_str()) == 0 || errno == ENOENT;
}

error disk_tier::problem(const std::string& doing, int why) const {
  return {errc::io,
          "Cannot " + doing + " the KV cache in " + options_.folder.string() + ": " + std::strerror(why) + "."};
}

/// Until the pause is over. It is said when it begins, and not when it begins again.
void disk_tier::stop(const std::string& doing, int why, tier_saved& result) {
  again_at_ = options_.now() + options_.pause;
  if (!std::exchange(counts_.accepts, false))
    return;
  result.problem = problem(doing, why);
  result.problem->message += " It is tried again every " + std::to_string(options_.pause.count()) + " s.";
}

/// Beside its place first, then renamed. 0, or the system's reason.
int disk_tier::write_file(const key& file, const block_header& header, std::span<const std::byte> contents,
                          stamp used) {
  const auto place = options_.folder / file;
  const auto temporary_in = options_.folder / own_folder_ / temporary_folder;
  std::error_code problem;
  fs::create_directories(place.parent_path(), problem);
  fs::create_directories(temporary_in, problem); // Somebody may have emptied the folder since.
  static std::atomic<std::uint64_t> count;       // Several engines of this process may share the folder,
  // and servers on two machines may have the same process id.
  const auto temporary =
    temporary_in / (std::to_string(::getpid()) + "-" + std::to_string(now()) + "-" + std::to_string(++count));
  int why = 0;
  {
    const descriptor to(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!to)
      return errno;
    why = write_all(to.number(), header, contents);
    touch(to.number(), used);
  }
  if (why == 0 && ::rename(temporary.c_str(), place.c_str()) != 0)
    why = errno;
  if (why != 0)
    ::unlink(temporary.c_str());
  return why;
}

expected<shared_bytes> disk_tier::load(const block_hash& hash) {
  const auto file = key_of(hash);
  const auto path = options_.folder / file;
  const auto missed = [&](bool damaged) {
    files_.remove(file);
    ++counts_.missed;
    if (!damaged)
      return fail(errc::not_found, "The block is not in the disk tier.");
    ++counts_.damaged;
    ::unlink(path.c_str());
    return fail(errc::not_found, "The block's file was damaged and is removed.");
  };
  const descriptor from(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!from)
    return missed(false);
  struct stat about;
  if (::fstat(from.number(), &about) != 0 || !S_ISREG(about.st_mode))
    return missed(false);
  const auto bytes = static_cast<std::uint64_t>(about.st_size);
  if (!is_file_size(bytes))
    return missed(true);
  block_header header;
  auto contents = std::make_shared<std::vector<std::byte>>(bytes - block_header_bytes);
  if (!read_all(from.number(), header) || !read_all(from.number(), *contents) ||
      header != header_of(fingerprint_, hash, *contents))
    return missed(true);
  const auto used = now();
  touch(from.number(), used);
  files_.put(file, bytes, used);
  ++counts_.loaded;
  return shared_bytes(std::move(contents));
}

void disk_tier::use(const block_hash& hash) {
  const auto file = key_of(hash);
  if (files_.contains(file) && !touch_under(file, nullptr))
    files_.remove(file);
}

void disk_tier::drop(const block_hash& hash) {
  const auto file = key_of(hash);
  remove_file(file);
  files_.remove(file);
}

tier_counts disk_tier::counts() const {
  auto result = counts_;
  result.bytes = files_.bytes();
  result.blocks = static_cast<std::uint64_t>(
    std::ranges::count_if(files_.entries(), [&](const auto& file) { return is_own(file.key); }));
  return result;
}

expected<void> disk_tier::check_integrity() const {
  return files_.check_integrity();
}

} // namespace troupe
