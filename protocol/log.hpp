// What an operator should know, and where it is said.
//
// A program that embeds Troupe hands in a `logger` of its own: nothing global is installed, and no library for logs is
// needed. Nothing here says what clients ask, nor what they are answered.
//
// Threads: a logger's function is called by any of them, several at a time; it takes microseconds, and neither waits nor
// throws.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace troupe {

enum class log_level : std::uint8_t { debug, info, warning, error };

constexpr std::string_view to_string(log_level level) {
  switch (level) {
  case log_level::debug:
    return "debug";
  case log_level::info:
    return "info";
  case log_level::warning:
    return "warning";
  case log_level::error:
    return "error";
  }
  return "error";
}

struct log_field {
  std::string_view name; ///< A constant.
  std::variant<std::string, std::uint64_t, double> value;
};

struct log_entry {
  log_level level = log_level::info;
  std::string_view event; ///< A constant, for programs: "request_ended". docs/operating.md lists them.
  std::string message;    ///< For people. It may repeat what a client has sent, control characters too.
  std::vector<log_field> fields;
};

struct logger {
  std::function<void(const log_entry&)> take; ///< Empty: standard error, without fields.
  log_level least = log_level::info;          ///< What is below it is not said.

  bool takes(log_level level) const { return level >= least; }
};

/// Says it, if the logger takes it. Where the fields cost something, ask that before.
void say(const logger& to, log_level level, std::string_view event, std::string message,
         std::vector<log_field> fields = {});

} // namespace troupe
