// The fields of each message in their order, once for both ways. Each function takes all members of its type apart by
// a structured binding, so a member that is added to the type does not compile until it is here.
#include "actors/wire.hpp"

#include <string>
#include <type_traits>
#include <utility>

#include "actors/byte_stream.hpp"

namespace troupe {

namespace detail {

/// Const where it is written.
template <class T, class Type>
concept is = std::same_as<std::remove_const_t<T>, Type>;

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

/// Each by its type; an aggregate by its own function below.
template <class Wire, class... T>
void all(Wire& wire, T&... fields);

template <class Wire, class T>
void field(Wire& wire, T& value) {
  if constexpr (is<T, bool>)
    wire.flags(value);
  else if constexpr (std::integral<T>)
    wire.number(value);
  else if constexpr (std::floating_point<std::remove_const_t<T>>)
    wire.bits(value);
  else if constexpr (is<T, std::string>)
    wire.text(value);
  else if constexpr (is_vector<std::remove_const_t<T>>)
    wire.list(value, [&](auto& one, const auto&) { field(wire, one); });
  else
    parts(wire, value);
}

template <class Wire, class... T>
void all(Wire& wire, T&... fields) {
  (field(wire, fields), ...);
}

/// Blocks of a table are often neighbours.
void block_ids(auto& wire, auto& blocks) {
  wire.list(blocks, [&](auto& one, block_id before) { wire.near(one, before + 1); });
}

void parts(auto& wire, is<error> auto& value) {
  auto& [code, message, retry_after_ms] = value;
  auto number = static_cast<std::uint16_t>(code);
  all(wire, number, message, retry_after_ms);
  if constexpr (std::remove_reference_t<decltype(wire)>::reads) {
    code = static_cast<errc>(number);
    if (code != errc::internal && to_string(code) == to_string(errc::internal))
      wire.refuse("nobody knows this kind of error");
  }
}

void parts(auto& wire, is<token_bias> auto& value) {
  auto& [token, bias] = value;
  all(wire, token, bias);
}

void parts(auto& wire, is<sequence_sampling> auto& value) {
  auto& [temperature, seed, choice, top_k, top_p, min_p, typical_p, repetition_penalty, presence_penalty,
         frequency_penalty, min_tokens, logprobs, prompt_logprobs, pooling, logit_bias, allowed_tokens, bad_words,
         end_tokens] = value;
  all(wire, temperature, seed, choice, top_k, top_p, min_p, typical_p, repetition_penalty, presence_penalty,
      frequency_penalty, min_tokens, logprobs, prompt_logprobs);
  auto how = static_cast<std::uint8_t>(pooling);
  all(wire, how, logit_bias, allowed_tokens, bad_words, end_tokens);
  if constexpr (std::remove_reference_t<decltype(wire)>::reads) {
    pooling = static_cast<troupe::pooling>(how);
    if (how > static_cast<std::uint8_t>(troupe::pooling::mean))
      wire.refuse("nobody knows this kind of pooling");
  }
}

void joined_after(auto& wire, is<sequence_joined> auto& value, const sequence_joined& before) {
  auto& [slot, sequence, sampling, prompt_tokens, history, mask, adapter] = value;
  const auto own = [&](auto& it) { field(wire, it); };
  wire.near(slot, before.slot + 1);
  wire.near(sequence, before.sequence + 1);
  wire.shared(sampling, before.sampling, own);
  wire.number(prompt_tokens);
  wire.shared(history, before.history, own);
  all(wire, mask, adapter);
}

void appended_after(auto& wire, is<blocks_appended> auto& value, const blocks_appended& before) {
  auto& [slot, group, offset, count] = value;
  bool same_group = group == before.group, in_order = offset == before.offset + before.count, one = count == 1;
  wire.flags(same_group, in_order, one);
  wire.near(slot, before.slot + 1);
  wire.unless(same_group, group, before.group);
  wire.unless(in_order, offset, before.offset + before.count);
  wire.unless(one, count, 1);
}

void parts(auto& wire, is<block_copied> auto& value) {
  auto& [group, from, to] = value;
  all(wire, group, from, to);
}

/// A decode is its flags and its position, where slots are in order.
void rows_after(auto& wire, is<step_rows> auto& value, const step_rows& before) {
  auto& [slot, first_position, count, offset, drafts, holds_last, samples, prompt_logprobs] = value;
  bool next_slot = slot == before.slot + 1, one = count == 1, no_drafts = drafts == 0;
  bool in_order = offset == before.offset + before.given();
  wire.flags(holds_last, samples, prompt_logprobs, next_slot, one, no_drafts, in_order);
  wire.number(first_position);
  wire.unless(next_slot, slot, before.slot + 1);
  wire.unless(one, count, 1);
  wire.unless(no_drafts, drafts, 0);
  wire.unless(in_order, offset, before.offset + before.given());
}

void parts(auto& wire, is<step_changes> auto& value) {
  auto& [epoch, step, snapshot, left, joined, appended, copied, rows, tokens, blocks] = value;
  all(wire, epoch, step, snapshot, left);
  wire.list(joined, [&](auto& one, const auto& before) { joined_after(wire, one, before); });
  wire.list(appended, [&](auto& one, const auto& before) { appended_after(wire, one, before); });
  field(wire, copied);
  wire.list(rows, [&](auto& one, const auto& before) { rows_after(wire, one, before); });
  field(wire, tokens);
  block_ids(wire, blocks);
}

void parts(auto& wire, is<token_logprob::alternative> auto& value) {
  auto& [token, logprob] = value;
  all(wire, token, logprob);
}

void parts(auto& wire, is<token_logprob> auto& value) {
  auto& [token, logprob, rank, top] = value;
  all(wire, token, logprob, rank, top);
}

void parts(auto& wire, is<row_logprobs> auto& value) {
  auto& [row, position, tokens] = value;
  all(wire, row, position, tokens);
}

void parts(auto& wire, is<row_embedding> auto& value) {
  auto& [row, values] = value;
  all(wire, row, values);
}

void parts(auto& wire, is<row_failure> auto& value) {
  auto& [row, why] = value;
  all(wire, row, why);
}

void parts(auto& wire, is<step_result> auto& value) {
  auto& [epoch, step, sampled, accepted, logprobs, prompt_logprobs, embeddings, failures, compute_ms] = value;
  all(wire, epoch, step, sampled, accepted, logprobs, prompt_logprobs, embeddings, failures, compute_ms);
}

void parts(auto& wire, is<step_tokens> auto& value) {
  auto& [epoch, step, sampled, accepted] = value;
  all(wire, epoch, step, sampled, accepted);
}

void parts(auto& wire, is<memory_account> auto& value) {
  auto& [weight_bytes, kv_bytes, workspace_bytes] = value;
  all(wire, weight_bytes, kv_bytes, workspace_bytes);
}

void parts(auto& wire, is<worker_info> auto& value) {
  auto& [device, backend, memory, kv_type, block_bytes, fingerprint] = value;
  all(wire, device, backend, memory, kv_type, block_bytes, fingerprint);
}

void parts(auto& wire, is<block_place> auto& value) {
  auto& [group, block] = value;
  all(wire, group, block);
}

void parts(auto& wire, is<block_content> auto& value) {
  auto& [place, bytes] = value;
  field(wire, place);
  wire.shared(bytes, shared_bytes{}, [&](auto& it) { wire.blob(it); });
}

void parts(auto&, is<nothing> auto&) {}

template <class T>
void parts(byte_writer& wire, const expected<T>& value) {
  const bool good = value.has_value();
  wire.flags(good);
  if (good)
    field(wire, *value);
  else
    field(wire, value.error());
}

template <class T>
void parts(byte_reader& wire, expected<T>& value) {
  bool good = false;
  wire.flags(good);
  if (good) {
    value = T{};
    field(wire, *value);
  } else {
    error why;
    field(wire, why);
    value = tl::unexpected(std::move(why));
  }
}

/// The first byte of each message.
template <class T>
constexpr std::uint8_t kind = 0;
template <>
constexpr std::uint8_t kind<step_changes> = 1;
template <>
constexpr std::uint8_t kind<step_outcome> = 2;
template <>
constexpr std::uint8_t kind<expected<worker_info>> = 3;
template <>
constexpr std::uint8_t kind<step_tokens> = 8;
template <>
constexpr std::uint8_t kind<std::vector<block_place>> = 4;
template <>
constexpr std::uint8_t kind<block_contents> = 5;
template <>
constexpr std::uint8_t kind<expected<block_contents>> = 6;
template <>
constexpr std::uint8_t kind<expected<nothing>> = 7;

std::size_t likely_size(const auto&) {
  return 256;
}
std::size_t likely_size(const step_changes& step) {
  return 64 + 64 * step.joined.size() + 5 * (step.appended.size() + step.rows.size() + step.tokens.size()) +
         4 * step.blocks.size();
}
std::size_t likely_size(const block_contents& contents) {
  std::size_t size = 64;
  for (const auto& one : contents)
    size += 32 + (one.bytes ? one.bytes->size() : 0);
  return size;
}
std::size_t likely_size(const expected<block_contents>& contents) {
  return contents ? likely_size(*contents) : 256;
}

} // namespace detail

template <worker_message T>
wire_bytes encode(const T& message) {
  detail::byte_writer wire;
  wire.reserve(detail::likely_size(message));
  wire.number(detail::kind<T>);
  detail::field(wire, message);
  return wire.take();
}

template <worker_message T>
expected<T> decode(std::span<const std::byte> bytes) {
  detail::byte_reader wire(bytes);
  T message{};
  std::uint8_t kind = 0;
  wire.number(kind);
  if (kind != detail::kind<T>)
    wire.refuse("they are those of another message");
  detail::field(wire, message);
  if (wire.left() > 0)
    wire.refuse("some are left over");
  if (wire.problem())
    return fail(errc::malformed, "Bytes between an engine and its worker are damaged before byte " +
                                   std::to_string(wire.position()) + " of " + std::to_string(bytes.size()) + ": " +
                                   wire.problem() + ".");
  return expected<T>(tl::in_place, std::move(message));
}

template wire_bytes encode(const step_changes&);
template wire_bytes encode(const step_outcome&);
template wire_bytes encode(const expected<worker_info>&);
template wire_bytes encode(const step_tokens&);
template wire_bytes encode(const std::vector<block_place>&);
template wire_bytes encode(const block_contents&);
template wire_bytes encode(const expected<block_contents>&);
template wire_bytes encode(const expected<nothing>&);

template expected<step_changes> decode(std::span<const std::byte>);
template expected<step_outcome> decode(std::span<const std::byte>);
template expected<expected<worker_info>> decode(std::span<const std::byte>);
template expected<step_tokens> decode(std::span<const std::byte>);
template expected<std::vector<block_place>> decode(std::span<const std::byte>);
template expected<block_contents> decode(std::span<const std::byte>);
template expected<expected<block_contents>> decode(std::span<const std::byte>);
template expected<expected<nothing>> decode(std::span<const std::byte>);

} // namespace troupe
