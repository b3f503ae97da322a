#include "gpu/shim/runtime.hpp"

#include <algorithm>
#include <cstring>
#include <random>

#include <fmt/format.h>

#include "gpu/shim/block_run.hpp"
#include "gpu/shim/collectives.hpp"
#include "gpu/shim/matrix_product.hpp"

namespace troupe::gpu::shim {

class shim_runtime::grid_runner {
public:
  grid_runner(device_memory& memory, const shim_options& options)
      : random_(options.seed + 1),
        block_(memory, options.seed + 2, {options.counts_banks, options.finds_global_races, options.most_accesses}) {}

  void run(const grid_shape& shape, const std::function<void()>& body) {
    block_.begin_launch();
    const auto& blocks = shape.blocks;
    order_.clear();
    for (unsigned z = 0; z < blocks.z; ++z)
      for (unsigned y = 0; y < blocks.y; ++y)
        for (unsigned x = 0; x < blocks.x; ++x)
          order_.push_back({x, y, z});
    std::shuffle(order_.begin(), order_.end(), random_);
    for (const auto& each : order_)
      block_.run(shape, each, body);
  }
  const block_run& block() const { return block_; }

private:
  std::mt19937 random_;
  block_run block_;
  std::vector<index3> order_;
};

shim_runtime::shim_runtime(kernel_table kernels, const shim_options& options)
    : kernels_(std::move(kernels)), memory_(options.memory_bytes, options.taken_by_others),
      streams_(options.seed, options.longest_wait), runner_(std::make_unique<grid_runner>(memory_, options)),
      graph_bytes_(options.graph_bytes), no_room_for_graphs_(options.no_room_for_graphs),
      rank_fault_(options.rank_fault), seed_(options.seed) {}

shim_runtime::~shim_runtime() = default;

template <class Call>
auto shim_runtime::guarded(Call call) -> decltype(call()) {
  if (!lost_by_) {
    try {
      return call();
    } catch (const violation& what) {
      lost_by_ = what;
    }
  }
  return fail(errc::internal, std::string("The device is lost: ") + lost_by_->what() + ".");
}

expected<address> shim_runtime::allocate(std::size_t bytes) {
  return guarded([&]() -> expected<address> {
    if (auto allowed = streams_.refuse_in_capture("Memory is allocated"); !allowed)
      return tl::unexpected(allowed.error());
    return memory_.allocate(bytes);
  });
}

expected<void> shim_runtime::free(address at) {
  return guarded([&]() -> expected<void> {
    if (auto allowed = streams_.refuse_in_capture("Memory is freed"); !allowed)
      return allowed;
    if (auto finished = streams_.finish(); !finished)
      return finished;
    return memory_.free(at);
  });
}

expected<address> shim_runtime::allocate_pinned(std::size_t bytes) {
  return guarded([&]() -> expected<address> {
    if (auto allowed = streams_.refuse_in_capture("Memory is pinned"); !allowed)
      return tl::unexpected(allowed.error());
    return memory_.allocate_pinned(bytes);
  });
}

expected<void> shim_runtime::free_pinned(address at) {
  return guarded([&]() -> expected<void> {
    if (auto allowed = streams_.refuse_in_capture("Memory is freed"); !allowed)
      return allowed;
    if (auto finished = streams_.finish(); !finished)
      return finished;
    return memory_.free_pinned(at);
  });
}

expected<memory_account> shim_runtime::memory() {
  return guarded([&]() -> expected<memory_account> { return memory_account{memory_.left(), memory_.capacity()}; });
}

expected<stream_id> shim_runtime::make_stream() {
  return guarded([&]() -> expected<stream_id> { return streams_.make_stream(); });
}

expected<event_id> shim_runtime::make_event() {
  return guarded([&]() -> expected<event_id> { return streams_.make_event(); });
}

expected<void> shim_runtime::launch(stream_id on, kernel_id kernel, const grid_shape& shape, const void* arguments) {
  ++calls_.launches;
  return guarded([&]() -> expected<void> {
    if (kernel >= kernels_.size())
      return fail(errc::invalid_argument, fmt::format("There is no kernel {}.", kernel));
    const auto& entry = kernels_[kernel];
    if (shape.threads == 0 || shape.threads % warp_size != 0 ||
        shape.threads > std::min(entry.max_threads, most_threads) || shape.shared_bytes > most_shared_bytes ||
        shape.blocks.x == 0 || shape.blocks.y == 0 || shape.blocks.z == 0 || shape.blocks.y > 65535 ||
        shape.blocks.z > 65535)
      throw violation(violation_kind::bad_launch,
                      fmt::format("{} with {} x {} x {} blocks of {} threads and {} bytes of shared memory",
                                  entry.name, shape.blocks.x, shape.blocks.y, shape.blocks.z, shape.threads,
                                  shape.shared_bytes));
    // Aligned as the arguments may need it.
    auto bytes = std::make_shared<std::vector<words4>>((entry.argument_bytes + sizeof(words4) - 1) / sizeof(words4));
    std::memcpy(bytes->data(), arguments, entry.argument_bytes);
    const work run = [this, &entry, shape, bytes] { run_grid(entry, shape, bytes->data()); };
    return streams_.add(
      on, [run] { return run; }, addresses_in(bytes->data(), entry.argument_bytes));
  });
}

std::vector<address> shim_runtime::addresses_in(const void* arguments, std::size_t bytes) const {
  std::vector<address> found;
  for (std::size_t i = 0; i + sizeof(address) <= bytes; i += sizeof(address)) {
    address at = 0;
    std::memcpy(&at, static_cast<const std::byte*>(arguments) + i, sizeof at);
    if (memory_.is_allocated(at))
      found.push_back(at);
  }
  return found;
}

void shim_runtime::run_grid(const kernel_entry& kernel, const grid_shape& shape, const void* arguments) {
  const auto conflicts = runner_->block().bank_conflicts(), switches = runner_->block().switches();
  try {
    runner_->run(shape, [&] { reinterpret_cast<shim_function>(kernel.function)(arguments); });
  } catch (const violation& what) {
    throw violation(what, std::string("kernel ") + kernel.name);
  }
  last_ = {kernel.name, memory_.counted(), runner_->block().bank_conflicts() - conflicts,
           runner_->block().switches() - switches};
}

expected<void> shim_runtime::copy(stream_id on, address to, address from, std::size_t bytes) {
  ++calls_.copies;
  calls_.bytes_out += memory_.is_device(to) ? 0 : bytes;
  return guarded([&]() -> expected<void> {
    for (const auto at : {to, from})
      if (!memory_.is_device(at) && !memory_.is_pinned(at, bytes))
        throw violation(violation_kind::host_memory,
                        fmt::format("{} bytes are copied from or to memory that is not pinned", bytes));
    if (to < from + bytes && from < to + bytes)
      throw violation(violation_kind::overlap, fmt::format("{} bytes are copied to where {} of them come from", bytes,
                                                           bytes - (to < from ? from - to : to - from)));
    return streams_.add(on,
                        [=, this]() -> work {
                          if (memory_.is_device(from))
                            return [=, this] { memory_.copy_range(to, from, bytes); };
                          return [=, this, then = memory_.look_at_pinned(from, bytes)] {
                            memory_.expect_unchanged(from, bytes, then);
                            memory_.copy_range(to, from, bytes);
                          };
                        },
                        {to, from});
  });
}

expected<void> shim_runtime::open_products() {
  return guarded([&]() -> expected<void> {
    if (has_products_)
      return {};
    if (auto allowed = streams_.refuse_in_capture("Memory is allocated"); !allowed)
      return allowed;
    return memory_.take(product_workspace_bytes).map([&] { has_products_ = true; });
  });
}

expected<void> shim_runtime::multiply(stream_id on, const matrix_product& what) {
  ++calls_.launches;
  if (auto opened = open_products(); !opened)
    return opened;
  return guarded([&]() -> expected<void> {
    if (what.inputs % 8 != 0 || what.stride < what.outputs || what.row_count == 0 || what.outputs == 0 ||
        (what.rows | what.weights | what.sums) % 16 != 0)
      throw violation(
        violation_kind::bad_launch,
        fmt::format("a product of {} rows, {} inputs and {} outputs at a stride of {}, or an operand that is "
                    "not aligned to 16 bytes",
                    what.row_count, what.inputs, what.outputs, what.stride));
    const work run = [=, this] { multiply_matrices(memory_, what); };
    return streams_.add(on, [run] { return run; }, {what.rows, what.weights, what.sums});
  });
}

expected<void> shim_runtime::fill(stream_id on, address at, std::uint8_t value, std::size_t bytes) {
  return guarded([&]() -> expected<void> {
    const work run = [=, this] { std::memset(memory_.write_range(at, bytes), value, bytes); };
    return streams_.add(on, [run] { return run; }, {at});
  });
}

expected<void> shim_runtime::record(event_id event, stream_id on) {
  return guarded([&] { return streams_.record(event, on); });
}

expected<void> shim_runtime::wait(stream_id on, event_id event) {
  return guarded([&] { return streams_.wait(on, event); });
}

expected<bool> shim_runtime::is_done(event_id event) {
  return guarded([&] { return streams_.is_done(event); });
}

expected<void> shim_runtime::synchronize(event_id event) {
  ++calls_.synchronisations;
  return guarded([&] { return streams_.finish(event); });
}

expected<void> shim_runtime::synchronize(stream_id on) {
  ++calls_.synchronisations;
  return guarded([&] { return streams_.finish(on); });
}

expected<void> shim_runtime::begin_capture(stream_id on) {
  return guarded([&] { return streams_.begin_capture(on); });
}

expected<graph_id> shim_runtime::end_capture(stream_id on) {
  return guarded([&]() -> expected<graph_id> {
    auto made = streams_.end_capture(on);
    if (!made)
      return made;
    expected<void> taken = fail(errc::out_of_memory, "There is no memory for a graph.");
    if (!no_room_for_graphs_)
      taken = memory_.take(graph_bytes_);
    if (!taken) {
      (void)streams_.free(*made);
      return tl::unexpected(taken.error());
    }
    return made;
  });
}

expected<void> shim_runtime::free(graph_id graph) {
  return guarded([&]() -> expected<void> {
    if (auto allowed = streams_.refuse_in_capture("A graph is freed"); !allowed)
      return allowed;
    if (auto finished = streams_.finish(); !finished)
      return finished;
    return streams_.free(graph).map([&] { memory_.give_back(graph_bytes_); });
  });
}

expected<void> shim_runtime::launch(stream_id on, graph_id graph) {
  ++calls_.launches;
  return guarded([&]() -> expected<void> {
    for (const auto at : streams_.uses(graph))
      if (!memory_.is_allocated(at))
        return fail(errc::invalid_argument, "A graph is launched whose memory has been freed.");
    return streams_.launch(on, graph);
  });
}

expected<group_id> shim_runtime::make_group_id() {
  return guarded([&]() -> expected<group_id> {
    auto made = rank_memory::create();
    if (!made)
      return tl::unexpected(made.error());
    groups_.push_back(std::move(*made));
    return groups_.back().id();
  });
}

expected<std::unique_ptr<collectives>> shim_runtime::join_group(const group_id& id, unsigned rank, unsigned ranks) {
  return guarded([&]() -> expected<std::unique_ptr<collectives>> {
    auto shared = rank_memory::open(id);
    if (!shared)
      return tl::unexpected(shared.error());
    if (rank >= ranks || ranks > rank_memory::most_ranks)
      return fail(errc::invalid_argument,
                  fmt::format("A group of {} ranks on the shim has no rank {}.", ranks, rank));
    return std::make_unique<shim_collectives>(
      std::make_shared<rank_calls>(memory_, std::move(*shared), rank, ranks, rank_fault_), streams_,
      [this](const auto& call) { return guarded(call); }, seed_ + 3);
  });
}

} // namespace troupe::gpu::shim
