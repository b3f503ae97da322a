#include "actors/block_contents.hpp"

namespace troupe {

expected<block_contents> read_blocks(const backend& device, std::span<const block_place> places) {
  block_contents contents;
  contents.reserve(places.size());
  for (const auto& place : places) {
    auto bytes = std::make_shared<std::vector<std::byte>>(device.block_bytes(place.group));
    if (auto read = device.read_block(place.group, place.block, *bytes); !read)
      return tl::unexpected(read.error());
    contents.push_back({place, std::move(bytes)});
  }
  return contents;
}

expected<void> write_blocks(backend& device, const block_contents& contents) {
  for (const auto& [place, bytes] : contents)
    if (!bytes || bytes->size() != device.block_bytes(place.group))
      return fail(errc::internal, "A block of the KV cache came back with " +
                                    std::to_string(bytes ? bytes->size() : 0) + " bytes instead of " +
                                    std::to_string(device.block_bytes(place.group)) + ".");
  for (const auto& [place, bytes] : contents)
    if (auto written = device.write_block(place.group, place.block, *bytes); !written)
      return written;
  return {};
}

expected<block_contents> join_blocks(const std::vector<block_contents>& parts) {
  if (parts.size() == 1)
    return parts.front();
  block_contents whole;
  for (std::size_t i = 0; i < parts.front().size(); ++i) {
    auto bytes = std::make_shared<std::vector<std::byte>>();
    for (const auto& part : parts) {
      if (part.size() != parts.front().size() || part[i].place != parts.front()[i].place || !part[i].bytes)
        return fail(errc::internal, "Workers have given other blocks than they were asked for.");
      bytes->insert(bytes->end(), part[i].bytes->begin(), part[i].bytes->end());
    }
    whole.push_back({parts.front()[i].place, std::move(bytes)});
  }
  return whole;
}

expected<std::vector<block_contents>> split_blocks(const block_contents& contents,
                                                   std::span<const worker_info> workers) {
  std::vector<block_contents> parts(workers.size());
  for (const auto& [place, bytes] : contents) {
    std::uint64_t wanted = 0;
    for (const auto& worker : workers)
      wanted += worker.block_bytes.at(place.group);
    if (!bytes || bytes->size() != wanted)
      return fail(errc::internal, "A block of the KV cache came back with " +
                                    std::to_string(bytes ? bytes->size() : 0) + " bytes instead of " +
                                    std::to_string(wanted) + ".");
    auto at = bytes->begin();
    for (std::size_t i = 0; i < workers.size(); ++i) {
      const auto end = at + static_cast<std::ptrdiff_t>(workers[i].block_bytes[place.group]);
      parts[i].push_back({place, std::make_shared<const std::vector<std::byte>>(at, end)});
      at = end;
    }
  }
  return parts;
}

} // namespace troupe
