#include "model/sampling/workspace.hpp"

#include <algorithm>

#include "model/sampling/noise.hpp"

namespace troupe {

sampling_workspace::sampling_workspace(std::uint32_t vocabulary, sampling::vectors vectors)
    : kernels(&sampling::kernels_for(vectors)), row(vocabulary) {
  const auto blocks = sampling::blocks_of(vocabulary), padded = blocks * sampling::block_tokens;
  block_largest.resize(blocks);
  block_weights.resize(blocks + sampling::search_padding);
  mixed_blocks.resize(blocks + sampling::search_padding);
  for (std::size_t i = 0; i < blocks; ++i)
    mixed_blocks[i] = mix_block(i);
  kept.values.resize(padded);
  kept.ids.resize(padded);
  kept.weights.resize(padded);
  kept_weights.resize(padded + sampling::search_padding);
  kept_mixed.resize(padded + sampling::search_padding);
}

std::size_t sampling_workspace::find_largest(std::span<const float> values, float largest) const {
  const auto from =
    kernels->find(block_largest.data(), sampling::blocks_of(values.size()), largest) * sampling::block_tokens;
  const auto block = values.subspan(from).first(std::min(sampling::block_tokens, values.size() - from));
  return from + kernels->find(block.data(), block.size(), largest);
}

} // namespace troupe
