#include "actors/worker.hpp"

#include "actors/block_contents.hpp"
#include "actors/exceptions.hpp"
#include "actors/worker_steps.hpp"

namespace troupe {

namespace {

worker_info info_of(const backend& device, std::size_t groups) {
  worker_info info{
    std::string(device.device()), std::string(device.name()), device.memory(), std::string(device.kv_type()), {}, {}};
  info.fingerprint = info.backend + ", " + info.kv_type;
  for (std::size_t group = 0; group < groups; ++group)
    info.block_bytes.push_back(device.block_bytes(static_cast<kv_group>(group)));
  return info;
}

expected<void> load(worker_state& state, const worker_options& options) {
  const auto& seat = options.seat;
  state.batch = batch_state(options.kv_groups, seat.place());
  state.sampler.emplace(options.vocabulary);
  for (auto [address, channel] : {std::pair(&seat.rows_in, &state.rows_in), {&seat.rows_out, &state.rows_out}}) {
    if (address->empty())
      continue;
    auto opened = row_channel::open(*address, seat.channel);
    if (!opened)
      return tl::unexpected(opened.error());
    channel->emplace(std::move(*opened));
  }
  auto device = options.make_backend();
  if (!device)
    return tl::unexpected(device.error());
  state.device = std::move(*device);
  return {};
}

using worker_pointer = own_worker_actor::stateful_pointer<worker_state>;

/// Those who compute on with it hear of it at once, the executor when all is done.
void report(worker_pointer self, const worker_options& options, std::uint64_t epoch, step_outcome outcome) {
  auto& state = self->state;
  if (state.lost)
    return self->quit(caf::make_error(caf::sec::runtime_error, state.lost->message));
  if (outcome && state.next)
    self->send(state.next, rows_atom::value, epoch, outcome->step);
  if (outcome && state.first && options.seat.place() == stage_place::last)
    self->send(state.first, sampled_atom::value,
               step_tokens{epoch, outcome->step, outcome->sampled, outcome->accepted});
  if (options.reports || !outcome)
    self->send(options.results, result_atom::value, epoch, std::move(outcome));
}

/// Begins steps in their order, until one lacks rows, tokens, or the end of one before it.
void run_what_is_ready(worker_pointer self, const worker_options& options) {
  auto& state = self->state;
  while (!state.waiting.empty() && !state.lost) {
    const auto step = state.waiting.front();
    if (!state.failed && !can_begin(state, *step))
      break;
    state.waiting.pop_front();
    state.rows_there.erase(step->step);
    auto outcome =
      state.failed ? std::optional(step_outcome(tl::unexpected(*state.failed))) : begin_step(state, step, options);
    if (outcome)
      report(self, options, step->epoch, std::move(*outcome));
  }
  if (!state.begun.empty() && !state.lost && !std::exchange(state.checks, true))
    self->send(self, check_atom::value);
}

/// Asked again and again while the device computes, behind all that comes meanwhile: the next step must not wait for this one's end.
void look_at_device(worker_pointer self, const worker_options& options) {
  auto& state = self->state;
  state.checks = false;
  if (state.begun.empty() || state.lost)
    return;
  if (const auto done = state.device->is_done(); !done || *done) {
    const auto epoch = state.begun.front().step->epoch;
    report(self, options, epoch, end_step(state, options));
  }
  run_what_is_ready(self, options);
}

} // namespace

observers who_want_parts(const observers& all) {
  observers wanting;
  for (const auto& each : all)
    if (each->wants_parts())
      wanting.push_back(each);
  return wanting;
}

expected<std::shared_ptr<communicator>> worker_seat::join() const {
  if (group.empty())
    return nullptr;
  return join_shared_group(group, {.shards = shards, .epoch = epoch}, rank).map([](auto&& joined) {
    return std::shared_ptr<communicator>(std::move(joined));
  });
}

own_worker_actor::behavior_type worker(worker_pointer self, worker_options given) {
  explain_exceptions(self);
  if (auto loaded = load(self->state, given); !loaded)
    self->state.failed = loaded.error();
  const auto options = std::make_shared<const worker_options>(std::move(given));
  return {
    [=](rows_atom, std::uint64_t, std::uint64_t step) {
      self->state.rows_there.insert(step);
      run_what_is_ready(self, *options);
    },
    [=](sampled_atom, const step_tokens& tokens) {
      if (auto taken = self->state.batch.take_tokens(tokens); !taken)
        return report(self, *options, tokens.epoch, tl::unexpected(taken.error()));
      run_what_is_ready(self, *options);
    },
    [=](attach_atom, const chain_actor& next, const chain_actor& first) {
      self->state.next = next;
      self->state.first = first;
    },
    [=](check_atom) { look_at_device(self, *options); },
    [=](step_atom, const step_ptr& step) {
      self->state.waiting.push_back(step);
      run_what_is_ready(self, *options);
    },
    [=](read_atom, const std::vector<block_place>& places) -> expected<block_contents> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return read_blocks(*self->state.device, places);
    },
    [=](write_atom, const block_contents& contents) -> expected<nothing> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return write_blocks(*self->state.device, contents).map([] { return nothing{}; });
    },
    [=](info_atom) -> expected<worker_info> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return info_of(*self->state.device, options->kv_groups);
    },
  };
}

} // namespace troupe
