#include "tools/troupe/local_engine.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "actors/endpoint.hpp"
#include "actors/process/local_middleman.hpp"
#include "actors/timeouts.hpp"
#include "cpu/backends.hpp"
#include "cpu/thread_pool.hpp"
#include "engine/kv/disk_tier.hpp"
#include "engine/kv/layered_tier.hpp"
#include "engine/kv/memory_tier.hpp"
#include "gpu/backends.hpp"
#include "model/measured_costs.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"
#include "protocol/limits.hpp"
#include "tools/troupe/device_check.hpp"
#include "tools/troupe/kv_room.hpp"
#include "tools/troupe/worker_device.hpp"

namespace troupe::cli {

namespace {

constexpr int wake_up = SIGUSR1; ///< Of the thread that watches.

/// What a step brought, one message after the other. False as soon as `take` is.
bool take_step(step_deltas& step, const std::function<bool(server_message&)>& take) {
  for (auto& delta : step.deltas)
    if (server_message message = std::move(delta); !take(message))
      return false;
  for (auto& end : step.ends)
    if (server_message message = std::move(end); !take(message))
      return false;
  return true;
}

constexpr std::uint32_t blocks_saved_at_once = 16; ///< Reading one holds up the steps behind it.

/// What was computed by another model, arithmetic or layout must not be found in the folder.
numeric_fingerprint fingerprint_of(const model& source, const engine_flags& flags, const worker_device& device) {
  const bool reference = device.reference;
  numeric_fingerprint result;
  result.model = hash_of(source.file->bytes());
  source.file->release_pages();
  const bool cpu = device.device == "cpu";
  result.backend = !cpu        ? gpu_arithmetic(device.device, device.batch_invariant)
                   : reference ? "reference-shards"
                               : fingerprint_of(flags.arithmetic);
  // A block is its ranks' parts, stage by stage, and they add up in another order. Stages of one rank have the layers of
  // a block one after the other, as a single worker has, and the same bits.
  if (device.ranks > 1)
    result.backend += fmt::format("-{}-ranks-of-layers-{}", device.ranks, fmt::join(device.layer_cuts, "-"));
  result.kv_type = reference ? "f32" : to_string(flags.settings.kv_dtype);
  result.hashing = flags.settings.prefix_hash == block_hash_kind::sha256 ? "sha256" : "xxh128";
  result.tokens_per_block = tokens_per_block;
  result.block_bytes = {!cpu        ? gpu_kv_block_bytes(source.program)
                        : reference ? kv_block_bytes(source.program, sizeof(float))
                                    : cpu_kv_block_bytes(source.program, flags.settings.kv_dtype)};
  return result;
}

tier_factory disk_of(disk_tier_options disk) {
  return [disk = std::move(disk)]() -> expected<std::unique_ptr<block_tier>> {
    return disk_tier::open(disk).map([](auto&& opened) { return std::unique_ptr<block_tier>(std::move(opened)); });
  };
}

/// Host memory, a disk, or the one in front of the other.
void add_tiers(engine_options& options, const engine_flags& flags, const worker_device& device) {
  const auto& settings = flags.settings;
  options.cache.tier.max_saving = blocks_saved_at_once;
  if (!settings.kv_disk.empty()) {
    disk_tier_options disk;
    disk.folder = settings.kv_disk;
    disk.capacity = std::uint64_t{settings.kv_disk_gib} << 30;
    disk.fingerprint = fingerprint_of(*options.source, flags, device);
    options.cache.fingerprint = to_string(disk.fingerprint);
    options.open_tier = disk_of(std::move(disk));
  }
  // Engines share a folder, but each has memory of its own.
  if (const auto host_bytes = (std::uint64_t{settings.kv_host_gib} << 30) / flags.data_parallel_size; host_bytes > 0)
    options.open_tier = [=, open_disk = options.open_tier,
                         log = options.log]() -> expected<std::unique_ptr<block_tier>> {
      if (!open_disk)
        return std::make_unique<memory_tier>(host_bytes);
      auto disk = open_disk();
      if (disk)
        return std::make_unique<layered_tier>(host_bytes, std::move(*disk));
      say(log, log_level::warning, "kv_disk_missing", disk.error().message + " Prefixes are kept in memory alone.");
      return std::make_unique<memory_tier>(host_bytes);
    };
}

} // namespace

signal_watch::signal_watch(std::initializer_list<int> which) {
  sigemptyset(&signals_);
  sigaddset(&signals_, wake_up);
  for (int signal : which)
    sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

void signal_watch::before_watch(std::function<void()> early) {
  early_ = std::move(early);
  thread_ = std::thread([this] { run(); });
}

void signal_watch::watch(caf::actor whom) {
  const std::lock_guard guard(lock_);
  whom_ = std::move(whom);
  if (!thread_.joinable())
    thread_ = std::thread([this] { run(); });
}

void signal_watch::run() {
  for (int signal = 0; sigwait(&signals_, &signal) == 0 && !ending_;) {
    const std::lock_guard guard(lock_);
    if (!whom_) {
      auto others = signals_;
      sigdelset(&others, wake_up);
      pthread_sigmask(SIG_UNBLOCK, &others, nullptr); // A second one ends the program at once.
      early_();
    } else if (signal != wake_up) {
      caf::anon_send(whom_, stop_atom::value);
    } else {
      for (constexpr timespec at_once{}; sigtimedwait(&signals_, nullptr, &at_once) > 0;)
        ; // Those that came before `forget`: it drops them.
      caf::anon_send(whom_, reset_atom::value);
    }
  }
}

void signal_watch::forget() {
  pthread_kill(thread_.native_handle(), wake_up);
}

void signal_watch::stop() {
  if (thread_.joinable()) {
    ending_ = true;
    pthread_kill(thread_.native_handle(), wake_up);
    thread_.join();
  }
  whom_ = nullptr;
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr); // From here on they end the program, as ever.
}

signal_watch::~signal_watch() {
  stop();
}

namespace {

expected<std::vector<std::uint32_t>> cuts_of(const layer_costs& costs, unsigned count) {
  auto stages = balance_layers(costs, count);
  if (!stages)
    return fail(errc::invalid_argument, "--pipeline-parallel-size: " + stages.error().message);
  std::vector<std::uint32_t> cuts{0};
  for (const auto& layers : *stages)
    cuts.push_back(layers.end);
  return cuts;
}

/// Where each stage's layers begin, so that each takes about as long; and the last one's end. What ranks share they share
/// in all layers alike, so a whole layer is measured. Errors: those of a backend; invalid_argument.
expected<std::vector<std::uint32_t>> cut_layers(const engine_flags& flags, const worker_device& device,
                                                const model& source) {
  if (device.device == "cuda") // A context of this process's would keep memory that the workers want.
    return cuts_of(weigh_costs(*source.file, source.program), flags.pipeline_parallel_size);
  auto small = device;
  small.kv_blocks = 1;
  small.max_rows = small.max_logit_rows = 1;
  const auto costs = measure_costs(*source.file, source.program, [&](const model_program& part) {
    return make_backend(small, source.file, part, nullptr);
  });
  if (!costs)
    return tl::unexpected(costs.error());
  return cuts_of(*costs, flags.pipeline_parallel_size);
}

/// Who computes: the workers of each engine, each with a part of the model and of the threads.
expected<void> share_among_workers(const engine_flags& flags, worker_device& device, engine_options& options) {
  const auto& source = options.source;
  const unsigned ranks = flags.tensor_parallel_size, stages = flags.pipeline_parallel_size;
  options.stages = stages;
  options.engines = flags.data_parallel_size;
  if (const auto& events = options.events)
    if (auto apart = check_apart({events->endpoint, "--kv-events"}, {events->replay_endpoint, "--kv-events-replay"},
                                 options.engines);
        !apart)
      return apart;
  const unsigned threads = flags.threads ? flags.threads : cpu::usable_cpus();
  device.threads = std::max(1u, threads / (ranks * stages * options.engines));
  device.ranks = ranks;
  options.rank_shards.assign(ranks, 1);
  if (ranks > 1) {
    auto plan = plan_shards(source->program, *source->file, ranks);
    if (!plan)
      return fail(errc::invalid_argument, "--tensor-parallel-size: " + plan.error().message);
    if (device.reference)
      options.rank_shards = plan->shards_of_ranks();
  }
  if (stages > 1) {
    auto cuts = cut_layers(flags, device, *source);
    if (!cuts)
      return tl::unexpected(cuts.error());
    device.layer_cuts = std::move(*cuts);
  }
  if (is_kv_measured(flags)) {
    const auto blocks = measured_kv_blocks(flags, device, *source, options.log);
    if (!blocks)
      return tl::unexpected(blocks.error());
    options.kv_blocks = device.kv_blocks = *blocks;
  }
  if (flags.worker_processes.value_or(flags.device == "cuda")) {
    device.file = source->file->identity();
    options.processes = worker_processes{{"/proc/self/exe", "worker"}, encode(device)};
  }
  options.make_rank = [device, source](const worker_seat& seat, std::shared_ptr<communicator> group) {
    return make_part(device, source->file, source->program, seat, std::move(group));
  };
  return {};
}

} // namespace

expected<engine_options> make_engine_options(const engine_flags& flags, const logger& log) {
  if (auto known = check_device(flags); !known)
    return tl::unexpected(known.error());
  const bool reference = flags.backend == "reference";
  if (!reference && flags.backend != "cpu")
    return fail(errc::unsupported, "--backend " + flags.backend + " is not known; there are: cpu, reference.");
  if (reference && flags.settings.kv_dtype != kv_cache_dtype::bf16)
    return fail(errc::invalid_argument,
                "--backend reference keeps keys and values in float32: leave --kv-cache-dtype " +
                  std::string(to_string(flags.settings.kv_dtype)) + " out.");
  if (reference && flags.arithmetic != cpu_arithmetic::int8)
    return fail(errc::invalid_argument,
                "--cpu-arithmetic is of --backend cpu: leave it out with --backend reference.");
  engine_options options;
  options.log = log;
  if (auto taken = hand_over(flags.settings, options); !taken)
    return tl::unexpected(taken.error());
  if (options.events) {
    options.events->access = flags.access;
    options.events->log = log;
  }
  auto path = find_model(flags.model);
  if (!path)
    return tl::unexpected(path.error());
  auto source = load_model(*path);
  if (!source)
    return tl::unexpected(source.error());
  options.source = *source;
  options.stop_when_failed = true;
  const auto tokens = kv_tokens_of(flags, options.source->program.context_length);
  options.kv_blocks = (tokens + tokens_per_block - 1) / tokens_per_block;
  worker_device device;
  device.model = path->string();
  device.device = flags.device;
  device.reference = reference;
  device.graphs = !flags.enforce_eager;
  device.batch_invariant = flags.batch_invariant;
  device.shim_memory_mib = flags.shim_memory_mib;
  device.kv_blocks = options.kv_blocks;
  device.max_rows = options.plan.max_batched_tokens;
  device.max_logit_rows = options.plan.max_logit_rows;
  device.kv_dtype = static_cast<std::uint32_t>(flags.settings.kv_dtype);
  device.arithmetic = static_cast<std::uint32_t>(flags.arithmetic);
  if (auto shared = share_among_workers(flags, device, options); !shared)
    return tl::unexpected(shared.error());
  add_tiers(options, flags, device);
  return options;
}

prompt make_prompt(const prompt_flags& flags, std::string text) {
  if (flags.raw)
    return text;
  prompt_messages messages;
  if (!flags.system.empty())
    messages.push_back({"system", flags.system});
  messages.push_back({"user", std::move(text)});
  return messages;
}

expected<std::unique_ptr<local_engine>> local_engine::start(const engine_flags& flags, surroundings around) {
  auto options = make_engine_options(flags, around.log);
  if (!options)
    return tl::unexpected(options.error());
  if (!around.signals)
    around.signals = std::make_unique<signal_watch>(std::initializer_list<int>{SIGINT, SIGTERM});
  std::unique_ptr<local_engine> engine(new local_engine(std::move(around.signals)));
  engine->model_ = options->source;
  engine->context_length_ = context_length_of(*options);
  options->observed_by = std::move(around.observed_by);
  if (!flags.trace.empty()) {
    serve::trace_options trace;
    trace.log = around.log;
    auto opened = serve::trace_writer::open(flags.trace, std::move(trace));
    if (!opened)
      return tl::unexpected(opened.error());
    engine->trace_ = *opened;
    options->observed_by.push_back(engine->trace_);
  }
  configure(engine->config_);
  if (options->processes)
    configure_processes(engine->config_);
  engine->system_ = std::make_unique<caf::actor_system>(engine->config_);
  engine->self_ = std::make_unique<caf::scoped_actor>(*engine->system_);
  auto& self = *engine->self_;
  engine->signals_->watch(caf::actor_cast<caf::actor>(self)); // From the first actor on the end has an order.
  engine->supervisor_ = spawn_engine(*engine->system_, std::move(*options));
  self->monitor(engine->supervisor_);
  const auto client = caf::actor_cast<client_actor>(caf::strong_actor_ptr{self->ctrl()});
  std::optional<error> failed;
  auto ended = [&](const caf::error& reason) {
    failed = error{errc::unavailable, "The engine has ended while it was starting: " + caf::to_string(reason) + "."};
  };
  self->request(engine->supervisor_, timeouts::bookkeeping, tree_atom::value)
    .receive([&](actor_tree& tree) { engine->tree_ = std::move(tree); }, ended);
  self
    ->request(engine->supervisor_, timeouts::bookkeeping, open_atom::value, client, connection_id{0},
              max_requests_per_client)
    .receive([&](stream_actor& stream) { engine->stream_ = std::move(stream); }, ended);
  if (engine->stream_)
    self->monitor(engine->stream_);
  if (failed) // It has said why in its last word.
    self->receive(
      [&](const caf::down_msg& down) {
        if (down.reason.context().match_elements<std::string>())
          failed->message = down.reason.context().get_as<std::string>(0);
      },
      caf::after(std::chrono::seconds(1)) >> [] {});
  if (failed)
    return tl::unexpected(*failed);
  return engine;
}

local_engine::~local_engine() {
  signals_->stop();
  if (!system_)
    return;
  stream_ = nullptr;
  tree_ = {};
  caf::anon_send(supervisor_, stop_atom::value);
  supervisor_ = nullptr;
  self_.reset();
  system_->await_all_actors_done();
  if (trace_)
    trace_->finish();
}

expected<worker_info> local_engine::info() {
  expected<worker_info> result;
  (*self_)
    ->request(tree_.engines.front().executor, timeouts::step, info_atom::value)
    .receive([&](expected<worker_info>& info) { result = std::move(info); },
             [&](const caf::error& reason) {
               result = fail(errc::unavailable, "The engine has ended: " + caf::to_string(reason) + ".");
             });
  return result;
}

expected<worker_info> local_engine::info_or_stop() {
  const auto me = caf::actor_cast<caf::actor>(*self_);
  const auto ask = [me](caf::event_based_actor* asker, const executor_actor& executor) {
    const auto tell = [=](expected<worker_info> info) { caf::anon_send(me, info_atom::value, std::move(info)); };
    asker->request(executor, timeouts::step, info_atom::value).then(tell, [=](const caf::error& reason) {
      tell(fail(errc::unavailable, "The engine has ended: " + caf::to_string(reason) + "."));
    });
  };
  system_->spawn(ask, tree_.engines.front().executor);
  expected<worker_info> result;
  (*self_)->receive([&](info_atom, expected<worker_info>& info) { result = std::move(info); },
                    [&](stop_atom) { result = fail(errc::cancelled, "A signal came before the model was loaded."); });
  return result;
}

expected<prompt_tokens> local_engine::encode(const prompt& request) {
  expected<prompt_tokens> result;
  (*self_)
    ->request(tree_.tokenizers.front(), timeouts::encoding, encode_atom::value, encode_request{request, {}})
    .receive(
      [&](expected<encoded_prompt>& encoded) {
        if (encoded)
          result = *encoded->tokens;
        else
          result = tl::unexpected(std::move(encoded.error()));
      },
      [&](const caf::error& reason) {
        result = fail(errc::unavailable, "The engine has ended: " + caf::to_string(reason) + ".");
      });
  return result;
}

void local_engine::submit(generate_request request) {
  (*self_)->send(stream_, submit_atom::value, std::move(request));
}

void local_engine::cancel(request_id id) {
  (*self_)->send(stream_, cancel_atom::value, id);
}

expected<void> local_engine::receive(const std::function<bool(server_message&)>& take,
                                     const std::function<bool()>& interrupted) {
  bool more = true;
  expected<void> result;
  (*self_)->receive_while([&] { return more; })(
    [&](deliver_atom, delivery& what) {
      for (auto& message : what.messages)
        if (auto* step = std::get_if<step_deltas>(&message))
          more = more && take_step(*step, take);
        else
          more = more && take(message);
    },
    [&](stop_atom) { more = interrupted(); },
    [&](const caf::down_msg& down) {
      if (stream_.address() == down.source && down.reason == caf::exit_reason::normal)
        return; // The engine ends, and says why.
      more = false;
      result = fail(errc::unavailable, "The engine has ended: " + caf::to_string(down.reason) + ".");
    });
  return result;
}

void local_engine::forget_signals() {
  signals_->forget();
  bool more = true;
  while (more)
    (*self_)->receive([](stop_atom) {}, [&](reset_atom) { more = false; },
                      caf::after(timeouts::bookkeeping) >> [&] { more = false; });
}

} // namespace troupe::cli
