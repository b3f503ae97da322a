#include "gpu/shim/global_shadow.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

namespace troupe::gpu::shim {

global_shadow::global_shadow(std::size_t bytes) : granules_(bytes / granule) {
  void* at = ::mmap(nullptr, granules_ * sizeof(state), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw std::bad_alloc();
  states_ = static_cast<state*>(at);
}

global_shadow::~global_shadow() {
  ::munmap(states_, granules_ * sizeof(state));
}

void global_shadow::begin_block(index3 block, std::uint32_t interval) {
  if (std::exchange(launch_begins_, false)) {
    launch_began_ = interval;
    blocks_.clear();
    releases_.clear();
  }
  block_began_ = interval;
  blocks_.emplace_back(interval, block);
  fences_.clear();
  atomics_.clear();
  acquired_.clear();
}

std::string global_shadow::place_of(std::uint32_t interval) const {
  auto found = std::upper_bound(blocks_.begin(), blocks_.end(), interval,
                                [](std::uint32_t value, const auto& each) { return value < each.first; });
  const auto& block = (--found)->second;
  return fmt::format("block {}, {}, {}", block.x, block.y, block.z);
}

std::string global_shadow::race(const use& before, const char* did, moment now, const char* does) const {
  if (is_of_block(before))
    return fmt::format("was {} by thread {} and is {} by thread {}, with no barrier between", did,
                       static_cast<unsigned>(before.thread), does, now.thread);
  return fmt::format("was {} by thread {} of {} and is {} by thread {} of another block of the launch", did,
                     static_cast<unsigned>(before.thread), place_of(before.interval), does, now.thread);
}

bool global_shadow::is_acquired(const use& before, moment now) const {
  const auto then = moment_of(before);
  return std::any_of(acquired_.begin(), acquired_.end(), [&](const acquisition& each) {
    if (unordered(each.when, now))
      return false;
    if (is_of_block(before)) // One of several; the others' are taken for released.
      return true;
    const auto& released = releases_.at(each.at);
    return std::any_of(
      released.begin(), released.begin() + static_cast<std::ptrdiff_t>(each.releases), [&](const release& one) {
        return one.block_began <= then.interval && then.interval <= one.fence.interval && !unordered(then, one.fence);
      });
  });
}

bool global_shadow::conflicts(const use& before, moment now) const {
  if (!is_of_block(before) || before.several_blocks)
    return !is_acquired(before, now);
  if (before.interval != now.interval)
    return false;
  if (before.several_warps || unordered(moment_of(before), now))
    return true;
  return before.several && before.thread / 32 == now.thread / 32 &&
         before.warp_interval == static_cast<std::uint16_t>(now.warp_interval);
}

std::string global_shadow::read(std::size_t offset, std::size_t bytes, moment now) {
  const auto end = (offset + bytes - 1) / granule;
  const std::uint16_t mask = bytes > 1 ? 3 : 1u << offset % granule;
  const auto warp_interval = static_cast<std::uint16_t>(now.warp_interval);
  for (auto i = offset / granule; i <= end; ++i) {
    auto& [writer, reader] = states_[i];
    if (is_of_launch(writer) && (writer.bytes & mask) != 0 && conflicts(writer, now))
      return race(writer, "written", now, "read");
    use next{now.interval, warp_interval, static_cast<std::uint16_t>(now.thread & 1023), mask, 0, 0, 0, 0};
    if (is_of_launch(reader) && (reader.bytes & mask) != 0) {
      next.several_blocks = reader.several_blocks || !is_of_block(reader);
      if (reader.interval == now.interval) {
        next.several_warps = reader.several_warps || reader.thread / 32 != now.thread / 32;
        next.several = reader.warp_interval == warp_interval && (reader.several || reader.thread != now.thread);
      }
    }
    reader = next;
  }
  return {};
}

std::string global_shadow::write(std::size_t offset, std::size_t bytes, moment now, bool atomic) {
  const auto end = (offset + bytes - 1) / granule;
  const std::uint16_t mask = bytes > 1 ? 3 : 1u << offset % granule;
  const auto warp_interval = static_cast<std::uint16_t>(now.warp_interval);
  for (auto i = offset / granule; i <= end; ++i) {
    auto& [writer, reader] = states_[i];
    use next{now.interval, warp_interval, static_cast<std::uint16_t>(now.thread & 1023), mask, atomic, 0, 0, 0};
    if (is_of_launch(writer) && (writer.bytes & mask) != 0) {
      if (atomic && writer.atomic) {
        next.several_blocks = writer.several_blocks || !is_of_block(writer);
        if (writer.interval == now.interval) {
          next.several_warps = writer.several_warps || writer.thread / 32 != now.thread / 32;
          next.several = writer.warp_interval == warp_interval && (writer.several || writer.thread != now.thread);
        }
      } else if (conflicts(writer, now)) {
        return race(writer, "written", now, atomic ? "added to" : "written");
      }
    }
    if (is_of_launch(reader) && (reader.bytes & mask) != 0 && conflicts(reader, now))
      return race(reader, "read", now, atomic ? "added to" : "written");
    writer = next;
  }
  if (atomic)
    note_atomic(offset / granule, now);
  return {};
}

void global_shadow::note_atomic(std::size_t at, moment now) {
  if (const auto there = releases_.find(at); there != releases_.end())
    atomics_.push_back({at, there->second.size(), now});
  if (now.thread >= fences_.size() || fences_[now.thread].interval < block_began_)
    return;
  const auto& fence = fences_[now.thread];
  auto& own = releases_[at];
  own.push_back({fence, block_began_});
  // What it has acquired elsewhere is released here, too.
  for (const auto& each : acquired_)
    if (each.at != at && !unordered(each.when, fence)) {
      const auto others = releases_.at(each.at);
      auto& here = releases_[at];
      here.insert(here.end(), others.begin(), others.begin() + static_cast<std::ptrdiff_t>(each.releases));
    }
}

void global_shadow::fence(moment now) {
  fences_.resize(std::max<std::size_t>(fences_.size(), now.thread + std::size_t{1}));
  fences_[now.thread] = now;
  std::erase_if(atomics_, [&](acquisition& each) {
    if (each.when.thread != now.thread)
      return false;
    acquired_.push_back({each.at, each.releases, now});
    return true;
  });
}

} // namespace troupe::gpu::shim
