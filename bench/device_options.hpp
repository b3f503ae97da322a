// Command line options of benchmarks that make a CPU backend; they have the names that `troupe` gives them.
#pragma once

#include <functional>
#include <set>
#include <string>

#include <CLI/CLI.hpp>

#include "model/backend.hpp"

namespace troupe::bench {

inline void add_device_options(CLI::App& app, backend_options& options) {
  const auto add = [&](const char* name, std::set<std::string> values, std::function<void(const std::string&)> take) {
    app.add_option_function<std::string>(name, std::move(take))->check(CLI::IsMember(std::move(values)));
  };
  add("--cpu-arithmetic", {"int8", "bf16"}, [&](const std::string& value) {
    options.arithmetic = value == "bf16" ? cpu_arithmetic::bf16 : cpu_arithmetic::int8;
  });
  add("--kv-cache-dtype", {"bf16", "int8"},
      [&](const std::string& value) { options.kv_dtype = *parse_kv_cache_dtype(value); });
  app.add_option("--threads", options.threads);
}

} // namespace troupe::bench
