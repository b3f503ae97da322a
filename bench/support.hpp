// What benchmarks without actors share: an end where something is wrong, a model's file, and text.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string>

#include "model/architecture.hpp"
#include "model/gguf/file.hpp"

namespace troupe::bench {

[[noreturn]] inline void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

template <class T>
T or_give_up(expected<T> made) {
  if (!made)
    give_up(made.error().message);
  return std::move(*made);
}

struct opened_model {
  std::shared_ptr<const gguf::file> file;
  model_program program;
};

inline opened_model open_model(const std::string& path) {
  auto file = or_give_up(gguf::open(path));
  return {file, or_give_up(make_program(*file))};
}

inline std::string contents_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Of those that Debian installs, by their names.
inline std::string licences(std::initializer_list<const char*> names) {
  std::string text;
  for (const char* name : names)
    text += contents_of(std::filesystem::path("/usr/share/common-licenses") / name);
  return text;
}

} // namespace troupe::bench
