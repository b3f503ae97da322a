// Stacks of fibers, and what AddressSanitizer has to be told when one fiber goes on instead of another. Without it these are empty.
#pragma once

#include <cstddef>

#include <boost/context/pooled_fixedsize_stack.hpp>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace troupe::gpu::shim {

/// A stack, as the sanitizer sees it.
struct stack_bounds {
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  void* kept = nullptr; ///< The sanitizer's, while another stack is in use.
};

/// Just before: `from` is left for `to`. ends: for good.
inline void leave_stack([[maybe_unused]] stack_bounds& from, [[maybe_unused]] const stack_bounds& to,
                        [[maybe_unused]] bool ends = false) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.kept, to.bottom, to.bytes);
#endif
}

/// Just after: `here` is in use (again); `from` gets the bounds of the one that was left.
inline void enter_stack([[maybe_unused]] stack_bounds& here, [[maybe_unused]] stack_bounds* from = nullptr) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(here.kept, from ? &from->bottom : nullptr, from ? &from->bytes : nullptr);
#endif
}

/// Takes stacks from a pool, and says where they are.
struct recorded_stacks {
  boost::context::pooled_fixedsize_stack* pool;
  stack_bounds* bounds;

  boost::context::stack_context allocate() {
    auto stack = pool->allocate();
    *bounds = {static_cast<const char*>(stack.sp) - stack.size, stack.size, nullptr};
    return stack;
  }
  void deallocate(boost::context::stack_context& stack) { pool->deallocate(stack); }
};

} // namespace troupe::gpu::shim
