// What one rendering may use, and the memory of its values.
//
// A workspace belongs to one call of `program::render` on one thread. It counts steps and bytes, and it knows every
// object that is alive, so that values which refer to each other in a circle are taken apart at its end.
//
// Inside model/jinja a failure is thrown, because a wrong name may turn up forty calls deep in an expression; it is
// caught where parsing and rendering begin, and leaves this folder as an `error`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "model/jinja/limits.hpp"
#include "protocol/error.hpp"

namespace troupe::jinja {

/// Thrown by everything in this folder; never leaves it.
struct failure {
  errc code;
  std::string message; ///< Begins in lower case: the position is put before it.
};

[[noreturn]] inline void refuse(std::string message) { throw failure{errc::malformed, std::move(message)}; }
[[noreturn]] inline void refuse_limit(std::string message) {
  throw failure{errc::limit_exceeded, std::move(message)};
}

class workspace;

/// A counted value with memory behind it: text, list, dict, function, scope.
class object {
public:
  explicit object(workspace& owner);
  virtual ~object();
  object(const object&) = delete;
  object& operator=(const object&) = delete;

  /// Drops every reference to other objects, because the workspace ends.
  virtual void clear() noexcept {}
  void charge(std::size_t bytes);

  void acquire() noexcept { ++references_; }
  void release() noexcept;
  workspace& owner() const { return owner_; }

private:
  friend class workspace;
  workspace& owner_;
  object* previous_ = nullptr;
  object* next_ = nullptr;
  std::size_t charged_ = 0;
  std::uint32_t references_ = 0;
};

class workspace {
public:
  workspace(const jinja::limits& bounds, std::int64_t now) : bounds_(bounds), now_(now) {}
  ~workspace();
  workspace(const workspace&) = delete;
  workspace& operator=(const workspace&) = delete;

  const jinja::limits& bounds() const { return bounds_; }
  std::int64_t now() const { return now_; }

  /// Counts work. Texts and lists charge for their size, so that a step is never more than some microseconds.
  void step(std::uint64_t count = 1);
  void step_bytes(std::size_t bytes) { step(1 + bytes / 64); }

  void charge(std::size_t bytes);
  void refund(std::size_t bytes) noexcept { used_ -= bytes; }

  std::size_t depth = 0; ///< Of evaluation; see `deeper`.

private:
  friend class object;
  void dispose(object& dead) noexcept;

  jinja::limits bounds_;
  std::int64_t now_;
  std::uint64_t steps_ = 0;
  std::size_t used_ = 0;
  object* live_ = nullptr;
  object* dead_ = nullptr;
  bool disposing_ = false;
};

/// A reference that keeps an object alive.
template <class Object>
class counted {
public:
  counted() = default;
  explicit counted(Object& o) : object_(&o) { o.acquire(); }
  counted(const counted& other) : object_(other.object_) {
    if (object_)
      object_->acquire();
  }
  counted(counted&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  counted& operator=(counted other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~counted() {
    if (object_)
      object_->release();
  }
  Object* get() const { return object_; }
  Object& operator*() const { return *object_; }
  Object* operator->() const { return object_; }

private:
  Object* object_ = nullptr;
};

/// Guards recursion on the C++ stack.
class deeper {
public:
  explicit deeper(workspace& ws) : ws_(ws) {
    if (ws.depth >= ws.bounds().max_evaluation_depth)
      refuse_limit("macros or expressions call each other more than "
                   + std::to_string(ws.bounds().max_evaluation_depth) + " deep");
    ++ws.depth;
  }
  ~deeper() { --ws_.depth; }
  deeper(const deeper&) = delete;
  deeper& operator=(const deeper&) = delete;

private:
  workspace& ws_;
};

} // namespace troupe::jinja
