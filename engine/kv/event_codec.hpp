// Block events as the payload that subscribers of vLLM's KV events read.
//
// A payload is one msgpack array [time, events, rank]: seconds since 1970 as a float, an array of events, the rank of
// the engine. An event is a map whose "type" comes first, and from which what is not known is left out:
//   {type: "BlockStored", block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium, lora_name,
//    extra_keys, group_idx, kv_cache_spec_kind: "full_attention" or "sliding_window", kv_cache_spec_sliding_window}
//   {type: "BlockRemoved", block_hashes, medium, group_idx}
//   {type: "AllBlocksCleared"}
// (vLLM since June 2026), or, for subscribers of older versions, an array of the same values in the same order
// behind its type, with nil for what is not known.
//
// A block's hash is an unsigned integer, the first word of `block_hash`, or a binary of its 32 bytes. Only its
// equality means anything: Troupe and vLLM name the same block differently. `lora_name` is always nil. `extra_keys`
// is there where the chain has a salt and the event its first block: an array of [salt], and nil for each block after
// the first.
//
// Sources: vllm/distributed/kv_events.py in github.com/vllm-project/vllm, its pull request 42892 (maps), and the
// bytes that msgspec makes of such structs.
//
// Threads: plain functions without state. Encoding cannot fail.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kv/events.hpp"

namespace troupe {

struct kv_event_format {
  enum class encoding_type : std::uint8_t { maps, arrays };
  encoding_type encoding = encoding_type::maps;
  bool hashes_as_bytes = false;
  std::string medium = "GPU";         ///< What vLLM calls the memory of the device that computes, whatever that is.
  std::uint32_t rank = 0;             ///< Of this engine among those that share the work.
  std::vector<std::uint32_t> windows; ///< Of each KV group, in tokens; 0 or none: full attention.
};

std::string encode_events(const kv_event_format& format, double time, std::span<const kv_event> events);

/// A sequence number as it travels: 8 bytes, the most significant first.
std::array<char, 8> encode_sequence(std::uint64_t number);

/// Nothing where it has not 8 bytes.
std::optional<std::uint64_t> decode_sequence(std::string_view bytes);

/// In the place of a sequence number: a replay has ended.
inline constexpr std::uint64_t end_of_replay = ~std::uint64_t{0};

} // namespace troupe
