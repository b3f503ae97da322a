#include "gpu/shim/rank_memory.hpp"

#include <array>
#include <atomic>
#include <cassert>
#include <cstring>
#include <new>

#include <fmt/format.h>

namespace troupe::gpu::shim {

namespace {

constexpr std::size_t page = 4096;
constexpr std::uint64_t magic_number = 0x314b4e41524d4953;

using count = std::atomic<std::uint64_t>;
static_assert(count::is_always_lock_free, "Processes share these.");

struct alignas(64) one_rank {
  count arrived{0}; ///< At this exchange; the first is 1.
  std::array<call_note, 2> notes;
};

struct alignas(64) one_message {
  std::atomic<std::uint32_t> is_there{0};
  call_note note;
};

} // namespace

struct rank_memory::header {
  std::uint64_t magic = magic_number;
  count ranks{0}, joined{0}; ///< One bit a rank.
  std::array<one_rank, most_ranks> each;
  std::array<std::array<one_message, most_ranks>, most_ranks> messages; ///< [from][to]
};

namespace {

/// Headers, two slots a rank, a slot for each message.
constexpr std::size_t slots_at(std::size_t header_bytes) {
  return (header_bytes + page - 1) / page * page;
}
constexpr std::size_t total_bytes(std::size_t header_bytes) {
  constexpr std::size_t slots =
    2 * rank_memory::most_ranks + std::size_t{rank_memory::most_ranks} * rank_memory::most_ranks;
  return slots_at(header_bytes) + slots * rank_memory::slot_bytes;
}

} // namespace

rank_memory::header& rank_memory::about() const {
  return *reinterpret_cast<header*>(segment_.data());
}

expected<rank_memory> rank_memory::create() {
  return memory_segment::create(total_bytes(sizeof(header))).map([](auto segment) {
    new (segment.data()) header;
    return rank_memory(std::move(segment));
  });
}

expected<rank_memory> rank_memory::open(const group_id& id) {
  const auto* text = reinterpret_cast<const char*>(id.data());
  const std::string address(text, strnlen(text, id.size()));
  auto segment = memory_segment::open(address, total_bytes(sizeof(header)));
  if (!segment)
    return tl::unexpected(segment.error());
  rank_memory opened(std::move(*segment));
  if (opened.about().magic != magic_number)
    return fail(errc::malformed, "This is no id of a group of the shim's ranks.");
  return opened;
}

group_id rank_memory::id() const {
  group_id id{};
  const auto address = segment_.address();
  assert(address.size() < id.size());
  std::memcpy(id.data(), address.data(), address.size());
  return id;
}

expected<void> rank_memory::join(unsigned rank, unsigned ranks) {
  if (ranks > most_ranks || rank >= ranks)
    return fail(errc::invalid_argument,
                fmt::format("A group of {} ranks has no rank {}; {} are the most.", ranks, rank, most_ranks));
  std::uint64_t said = 0;
  if (!about().ranks.compare_exchange_strong(said, ranks) && said != ranks)
    return fail(
      errc::invalid_argument,
      fmt::format("Rank {} joins a group of {} ranks, of which others say that it has {}.", rank, ranks, said));
  const auto bit = std::uint64_t{1} << rank;
  if (about().joined.fetch_or(bit) & bit)
    return fail(errc::invalid_argument, fmt::format("Rank {} has joined the group already.", rank));
  ranks_ = ranks;
  return {};
}

bool rank_memory::all_have_joined() const {
  return ranks_ != 0 && about().joined.load(std::memory_order_acquire) == (std::uint64_t{1} << ranks_) - 1;
}

std::byte* rank_memory::slot(unsigned rank, std::uint64_t exchange) const {
  return segment_.data() + slots_at(sizeof(header)) + (2 * rank + exchange % 2) * slot_bytes;
}

void rank_memory::arrive(unsigned rank, std::uint64_t exchange, const call_note& note) {
  auto& own = about().each[rank];
  own.notes[exchange % 2] = note;
  own.arrived.store(exchange, std::memory_order_release);
}

bool rank_memory::all_have_arrived(std::uint64_t exchange) const {
  for (unsigned rank = 0; rank < ranks_; ++rank)
    if (about().each[rank].arrived.load(std::memory_order_acquire) < exchange)
      return false;
  return true;
}

call_note rank_memory::note_of(unsigned rank, std::uint64_t exchange) const {
  return about().each[rank].notes[exchange % 2];
}

std::byte* rank_memory::message(unsigned from, unsigned to) const {
  return segment_.data() + slots_at(sizeof(header)) + (2 * most_ranks + from * most_ranks + to) * slot_bytes;
}

bool rank_memory::has_message(unsigned from, unsigned to) const {
  return about().messages[from][to].is_there.load(std::memory_order_acquire) != 0;
}

void rank_memory::send(unsigned from, unsigned to, const call_note& note) {
  auto& own = about().messages[from][to];
  own.note = note;
  own.is_there.store(1, std::memory_order_release);
}

void rank_memory::take(unsigned from, unsigned to) {
  about().messages[from][to].is_there.store(0, std::memory_order_release);
}

call_note rank_memory::note_of_message(unsigned from, unsigned to) const {
  return about().messages[from][to].note;
}

} // namespace troupe::gpu::shim
