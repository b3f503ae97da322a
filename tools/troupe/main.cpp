// The command line of `troupe`: what may be said, and which function does it.
#include <fcntl.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include <CLI/CLI.hpp>

#include "tools/troupe/bench/bench_options.hpp"
#include "tools/troupe/engine_options.hpp"
#include "tools/troupe/options.hpp"
#include "tools/troupe/request_options.hpp"
#include "tools/troupe/serve_options.hpp"
#include "troupe_version.hpp"

namespace {

using namespace troupe::cli;

void add_prompt_options(CLI::App* command, prompt_flags& flags, answers which) {
  auto* group = command->add_option_group("Generation");
  auto* raw = group->add_flag("--raw", flags.raw, "Use the prompt as it stands, without the model's chat template");
  group->add_option("--system", flags.system, "A system message in front of the prompt")->excludes(raw);
  add_request_options(group, flags.request, which);
}

/// The command line's values by the same rules as a request's, before a model is loaded for nothing.
int check(const prompt_flags& flags) {
  auto valid = validate_options(flags.request);
  return valid ? 0 : (report(valid.error()), exit_usage);
}

/// A descriptor that is closed would be given to the next file that is opened, and an answer written into that.
void keep_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) // It fails like a closed one.
      std::abort();
}

} // namespace

int main(int argc, char** argv) {
  keep_standard_descriptors();
  std::signal(SIGPIPE, SIG_IGN); // A reader that has gone is an error of `write`, and is said.
  CLI::App app("Troupe runs language models on your own machine.\n\n"
               "  troupe run \"What is the capital of France?\"     one answer\n"
               "  troupe chat                                     a conversation\n"
               "  troupe serve                                    for programs, over HTTP");
  app.name("troupe");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("troupe ") + troupe::version);
  run_flags run_with, chat_with;
  serve_flags serve_with;
  batch_flags batch_with;
  status_flags status_with;
  tokenize_flags tokenize_with;
  inspect_flags inspect_with;
  keygen_flags keygen_with;
  devices_flags devices_with;

  auto* run_command = app.add_subcommand("run", "Answer one prompt: the argument, or all of stdin without one");
  std::string text;
  auto* text_option = run_command->add_option("PROMPT", text, "The prompt; stdin is not read when it is given");
  run_command->add_flag("--json", run_with.json, "Print one JSON object at the end, with token ids and timings");
  add_prompt_options(run_command, run_with.prompt, answers::several);
  add_engine_options(run_command, run_with.engine);
  add_trace_option(run_command, run_with.engine);

  auto* chat_command = app.add_subcommand("chat", "Talk with the model; Ctrl-C cancels an answer, Ctrl-D ends");
  add_prompt_options(chat_command, chat_with.prompt, answers::one);
  chat_command->get_option("--raw")->description(
    "Each line by itself as it stands, without the chat template; nothing is remembered");
  add_engine_options(chat_command, chat_with.engine);

  auto* serve_command =
    app.add_subcommand("serve", "Serve programs over HTTP (docs/http.md), and over ZeroMQ with --zmq");
  add_serve_options(serve_command, serve_with);

  auto* batch_command =
    app.add_subcommand("batch", "Answer a file of prompts, one JSON object a line; goes on where it was stopped");
  batch_command->add_option("FILE", batch_with.input, "JSON lines with prompt, messages or tokens, and options")
    ->required();
  batch_command->add_option("--output", batch_with.output, "Where results go; default: FILE with .out.jsonl");
  add_prompt_options(batch_command, batch_with.prompt, answers::several);
  add_engine_options(batch_command, batch_with.engine);
  add_trace_option(batch_command, batch_with.engine);

  auto* status_command = app.add_subcommand("status", "Ask a server that is running how it is, or to do something");
  status_command
    ->add_option("--url", status_with.url, "The server's HTTP; its key, if it wants one, is in TROUPE_API_KEY")
    ->capture_default_str();
  status_command->add_option("--zmq", status_with.zmq,
                             "The server's ZeroMQ endpoint instead; the commands that follow need it");
  auto* curve_key = status_command->add_option("--zmq-curve-key", status_with.curve_key,
                                               "A file with our secret key, where the server wants one");
  auto* curve_server =
    status_command->add_option("--zmq-curve-server", status_with.curve_server, "A file with its public key");
  curve_key->needs(curve_server);
  curve_server->needs(curve_key);
  status_command->add_flag("--check", status_with.check, "Check what must always be true of the engine");
  status_command->add_flag("--reset-prefix-cache", status_with.reset_prefix_cache,
                           "Forget all cached prefixes that no request is using");
  status_command->add_flag("--drain", status_with.drain,
                           "Refuse new requests from now on, and wait until all that are open have ended");
  status_command->add_flag("--json", status_with.json, "Print one JSON object");
  status_command->add_option("--timeout-ms", status_with.timeout_ms, "How long the server may say nothing at all")
    ->capture_default_str()
    ->check(CLI::Range(1u, 3600000u));

  auto* tokenize_command =
    app.add_subcommand("tokenize", "Token ids of stdin; special tokens are parsed, none are added");
  tokenize_command->add_option("--model", tokenize_with.model, "A model by name or path")->capture_default_str();
  tokenize_command->add_flag("--json", tokenize_with.json, "Print {\"ids\": [...]}");

  auto* inspect_command = app.add_subcommand("inspect", "What is in a model file, and how much memory it will need");
  inspect_command->add_option("MODEL", inspect_with.model, "A model by name or path")->required();
  inspect_command->add_flag("--json", inspect_with.json, "Print one JSON object");

  auto* devices_command =
    app.add_subcommand("devices", "The CUDA devices that --device cuda would use, and how much memory each has free");
  devices_command->add_option("--most", devices_with.most, "How many of them")
    ->capture_default_str()
    ->check(CLI::Range(1u, 4096u));
  devices_command->add_flag("--json", devices_with.json, "Print one JSON object");

  const auto bench_commands = add_bench_commands(app);

  auto* keygen_command =
    app.add_subcommand("keygen", "Make a pair of keys for ZeroMQ (CURVE): NAME.key, which is secret, and NAME.pub");
  keygen_command->add_option("NAME", keygen_with.name, "Of the files")->required();

  auto* worker_command = app.add_subcommand("worker", "What an engine starts with --workers process")->group("");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : exit_usage;
  }
  if (*run_command) {
    if (text_option->count() > 0)
      run_with.text = text;
    const int wrong = check(run_with.prompt);
    return wrong ? wrong : run(run_with);
  }
  if (*chat_command) {
    const int wrong = check(chat_with.prompt);
    return wrong ? wrong : chat(chat_with);
  }
  if (*batch_command) {
    const int wrong = check(batch_with.prompt);
    return wrong ? wrong : batch(batch_with);
  }
  if (*serve_command)
    return serve(serve_with);
  if (*worker_command)
    return worker();
  if (*keygen_command)
    return keygen(keygen_with);
  if (*devices_command)
    return devices(devices_with);
  if (*status_command)
    return status(status_with);
  if (*tokenize_command)
    return tokenize(tokenize_with);
  for (const auto& [command, work] : bench_commands)
    if (*command)
      return work();
  return inspect(inspect_with);
}
