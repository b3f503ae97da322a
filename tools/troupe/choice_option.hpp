// An option of the command line that is one of a few names.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

namespace troupe::cli {

/// The first name is the default.
template <class Value>
void add_choice(CLI::App* group, const char* option, Value& value,
                std::initializer_list<std::pair<const char*, Value>> choices, const char* help) {
  std::vector<std::string> names;
  for (const auto& [name, each] : choices)
    names.emplace_back(name);
  group
    ->add_option_function<std::string>(
      option,
      [&value, choices = std::vector(choices)](const std::string& given) {
        for (const auto& [name, each] : choices)
          if (given == name)
            value = each;
      },
      help)
    ->default_str(names.front())
    ->check(CLI::IsMember(names));
}

} // namespace troupe::cli
