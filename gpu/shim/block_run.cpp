#include "gpu/shim/block_run.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace troupe::gpu::shim {

namespace ctx = boost::context;

thread_local constinit block_run* block_run::current_ = nullptr;

namespace {

std::string to_string(const meeting_place& place) {
  static constexpr const char* names[] = {"nothing",     "sync_warp",    "shuffle",
                                          "shuffle_xor", "shuffle_down", "any, all or ballot",
                                          "load_matrix", "multiply_add", "sync_block"};
  const std::string_view file = place.file;
  return fmt::format("{} of {} bytes at {}:{}:{}", names[static_cast<std::size_t>(place.kind)], place.bytes,
                     file.substr(file.rfind('/') + 1), place.line, place.column);
}

} // namespace

block_run::block_run(device_memory& memory, std::uint32_t seed, const run_options& options)
    : memory_(memory), random_(seed), stacks_(stack_bytes), options_(options) {
  if (options.finds_global_races)
    global_.emplace(device_memory::reserved_bytes);
}

void block_run::begin_launch() {
  memory_.begin_launch();
  if (global_)
    global_->begin_launch();
}

void block_run::start(unsigned thread, const std::function<void()>& body) {
  auto& own = threads_[thread];
  own.waits = {};
  own.done = false;
  own.open_copies.clear();
  own.groups.clear();
  own.accesses.clear();
  own.fiber = ctx::fiber(std::allocator_arg, recorded_stacks{&stacks_, &own.stack}, [&](ctx::fiber&& scheduler) {
    enter_stack(own.stack, &scheduler_stack_);
    own.scheduler = std::move(scheduler);
    try {
      if (unwinds_) // Before it has begun.
        throw unwinding();
      body();
      if (!own.open_copies.empty() || !own.groups.empty())
        throw violation(violation_kind::unfinished_copy, "a thread ends before its asynchronous copies have");
    } catch (const unwinding&) {
    } catch (...) {
      failure_ = std::current_exception();
    }
    own.done = true;
    leave_stack(own.stack, scheduler_stack_, true);
    return std::move(own.scheduler);
  });
}

void block_run::resume(thread_state& thread) {
  accesses_ = 0;
  leave_stack(scheduler_stack_, thread.stack);
  thread.fiber = std::move(thread.fiber).resume();
  enter_stack(scheduler_stack_);
}

void block_run::unwind_all() {
  unwinds_ = true;
  for (auto& each : threads_)
    if (!each.done)
      resume(each);
  unwinds_ = false;
  failure_ = nullptr;
}

void block_run::run(const grid_shape& shape, index3 block, const std::function<void()>& body) {
  shape_ = shape;
  block_ = block;
  failure_ = nullptr;
  threads_.resize(shape.threads);
  warps_.resize(shape.threads / 32);
  shared_.begin_block(shape.shared_bytes);
  memory_.begin_block();
  if (global_)
    global_->begin_block(block, shared_.interval());
  auto* const outer = std::exchange(current_, this);
  for (unsigned i = 0; i < shape.threads; ++i)
    start(i, body);
  std::vector<unsigned> order(warps_.size());
  std::iota(order.begin(), order.end(), 0u);
  try {
    for (;;) {
      std::shuffle(order.begin(), order.end(), random_);
      bool some = false;
      for (const auto warp : order)
        some = run_warp(warp) || some;
      if (std::all_of(threads_.begin(), threads_.end(), [](const auto& each) { return each.done; }))
        break;
      if (!some && !release_block())
        diverged();
    }
  } catch (const violation& what) {
    const auto culprit = thread_;
    unwind_all();
    current_ = outer;
    throw violation(what, fmt::format("block {}, {}, {}, thread {}", block.x, block.y, block.z, culprit));
  }
  for (unsigned warp = 0; warp < warps_.size(); ++warp)
    count_bank_conflicts(warp);
  current_ = outer;
}

bool block_run::run_warp(unsigned warp) {
  bool some = false;
  do {
    const auto first = warp * 32;
    const auto turn = random_();
    // Any order will do that differs from seed to seed: a rotation, upwards or downwards.
    for (unsigned i = 0; i < 32; ++i) {
      const auto which = first + ((turn >> 8 & 1 ? i : 31 - i) + turn) % 32;
      auto& own = threads_[which];
      if (own.done || own.waits.kind != meeting::none)
        continue;
      thread_ = which;
      ++switches_;
      resume(own);
      some = true;
      if (failure_)
        std::rethrow_exception(std::exchange(failure_, nullptr));
    }
  } while (release_warp(warp));
  return some;
}

bool block_run::release_warp(unsigned warp) {
  const auto first = threads_.begin() + warp * 32;
  const auto place = first->waits;
  if (first->done || place.kind == meeting::none || place.kind == meeting::sync_block)
    return false;
  if (!std::all_of(first, first + 32, [&](const auto& each) { return !each.done && each.waits == place; }))
    return false;
  count_bank_conflicts(warp);
  warps_[warp].interval += place.kind == meeting::sync_warp;
  std::for_each(first, first + 32, [](auto& each) { each.waits.kind = meeting::none; });
  return true;
}

bool block_run::release_block() {
  const auto place = threads_.front().waits;
  if (place.kind != meeting::sync_block || !std::all_of(threads_.begin(), threads_.end(), [&](const auto& each) {
        return !each.done && each.waits == place;
      }))
    return false;
  shared_.pass_barrier();
  for (auto& each : threads_)
    each.waits = {};
  return true;
}

void block_run::diverged() const {
  const auto count = [&](auto holds) { return std::count_if(threads_.begin(), threads_.end(), holds); };
  const auto at_block = count([](const auto& each) { return !each.done && each.waits.kind == meeting::sync_block; });
  const auto in_warp = count([](const auto& each) { return !each.done && each.waits.kind != meeting::sync_block; });
  std::string places;
  const meeting_place* last = nullptr;
  for (const auto& each : threads_)
    if (!each.done && (!last || *last != each.waits)) {
      last = &each.waits;
      places += fmt::format("; {} waits at {}", &each - threads_.data(), to_string(*last));
      if (places.size() > 300)
        break;
    }
  throw violation(
    violation_kind::divergence,
    fmt::format("of {} threads {} wait at a barrier of the block, {} for others of their warp, and {} have ended{}",
                threads_.size(), at_block, in_warp, count([](const auto& each) { return each.done; }), places));
}

void block_run::wait(const meeting_place& at) {
  auto& own = threads_[thread_];
  own.waits = at;
  leave_stack(own.stack, scheduler_stack_);
  own.scheduler = std::move(own.scheduler).resume();
  enter_stack(own.stack, &scheduler_stack_);
  if (unwinds_)
    throw unwinding();
}

moment block_run::now() const {
  return {shared_.interval(), warps_[thread_ / 32].interval, static_cast<std::uint16_t>(thread_)};
}

void block_run::count_access() {
  if (++accesses_ > options_.most_accesses)
    throw violation(violation_kind::hangs,
                    fmt::format("a thread has used memory {} times and met no other one", options_.most_accesses));
}

const std::byte* block_run::read_global(address at, std::size_t bytes) {
  count_access();
  const auto* found = memory_.read(at, bytes);
  check_global_read(at, bytes);
  return found;
}

void block_run::check_global_read(address at, std::size_t bytes) {
  if (global_ && memory_.is_device(at))
    if (const auto wrong = global_->read(memory_.offset_of(at), bytes, now()); !wrong.empty())
      throw violation(violation_kind::race, memory_.place_of(at) + " " + wrong);
}

std::byte* block_run::write_global(address at, std::size_t bytes, bool atomic) {
  count_access();
  if (atomic)
    memory_.read(at, bytes);
  auto* found = memory_.write(at, bytes);
  if (global_ && memory_.is_device(at))
    if (const auto wrong = global_->write(memory_.offset_of(at), bytes, now(), atomic); !wrong.empty())
      throw violation(violation_kind::race, memory_.place_of(at) + " " + wrong);
  return found;
}

void block_run::fence_device() {
  if (global_)
    global_->fence(now());
}

const std::byte* block_run::read_shared(std::size_t offset, std::size_t bytes) {
  count_access();
  note_access(offset, bytes);
  return shared_.read(offset, bytes, now());
}

std::byte* block_run::write_shared(std::size_t offset, std::size_t bytes, bool atomic) {
  count_access();
  note_access(offset, bytes);
  return shared_.write(offset, bytes, now(), atomic);
}

void block_run::note_access(std::size_t offset, std::size_t bytes) {
  if (options_.counts_banks)
    threads_[thread_].accesses.push_back(
      {static_cast<std::uint32_t>(offset / 4), static_cast<std::uint32_t>((bytes + 3) / 4)});
}

void block_run::count_bank_conflicts(unsigned warp) {
  if (!options_.counts_banks)
    return;
  // The i-th access of each lane since they met last is taken for one instruction. One of 8 or 16 bytes a lane goes in two or
  // four parts, each of neighbouring lanes, which take all banks once if nothing conflicts.
  for (std::size_t i = 0;; ++i) {
    std::array<std::vector<std::uint32_t>, 32> words; // By bank, those that differ.
    const auto end_part = [&] {
      std::size_t most = 1;
      for (auto& of_bank : words) {
        most = std::max(most, of_bank.size());
        of_bank.clear();
      }
      bank_conflicts_ += most - 1;
    };
    bool some = false;
    unsigned lanes_a_part = 32;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (lane % lanes_a_part == 0)
        end_part();
      const auto& own = threads_[warp * 32 + lane].accesses;
      if (i >= own.size())
        continue;
      some = true;
      lanes_a_part = 32 / own[i].words;
      for (auto word = own[i].word; word < own[i].word + own[i].words; ++word)
        if (auto& of_bank = words[word % 32]; std::find(of_bank.begin(), of_bank.end(), word) == of_bank.end())
          of_bank.push_back(word);
    }
    end_part();
    if (!some)
      break;
  }
  for (unsigned lane = 0; lane < 32; ++lane)
    threads_[warp * 32 + lane].accesses.clear();
}

void block_run::copy_async(std::size_t to, address from, std::size_t bytes) {
  read_global(from, bytes); // It may be read as early as now, and as late as it is waited for.
  shared_.begin_copy(to, bytes, now());
  threads_[thread_].open_copies.push_back({to, from, bytes});
}

void block_run::commit_copies() {
  auto& own = threads_[thread_];
  own.groups.push_back(std::exchange(own.open_copies, {}));
}

void block_run::wait_copies(unsigned left) {
  auto& own = threads_[thread_];
  for (; own.groups.size() > left; own.groups.pop_front())
    for (const auto& each : own.groups.front()) {
      const auto* source = memory_.read_range(each.from, each.bytes); // Counted when it began.
      check_global_read(each.from, each.bytes);
      std::memcpy(shared_.end_copy(each.to, each.bytes, now()), source, each.bytes);
    }
}

} // namespace troupe::gpu::shim
