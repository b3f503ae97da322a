// `troupe chat`: a conversation. Ctrl-C cancels the answer and not the program.
#include <unistd.h>

#include <iostream>

#include "tools/troupe/local_engine.hpp"

namespace troupe::cli {

namespace {

const char* const help = "Type a message. Ctrl-C cancels an answer, Ctrl-D (or /exit) ends.\n"
                         "/clear forgets the conversation, /help says this again.\n";

class chat_session {
public:
  chat_session(local_engine& engine, const prompt_flags& flags) : engine_(engine), flags_(flags) { clear(); }

  void clear() {
    messages_.clear();
    if (!flags_.system.empty())
      messages_.push_back({"system", flags_.system});
  }

  /// Sends the conversation with one more message and prints the answer as it comes. False when the engine or stdout
  /// is gone.
  bool say(std::string text) {
    messages_.push_back({"user", std::move(text)});
    generate_request request;
    request = flags_.request;
    request.id = ++last_id_;
    request.prompt = flags_.raw ? prompt(messages_.back().content) : prompt(messages_);
    engine_.submit(std::move(request));
    std::string answer;
    request_end end;
    bool writable = true;
    auto received = engine_.receive(
      [&](server_message& message) {
        if (auto* delta = std::get_if<token_delta>(&message)) {
          answer += delta->text;
          if (writable && !write_stdout(delta->text)) {
            writable = false; // The reader has gone: no use in going on.
            engine_.cancel(last_id_);
          }
        } else if (auto* last = std::get_if<request_end>(&message)) {
          end = std::move(*last);
          return end.id != last_id_;
        }
        return true;
      },
      [&] {
        engine_.cancel(last_id_);
        return true;
      });
    if (!received)
      return report(received.error()), false;
    if (!write_stdout("\n") || !writable)
      return report({errc::io, "Cannot write to stdout: it is closed or full."}), false;
    finish(end, std::move(answer));
    return true;
  }

private:
  void finish(const request_end& end, std::string answer) {
    if (end.reason == finish_reason::error) {
      report(end.failure);
      messages_.pop_back(); // As if it had not been said.
      if (end.failure.code == errc::context_overflow)
        std::cerr << "The conversation has grown too long for the model: /clear begins a new one." << std::endl;
      return;
    }
    if (end.reason == finish_reason::cancelled)
      std::cerr << "[cancelled]" << std::endl;
    messages_.push_back({"assistant", std::move(answer)});
    if (flags_.raw)
      messages_.clear(); // Nothing is remembered.
  }

  local_engine& engine_;
  const prompt_flags& flags_;
  prompt_messages messages_;
  request_id last_id_ = 0;
};

bool read_line(std::string& line) {
  if (isatty(STDIN_FILENO))
    std::cerr << "> " << std::flush;
  return static_cast<bool>(std::getline(std::cin, line));
}

} // namespace

int chat(const run_flags& flags) {
  surroundings around; // SIGTERM ends it, also at the prompt.
  around.signals = std::make_unique<signal_watch>(std::initializer_list<int>{SIGINT});
  auto started = local_engine::start(flags.engine, std::move(around));
  if (!started)
    return report(started.error());
  auto& engine = **started;
  std::cerr << engine.model().name << ". " << help;
  if (auto device = engine.info(); !device)
    return report(device.error());
  chat_session talk(engine, flags.prompt);
  for (std::string line; read_line(line);) {
    engine.forget_signals();
    if (line.empty())
      continue;
    if (line == "/exit")
      break;
    if (line == "/clear")
      talk.clear();
    else if (line == "/help")
      std::cerr << help;
    else if (line[0] == '/' && line.find(' ') == std::string::npos)
      std::cerr << "There is no command " << line << ". " << help;
    else if (!talk.say(line))
      return exit_failed;
  }
  if (isatty(STDIN_FILENO))
    std::cerr << std::endl;
  return 0;
}

} // namespace troupe::cli
