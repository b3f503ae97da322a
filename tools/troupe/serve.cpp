// `troupe serve`: the engine behind HTTP, and behind ZeroMQ where that is wanted, until a signal comes.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "actors/admin.hpp"
#include "actors/endpoint.hpp"
#include "actors/gateway.hpp"
#include "serve/api/api.hpp"
#include "serve/http/front.hpp"
#include "serve/http/server.hpp"
#include "serve/observe/request_log.hpp"
#include "serve/observe/views.hpp"
#include "tools/troupe/console_log.hpp"
#include "tools/troupe/curve_keys.hpp"
#include "tools/troupe/local_engine.hpp"
#include "troupe_version.hpp"

namespace troupe::cli {

namespace {

constexpr rlim_t wanted_descriptors = 65536;
constexpr const char* early_stop = "stopping before the model is loaded.";

/// A connection is a descriptor, and what is usual is 1,024.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted_descriptors)
    return;
  limit.rlim_cur = std::min(limit.rlim_max, wanted_descriptors);
  setrlimit(RLIMIT_NOFILE, &limit); // Where that fails there are as many connections as there were.
}

bool is_this_machine(const std::string& host) {
  return host == "localhost" || host == "::1" || is_local("tcp://" + host + ":0");
}

expected<serve::http_options> http_options_of(const serve_flags& flags, const logger& log) {
  serve::http_options options;
  options.log = log;
  options.host = flags.host;
  options.port = flags.port;
  options.version = version;
  options.cors_origins = flags.cors_origins;
  options.open_access = flags.allow_open_access;
  options.limits.stalled_ms = flags.client_timeout_s * 1000;
  if (flags.tls_cert.empty() != flags.tls_key.empty())
    return fail(errc::invalid_argument, "TLS needs both a certificate and its key: --tls-cert FILE --tls-key FILE.");
  options.tls_certificates = flags.tls_cert;
  options.tls_key = flags.tls_key;
  if (!flags.api_key_file.empty())
    if (auto added = options.keys.add_file(flags.api_key_file); !added)
      return tl::unexpected(added.error());
  if (const char* list = std::getenv("TROUPE_API_KEY"))
    if (auto added = options.keys.add_list(list, "TROUPE_API_KEY"); !added)
      return tl::unexpected(added.error());
  return options;
}

expected<zmq_access> zmq_access_of(const serve_flags& flags) {
  zmq_access access;
  access.open = flags.allow_open_access;
  if (flags.curve_server_key.empty())
    return access;
  auto secret = read_secret_key(flags.curve_server_key, "--zmq-curve-server-key");
  if (!secret)
    return tl::unexpected(secret.error());
  auto clients = read_public_keys(flags.curve_client_keys, "--zmq-curve-client-keys");
  if (!clients)
    return tl::unexpected(clients.error());
  if (auto possible = public_key_of(*secret); !possible)
    return tl::unexpected(possible.error());
  access.secret_key = std::move(*secret);
  access.client_keys = std::move(*clients);
  return access;
}

/// The API by path. `context` is filled in before the first request is taken.
serve::api_table api_of(const std::shared_ptr<const serve::api_context>& context) {
  serve::api_table table;
  for (const auto& [path, read, about] : serve::operations())
    table[std::string(path)] = {[context, read = read](std::string_view body) { return read(*context, body); },
                                about};
  return table;
}

/// Of a file the name without what it ends with.
std::string served_name_of(const serve_flags& flags) {
  if (!flags.served_model_name.empty())
    return flags.served_model_name;
  const std::filesystem::path path(flags.engine.model);
  return path.extension() == ".gguf" ? path.stem().string() : flags.engine.model;
}

void describe(const local_engine& engine, const std::string& served_name, serve::api_context& context) {
  context.source = engine.source();
  context.model_name = served_name;
  if (engine.model().name != served_name)
    context.aliases.push_back(engine.model().name);
  context.context_length = engine.context_length();
  context.started =
    std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The ZeroMQ endpoints that are wanted; the answer is that of clients, or nothing.
expected<std::string> open_gateways(local_engine& engine, const serve_flags& flags, const zmq_access& access,
                                    const logger& log) {
  gateway_options options;
  options.access = access;
  options.log = log;
  options.server_name = std::string("troupe ") + version;
  options.model_name = engine.model().name;
  options.context_length = engine.context_length();
  const auto open = [&](const std::string& endpoint, bool takes_commands,
                        const std::string& option) -> expected<std::string> {
    options.endpoint = endpoint;
    options.takes_commands = takes_commands;
    options.option = option;
    auto gateway = spawn_gateway(engine.system(), engine.supervisor(), options);
    if (!gateway)
      return tl::unexpected(gateway.error());
    engine.self()->monitor(gateway->actor);
    return std::move(gateway->endpoint);
  };
  std::string clients;
  if (flags.zmq) {
    auto opened = open(*flags.zmq, flags.admin_zmq.empty() && is_local(*flags.zmq), "--zmq");
    if (!opened)
      return opened;
    clients = std::move(*opened);
  }
  if (!flags.admin_zmq.empty()) {
    auto opened = open(flags.admin_zmq, true, "--admin-zmq");
    if (!opened)
      return opened;
    say(log, log_level::info, "admin_zmq", "an operator's commands are taken on " + *opened + ".");
  }
  return clients;
}

/// Until a signal comes, and then until what is open has ended, or the time for that, or a second signal. Errors:
/// unavailable, when the engine has ended by itself.
expected<void> serve_until_stopped(local_engine& engine, serve::http_server& http, std::chrono::seconds patience,
                                   const logger& log) {
  auto& self = engine.self();
  const auto me = caf::actor_cast<caf::actor>(self);
  const auto client = caf::actor_cast<client_actor>(caf::strong_actor_ptr{self->ctrl()});
  bool stopping = false, answered = false, drained = false, more = true;
  expected<void> result;
  self->receive_while([&] { return more; })(
    [&](stop_atom) {
      more = !std::exchange(stopping, true) && patience.count() > 0;
      if (!more)
        return;
      say(log, log_level::info, "draining",
          fmt::format("what is open has {} s to finish, and no more is taken. A second signal stops at once.",
                      patience.count()));
      http.drain([me] { caf::anon_send(me, flush_atom::value); });
      answer_admin(engine.system(), engine.supervisor(), client, 0, {0, admin_command::drain});
      caf::delayed_anon_send(me, patience, alarm_atom::value);
    },
    [&](flush_atom) { // HTTP has answered everything.
      answered = true;
      more = !drained;
    },
    [&](deliver_atom, const delivery&) { // The engine has ended all requests, those over ZeroMQ, too.
      drained = true;
      more = !answered;
    },
    [&](alarm_atom) { more = false; },
    [&](const caf::down_msg& down) {
      if (down.reason == caf::exit_reason::normal && down.source != engine.supervisor().address())
        return; // The engine ends, and says why.
      more = false;
      result = fail(errc::unavailable, "The engine has ended: " + caf::to_string(down.reason) + ".");
    });
  return result;
}

/// Everything but the log, which says what has become of it.
expected<void> serve(const serve_flags& flags, std::unique_ptr<signal_watch> signals, const logger& log) {
  if (flags.log_prompts && flags.least_logged != log_level::debug)
    return fail(errc::invalid_argument, "--log-prompts shows prompts at the level debug: give --log-level debug, too.");
  auto options = http_options_of(flags, log);
  if (!options)
    return tl::unexpected(options.error());
  const auto access = zmq_access_of(flags);
  if (!access)
    return tl::unexpected(access.error());
  if (!options->keys.empty() && options->tls_key.empty() && !is_this_machine(flags.host))
    say(log, log_level::warning, "keys_in_the_open",
        "API keys travel as they are, since there is no TLS (--tls-cert, --tls-key).");
  std::unique_ptr<local_engine> engine; // Outlives HTTP, which talks to its actors.
  const auto context = std::make_shared<serve::api_context>();
  const serve::views views;
  auto http = serve::http_server::start(
    std::move(*options), api_of(context),
    [&](serve::route_table& routes, serve::status_board& board) { serve::add_views(routes, board, views); });
  if (!http)
    return tl::unexpected(http.error());
  auto& server = **http;
  say(log, log_level::info, "start", "listening; the model is being loaded.", {{"url", server.url()}});
  surroundings around{std::move(signals), views.all(), log};
  around.observed_by.push_back(std::make_shared<serve::request_log>(log, flags.log_prompts));
  auto with_access = flags.engine;
  with_access.access = *access;
  auto started = local_engine::start(with_access, std::move(around));
  if (!started)
    return tl::unexpected(started.error());
  engine = std::move(*started);
  describe(*engine, served_name_of(flags), *context);
  views.counts->describe({context->model_name, context->context_length, tokens_per_block});
  auto endpoint = open_gateways(*engine, flags, *access, log);
  if (!endpoint)
    return tl::unexpected(endpoint.error());
  auto device = engine->info_or_stop();
  if (!device && device.error().code == errc::cancelled) {
    say(log, log_level::info, "stop", early_stop);
    return {};
  }
  if (!device)
    return tl::unexpected(device.error());
  auto front = serve::spawn_front(engine->system(), engine->supervisor(), server.door());
  if (!front)
    return tl::unexpected(front.error());
  server.attach(std::move(*front), *context);
  say(log, log_level::info, "ready",
      fmt::format("troupe {}: {} on {} ({}), {} MB of weights, {} of KV cache, {} of buffers. Listening on {}{}. "
                  "Ctrl-C stops.",
                  version, context->model_name, device->device, device->backend,
                  device->memory.weight_bytes / 1000000, device->memory.kv_bytes / 1000000,
                  device->memory.workspace_bytes / 1000000, server.url(),
                  endpoint->empty() ? "" : " and " + *endpoint));
  auto ended = serve_until_stopped(*engine, server, std::chrono::seconds(flags.shutdown_timeout_s), log);
  if (ended)
    say(log, log_level::info, "stop", "stopping.");
  return ended;
}

} // namespace

int serve(const serve_flags& flags) {
  allow_many_descriptors();
  auto signals = std::make_unique<signal_watch>(std::initializer_list<int>{SIGINT, SIGTERM});
  console_log log(flags.least_logged, flags.log_json); // After that, so that its thread takes no signals.
  signals->before_watch([&log] {
    say(log.entries(), log_level::info, "stop", early_stop);
    log.close();
    std::_Exit(0); // Nothing is there yet that would have to be ended in order.
  });
  auto served = serve(flags, std::move(signals), log.entries());
  if (!served)
    say(log.entries(), log_level::error, "failed", served.error().message);
  const int code = served ? 0 : exit_failed;
  if (!log.close())
    std::_Exit(code);
  return code;
}

} // namespace troupe::cli
