#include "actors/process/host.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <set>

#include <caf/io/middleman.hpp>

#include "actors/ask.hpp"
#include "actors/child_process.hpp"
#include "actors/exceptions.hpp"
#include "actors/process/interfaces.hpp"
#include "actors/process/job.hpp"
#include "actors/process/local_middleman.hpp"
#include "actors/system.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

/// An actor that runs where the connections are read and written: a message that comes or goes over one wakes no other thread.
/// As with CAF's brokers, what it does must be short.
template <class Base>
class in_io_thread : public Base {
public:
  using Base::Base;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) override {
    Base::enqueue(std::move(what), &this->system().middleman().backend());
  }
  typename Base::subtype_t subtype() const override { return Base::io_actor; }
};

/// What the worker tells its executor and its stages goes over the connection.
using outlet_actor = results_actor::extend_with<chain_actor>;

using undone_count = std::shared_ptr<std::atomic<std::uint64_t>>;

outlet_actor::behavior_type outlet(outlet_actor::pointer self, process_worker_actor engine, undone_count undone,
                                   bool reports) {
  explain_exceptions(self);
  return {
    [=](result_atom, std::uint64_t epoch, const step_outcome& outcome) {
      if (*undone > 0) // An error may come apart from a step.
        --*undone;
      if (reports || !outcome)
        self->send(engine, result_atom::value, epoch, pack(outcome));
    },
    [=](rows_atom, std::uint64_t epoch, std::uint64_t step) { self->send(engine, handed_atom::value, epoch, step); },
    [=](sampled_atom, const step_tokens&) {}, // The engine has them from the result.
  };
}

class io_outlet final : public in_io_thread<outlet_actor::base> {
public:
  io_outlet(caf::actor_config& config, process_worker_actor engine, undone_count undone, bool reports)
      : in_io_thread(config), engine_(std::move(engine)), undone_(std::move(undone)), reports_(reports) {}
  behavior_type make_behavior() override { return outlet(this, engine_, undone_, reports_); }

  /// Runs in the worker's thread. What is only to be counted wakes nobody.
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* unit) override {
    const auto& content = what->content();
    if (!reports_ && content.match_elements<result_atom, std::uint64_t, step_outcome>() &&
        content.get_as<step_outcome>(2)) {
      if (*undone_ > 0)
        --*undone_;
      return;
    }
    in_io_thread::enqueue(std::move(what), unit);
  }

private:
  process_worker_actor engine_;
  undone_count undone_;
  bool reports_;
};

/// When steps were computed goes over it, too.
class times_outlet final : public observer {
public:
  explicit times_outlet(process_worker_actor engine) : engine_(std::move(engine)) {}
  bool wants_parts() const override { return true; }
  void computed(const part_record& part) override {
    const auto ns = [](auto time) {
      return static_cast<std::uint64_t>(std::chrono::nanoseconds(time.time_since_epoch()).count());
    };
    caf::anon_send(engine_, report_atom::value, part.epoch, part.step, ns(part.begun), ns(part.ended));
  }

private:
  process_worker_actor engine_;
};

struct host_state {
  host_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  worker_actor worker; ///< Invalid until the engine is known.
  process_worker_actor engine;
  undone_count undone =
    std::make_shared<std::atomic<std::uint64_t>>(0); ///< Steps that the worker has and has not answered.
  static inline const char* name = "host";
};

/// The host, and to itself: the engine has been found.
using local_host_actor = worker_host_actor::extend<caf::reacts_to<attach_atom, caf::strong_actor_ptr>>;

using host_pointer = local_host_actor::stateful_pointer<host_state>;

void begin_job(host_pointer self, const caf::strong_actor_ptr& engine, const worker_job& job,
           const device_factory& make) {
  auto& state = self->state;
  state.engine = caf::actor_cast<process_worker_actor>(engine);
  self->monitor(state.engine);
  auto out = self->spawn<io_outlet>(state.engine, state.undone, job.reports);
  worker_options options;
  options.seat = job.seat;
  options.vocabulary = job.vocabulary;
  options.width = job.width;
  options.kv_groups = job.kv_groups;
  options.results = out;
  if (job.times)
    options.observed_by.push_back(std::make_shared<times_outlet>(state.engine));
  options.make_backend = [job, make]() -> expected<std::unique_ptr<backend>> {
    auto group = job.seat.join();
    if (!group)
      return tl::unexpected(group.error());
    return make(job.device, job.seat, std::move(*group));
  };
  state.worker = self->spawn<caf::detached + caf::monitored>(worker, std::move(options));
  self->send(state.worker, attach_atom::value, job.seat.rows_out.empty() ? chain_actor() : chain_actor(out),
             chain_actor());
  self->send(state.engine, attach_atom::value, caf::strong_actor_ptr{self->ctrl()}); // Nothing comes before this.
}

/// The engine has gone, and so shall we. Or our worker has: the engine is told why, and ends this process.
void gone(host_pointer self, const caf::down_msg& down) {
  const auto& state = self->state;
  if (state.worker && down.source == state.worker.address())
    self->send(state.engine, fail_atom::value, caf::to_string(down.reason));
  else
    self->quit(down.reason);
}

/// For whom bytes that cannot be read are a reason to end: they are of the same version.
template <class T>
bool must(host_pointer self, const expected<T>& decoded) {
  if (!decoded)
    self->quit(caf::make_error(caf::sec::invalid_argument, decoded.error().message));
  return decoded.has_value();
}

template <class Answer, class What, class Atom>
caf::result<wire_message> ask_worker(host_pointer self, Atom atom, const wire_message& bytes) {
  auto what = unpack<What>(bytes);
  if (!must(self, what))
    return caf::make_error(caf::sec::invalid_argument);
  auto promise = self->make_response_promise<wire_message>();
  ask<expected<Answer>>(
    self, self->state.worker, timeouts::step,
    [=](const expected<Answer>& answer) mutable { promise.deliver(pack(answer)); },
    [=](const caf::error& reason) mutable { promise.deliver(reason); }, atom, std::move(*what));
  return promise;
}

local_host_actor::behavior_type host(host_pointer self, worker_job job, device_factory make) {
  explain_exceptions(self);
  self->set_down_handler([=](const caf::down_msg& down) { gone(self, down); });
  return {
    [=](step_atom atom, const wire_message& bytes) {
      auto step = unpack<step_changes>(bytes);
      if (!must(self, step))
        return;
      ++*self->state.undone;
      self->send(self->state.worker, atom, std::make_shared<const step_changes>(std::move(*step)));
    },
    [=](rows_atom atom, std::uint64_t epoch, std::uint64_t step) {
      self->send(self->state.worker, atom, epoch, step);
    },
    [=](sampled_atom atom, const wire_message& bytes) {
      auto tokens = unpack<step_tokens>(bytes);
      if (must(self, tokens))
        self->send(self->state.worker, atom, std::move(*tokens));
    },
    [=](read_atom atom, const wire_message& places) {
      return ask_worker<block_contents, std::vector<block_place>>(self, atom, places);
    },
    [=](write_atom atom, const wire_message& contents) {
      return ask_worker<nothing, block_contents>(self, atom, contents);
    },
    [=](info_atom atom) -> caf::result<wire_message> {
      auto promise = self->make_response_promise<wire_message>();
      ask<expected<worker_info>>(
        self, self->state.worker, timeouts::step,
        [=](const expected<worker_info>& info) mutable { promise.deliver(pack(info)); },
        [=](const caf::error& reason) mutable { promise.deliver(reason); }, atom);
      return promise;
    },
    [=](beat_atom) { return self->state.undone->load(); },
    [=](attach_atom, const caf::strong_actor_ptr& engine) { begin_job(self, engine, job, make); },
  };
}

class io_host final : public in_io_thread<local_host_actor::stateful_base<host_state>> {
public:
  io_host(caf::actor_config& config, worker_job job, device_factory make)
      : in_io_thread(config), job_(std::move(job)), make_(std::move(make)) {}
  behavior_type make_behavior() override { return host(this, job_, make_); }

private:
  worker_job job_;
  device_factory make_;
};

/// Comes in by the engine's door: to which of its actors this process belongs. Errors: unavailable.
expected<caf::strong_actor_ptr> come_in(caf::actor_system& system, const worker_job& job) {
  caf::scoped_actor self(system);
  expected<caf::strong_actor_ptr> result;
  const auto failed = [&](const caf::error& reason) {
    result = fail(errc::unavailable, "The engine cannot be reached: " + caf::to_string(reason) + ".");
  };
  const auto middleman = spawn_local_middleman(system);
  self->request(middleman, timeouts::connecting, caf::connect_atom::value, job.door, job.port)
    .receive(
      [&](const caf::node_id&, const caf::strong_actor_ptr& door, const std::set<std::string>&) { result = door; },
      failed);
  if (!result)
    return result;
  const auto door = caf::actor_cast<worker_door_actor>(*result);
  self->request(door, timeouts::connecting, attach_atom::value, job.token, std::string(worker_version))
    .receive([&](const caf::strong_actor_ptr& engine) { result = engine; }, failed);
  return result;
}

constexpr std::size_t most_job_bytes = 1 << 20;

expected<void> work(const device_factory& make) {
  auto bytes = read_job(job_descriptor, most_job_bytes);
  if (!bytes)
    return tl::unexpected(bytes.error());
  auto job = decode_job(*bytes);
  if (!job)
    return tl::unexpected(job.error());
  if (auto tied = die_with_parent(job->parent); !tied)
    return tied;
  caf::actor_system_config config;
  configure(config);
  configure_processes(config);
  auto* system =
    new caf::actor_system(config); // Never taken down: the process ends as it is, whatever computes in it.
  caf::scoped_actor self(*system);
  const auto here = system->spawn<io_host>(*job, make);
  auto engine = come_in(*system, *job);
  if (!engine)
    return tl::unexpected(engine.error());
  self->monitor(here);
  self->send(here, attach_atom::value, *engine);
  self->receive([](const caf::down_msg&) {});
  return {};
}

} // namespace

int run_worker_process(const device_factory& make) {
  // Whoever stops a service may signal all its processes at once; the engine ends us, when it has saved what it wants.
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    std::signal(signal, SIG_IGN);
  const auto done = work(make);
  if (!done)
    std::cerr << "troupe worker: " << done.error().message << std::endl;
  std::_Exit(done ? 0 : 1);
}

} // namespace troupe
