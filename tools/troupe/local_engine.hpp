// An engine inside this process and a client of it: what `run`, `chat` and `batch` talk to.
//
// Owner: the main thread. The client is an actor of its own that the main thread plays (a caf::scoped_actor), so that
// everything that a command waits for comes through one mailbox: tokens, endings, signals, the end of the engine.
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "actors/system.hpp"
#include "serve/observe/trace_writer.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

/// Blocks signals in this thread and those that it starts, and sends `stop_atom` to an actor for each that comes.
/// Make it before the actor system, so that every thread has them blocked, and `watch` once there is somebody to
/// tell.
class signal_watch {
public:
  explicit signal_watch(std::initializer_list<int> which);
  ~signal_watch();
  signal_watch(const signal_watch&) = delete;
  void watch(caf::actor whom);
  /// Until then `early` is called for each, in a thread of its own. Without it they wait.
  void before_watch(std::function<void()> early);
  /// Drops the signals that nobody has been told of, and tells with `reset_atom` when that is done: a `stop_atom` from
  /// before has come by then.
  void forget();
  void stop();

private:
  void run();

  sigset_t signals_;
  std::function<void()> early_;
  std::mutex lock_;
  caf::actor whom_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

/// What an engine tells, and whom.
struct surroundings {
  std::unique_ptr<signal_watch> signals; ///< Null: for SIGINT and SIGTERM.
  observers observed_by;
  logger log;
};

class local_engine {
public:
  /// Starts everything; weights are loaded while the caller goes on. Errors: those of load_model, options that do
  /// not fit, io (the trace cannot be written). Signals are taken over, see `receive`; others keep their effect.
  static expected<std::unique_ptr<local_engine>> start(const engine_flags& flags, surroundings around = {});
  ~local_engine();

  caf::actor_system& system() { return *system_; }
  const troupe::model& model() const { return *model_; }
  const std::shared_ptr<const troupe::model>& source() const { return model_; }
  std::uint32_t context_length() const { return context_length_; } ///< Of prompt and answer together.
  const supervisor_actor& supervisor() const { return supervisor_; }
  caf::scoped_actor& self() { return *self_; }

  /// Waits until the weights are loaded. Errors: why they could not be.
  expected<worker_info> info();

  /// The same, but a signal ends it, too. Errors: cancelled (a signal came before).
  expected<worker_info> info_or_stop();

  /// The token ids of a prompt, by the engine's own tokenizer.
  expected<prompt_tokens> encode(const prompt& request);

  void submit(generate_request request);
  void cancel(request_id id);

  /// Takes messages as they come until `take` returns false; what a step brought comes as single deltas and ends. A
  /// signal calls `interrupted`, which may end the wait too. Errors: unavailable, when the engine has ended.
  expected<void> receive(const std::function<bool(server_message&)>& take, const std::function<bool()>& interrupted);

  /// Drops the signals that came while nothing was running.
  void forget_signals();

private:
  explicit local_engine(std::unique_ptr<signal_watch> signals) : signals_(std::move(signals)) {}

  std::unique_ptr<signal_watch> signals_;
  std::shared_ptr<serve::trace_writer> trace_; ///< Null: none.
  std::shared_ptr<const troupe::model> model_;
  std::uint32_t context_length_ = 0;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<caf::scoped_actor> self_;
  supervisor_actor supervisor_;
  actor_tree tree_;
  stream_actor stream_;
};

/// Loads the model and lays out the engine that the flags ask for.
expected<engine_options> make_engine_options(const engine_flags& flags, const logger& log = {});

/// A text prompt as the flags want it: raw, or as the last message of a chat.
prompt make_prompt(const prompt_flags& flags, std::string text);

} // namespace troupe::cli
