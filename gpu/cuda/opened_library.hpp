// A library that is opened when it is wanted, so that a machine without it runs what does not want it.
#pragma once

#include <dlfcn.h>

#include <string>
#include <utility>

#include <fmt/format.h>

#include "protocol/error.hpp"

namespace troupe::gpu::cuda {

/// The process keeps it open.
class opened_library {
public:
  /// what: "NCCL is needed for several ranks". Errors: unavailable.
  static expected<opened_library> open(std::string name, const char* what) {
    void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      return fail(errc::unavailable, fmt::format("{} and cannot be opened: {}.", what, dlerror()));
    return opened_library(std::move(name), handle);
  }

  /// function: a pointer to one, which has the type of what is called `symbol` there.
  template <class Function>
  void find(Function& function, const char* symbol) {
    function = reinterpret_cast<Function>(dlsym(handle_, symbol));
    if (!function)
      missing_ = symbol;
  }

  /// Errors: unavailable (a function that was looked for is not there).
  expected<void> has_all() const {
    if (missing_.empty())
      return {};
    return fail(errc::unavailable, fmt::format("{} has no function {}.", name_, missing_));
  }

private:
  opened_library(std::string name, void* handle) : name_(std::move(name)), handle_(handle) {}

  std::string name_, missing_;
  void* handle_;
};

} // namespace troupe::gpu::cuda
