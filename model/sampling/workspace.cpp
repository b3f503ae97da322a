#include "model/sampling/workspace.hpp"

#include "model/sampling/noise.hpp"

namespace troupe {

sampling_workspace::sampling_workspace(std::uint32_t vocabulary, sampling::vectors vectors)
    : kernels(&sampling::kernels_for(vectors)), row(vocabulary) {
  const auto blocks = sampling::blocks_of(vocabulary), padded = blocks * sampling::block_tokens;
  block_largest.resize(blocks);
  block_weights.resize(blocks);
  mixed.resize(padded);
  for (std::size_t i = 0; i < padded; ++i)
    mixed[i] = mix(i);
  kept.values.resize(padded);
  kept.ids.resize(padded);
  kept.weights.resize(padded);
  kept_mixed.resize(padded);
}

} // namespace troupe
