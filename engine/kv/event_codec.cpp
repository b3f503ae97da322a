#include "engine/kv/event_codec.hpp"

#include <bit>

#include <msgpack.hpp>

namespace troupe {

namespace {

struct string_stream {
  std::string& bytes;
  void write(const char* data, std::size_t size) { bytes.append(data, size); }
};

using packer = msgpack::packer<string_stream>;
using encoding_type = kv_event_format::encoding_type;

/// The fields of one event: by name, or by their places alone.
class event_writer {
public:
  event_writer(packer& out, encoding_type encoding, std::string_view type, std::uint32_t fields)
      : out_(out), maps_(encoding == encoding_type::maps) {
    if (maps_) {
      out_.pack_map(fields + 1);
      out_.pack("type");
    } else {
      out_.pack_array(fields + 1);
    }
    out_.pack(type);
  }

  packer& field(std::string_view name) {
    if (maps_)
      out_.pack(name);
    return out_;
  }

private:
  packer& out_;
  bool maps_;
};

void write(packer& out, const kv_event_format& format, const block_hash& hash) {
  if (!format.hashes_as_bytes) {
    out.pack(hash.words[0]);
    return;
  }
  out.pack_bin(sizeof hash.words);
  out.pack_bin_body(reinterpret_cast<const char*>(hash.words.data()), sizeof hash.words);
}

void write(packer& out, const kv_event_format& format, const std::vector<block_hash>& hashes) {
  out.pack_array(static_cast<std::uint32_t>(hashes.size()));
  for (const auto& hash : hashes)
    write(out, format, hash);
}

/// msgpack's own packer makes an integer of a whole number.
void write_float(std::string& bytes, double value) {
  const auto bits = encode_sequence(std::bit_cast<std::uint64_t>(value));
  bytes += '\xcb';
  bytes.append(bits.data(), bits.size());
}

/// What a block's hash is made of beside its tokens and its parent: the first block's salt.
void write_extra_keys(packer& out, const kv_event& event) {
  out.pack_array(static_cast<std::uint32_t>(event.hashes.size()));
  out.pack_array(1);
  out.pack(event.salt);
  for (std::size_t i = 1; i < event.hashes.size(); ++i)
    out.pack_nil();
}

void write_stored(packer& out, const kv_event_format& format, const kv_event& event) {
  const bool maps = format.encoding == encoding_type::maps;
  const auto window = event.group < format.windows.size() ? format.windows[event.group] : 0;
  event_writer to(out, format.encoding, "BlockStored", maps ? 9 + (window != 0) + !event.salt.empty() : 11);
  write(to.field("block_hashes"), format, event.hashes);
  if (event.parent)
    write(to.field("parent_block_hash"), format, *event.parent);
  else
    to.field("parent_block_hash").pack_nil();
  to.field("token_ids").pack(event.tokens);
  to.field("block_size").pack(tokens_per_block);
  if (event.adapter != 0)
    to.field("lora_id").pack(event.adapter);
  else
    to.field("lora_id").pack_nil();
  to.field("medium").pack(format.medium);
  to.field("lora_name").pack_nil();
  if (!event.salt.empty())
    write_extra_keys(to.field("extra_keys"), event);
  else if (!maps)
    out.pack_nil();
  to.field("group_idx").pack(event.group);
  to.field("kv_cache_spec_kind").pack(std::string_view(window != 0 ? "sliding_window" : "full_attention"));
  if (window != 0)
    to.field("kv_cache_spec_sliding_window").pack(window);
  else if (!maps)
    out.pack_nil();
}

void write(packer& out, const kv_event_format& format, const kv_event& event) {
  switch (event.kind) {
  case kv_event::kind_type::block_stored:
    return write_stored(out, format, event);
  case kv_event::kind_type::block_removed: {
    event_writer to(out, format.encoding, "BlockRemoved", 3);
    write(to.field("block_hashes"), format, event.hashes);
    to.field("medium").pack(format.medium);
    to.field("group_idx").pack(event.group);
    return;
  }
  case kv_event::kind_type::all_cleared:
    event_writer(out, format.encoding, "AllBlocksCleared", 0);
    return;
  }
}

} // namespace

std::string encode_events(const kv_event_format& format, double time, std::span<const kv_event> events) {
  std::string bytes;
  string_stream stream{bytes};
  packer out(stream);
  out.pack_array(3);
  write_float(bytes, time);
  out.pack_array(static_cast<std::uint32_t>(events.size()));
  for (const auto& event : events)
    write(out, format, event);
  out.pack(format.rank);
  return bytes;
}

std::array<char, 8> encode_sequence(std::uint64_t number) {
  std::array<char, 8> bytes;
  for (int i = 0; i < 8; ++i)
    bytes[static_cast<std::size_t>(i)] = static_cast<char>(number >> (56 - 8 * i));
  return bytes;
}

std::optional<std::uint64_t> decode_sequence(std::string_view bytes) {
  if (bytes.size() != 8)
    return {};
  std::uint64_t number = 0;
  for (const char byte : bytes)
    number = number << 8 | static_cast<unsigned char>(byte);
  return number;
}

} // namespace troupe
