#include "actors/block_contents.hpp"

namespace troupe {

block_contents read_blocks(const backend& device, std::span<const block_place> places) {
  block_contents contents;
  contents.reserve(places.size());
  for (const auto& place : places) {
    auto bytes = std::make_shared<std::vector<std::byte>>(device.block_bytes(place.group));
    device.read_block(place.group, place.block, *bytes);
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
    device.write_block(place.group, place.block, *bytes);
  return {};
}

} // namespace troupe
