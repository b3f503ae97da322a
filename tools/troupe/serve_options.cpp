#include "tools/troupe/serve_options.hpp"

#include <algorithm>

#include "tools/troupe/choice_option.hpp"
#include "tools/troupe/engine_options.hpp"

namespace troupe::cli {

void add_trace_option(CLI::App* command, engine_flags& flags) {
  command->add_option("--trace", flags.trace,
                      "Write what is computed when, step by step and request by request, into this file: it can be "
                      "loaded in ui.perfetto.dev");
}

void add_serve_options(CLI::App* command, serve_flags& flags) {
  add_engine_options(command, flags.engine);
  command->add_option("MODEL", flags.engine.model, "The same as --model")->excludes(command->get_option("--model"));
  auto* http = command->add_option_group("HTTP");
  http->add_option("--host", flags.host, "Address or name to listen on")->capture_default_str();
  http->add_option("--port", flags.port, "Port to listen on; 0 takes a free one and says which")
    ->capture_default_str();
  http->add_option(
    "--served-model-name", flags.served_model_name,
    "What clients call the model; without it, what --model says. The name in the model's file is taken, too");
  http->add_option(
    "--api-key-file", flags.api_key_file,
    "Keys that clients must send, one a line; those in TROUPE_API_KEY (separated by commas) count, too");
  http->add_flag(
    "--allow-open-access", flags.allow_open_access,
    "Listen where other machines can reach it although there is no key, over HTTP and ZeroMQ: whoever can may "
    "use it");
  http->add_option("--tls-cert", flags.tls_cert, "Certificate chain for HTTPS, in PEM");
  http->add_option("--tls-key", flags.tls_key, "Its private key, in PEM");
  http
    ->add_option("--cors-origin", flags.cors_origins,
                 "An origin whose pages may use the server (https://HOST), several times if you like; * is all")
    ->expected(1)
    ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  http
    ->add_option("--client-timeout", flags.client_timeout_s,
                 "Seconds after which a client that takes nothing of its answer is cut")
    ->capture_default_str()
    ->check(CLI::Range(1u, 86400u));
  http
    ->add_option("--shutdown-timeout", flags.shutdown_timeout_s,
                 "Seconds that open requests have to finish after SIGTERM or SIGINT; a second one stops at once")
    ->capture_default_str()
    ->check(CLI::Range(0u, 86400u));
  auto* zmq = command->add_option_group("ZeroMQ");
  zmq->add_option_function<std::string>(
    "--zmq", [&flags](const std::string& endpoint) { flags.zmq = endpoint; },
    "Endpoint to listen on: tcp://HOST:PORT (* takes a free port), ipc://PATH (docs/protocol.md)");
  zmq->add_option("--admin-zmq", flags.admin_zmq,
                  "Another endpoint, for an operator's commands (troupe status): then they are taken there "
                  "alone. Without it they are taken where --zmq is, if only this machine can reach that");
  auto* server_key =
    zmq->add_option("--zmq-curve-server-key", flags.curve_server_key,
                    "A file with the server's secret key (troupe keygen): ZeroMQ is encrypted, and for "
                    "clients that have keys alone");
  auto* client_keys = zmq->add_option("--zmq-curve-client-keys", flags.curve_client_keys,
                                      "A file with the public keys of those who may connect, one a line");
  server_key->needs(client_keys);
  client_keys->needs(server_key);
  auto* log = command->add_option_group("Log");
  using level = log_level;
  add_choice<level>(
    log, "--log-level", flags.least_logged,
    {{"info", level::info}, {"debug", level::debug}, {"warning", level::warning}, {"error", level::error}},
    "What is said on stderr: this and what is worse");
  add_choice<bool>(log, "--log-format", flags.log_json, {{"text", false}, {"json", true}},
                   "How: text for people, or a JSON object a line");
  log->add_flag("--log-prompts", flags.log_prompts, "Show the beginnings of prompts; needs --log-level debug");
  add_trace_option(command, flags.engine);
  add_admission_settings(command->add_option_group("Admission"), flags.engine.settings);
}

expected<serve_flags> serve_flags_of(std::vector<std::string> arguments, const std::vector<std::string>& ours) {
  serve_flags flags;
  CLI::App app;
  app.set_help_flag();
  add_serve_options(&app, flags);
  std::ranges::reverse(arguments); // As CLI11 takes them.
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& problem) {
    return fail(errc::invalid_argument, std::string("Behind --, for troupe serve: ") + problem.what() + ".");
  }
  for (const auto& option : ours)
    if (app.get_option(option)->count() > 0)
      return fail(errc::invalid_argument, option + " is set by this command itself: leave it out behind --.");
  return flags;
}

} // namespace troupe::cli
