// What the tests of the engine's kernels run on: the shim, which checks and counts, or with TROUPE_TEST_DEVICE=cuda the first CUDA
// device, which does neither: results are compared there, and cases that are about counts alone are skipped.
#pragma once

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"
#ifdef TROUPE_CUDA
#include "gpu/cuda/runtime.hpp"
#endif

namespace troupe::gpu::test {

inline bool on_cuda() {
  const char* wanted = std::getenv("TROUPE_TEST_DEVICE");
  return wanted && std::string_view(wanted) == "cuda";
}

inline boost::test_tools::assertion_result is_on_the_shim(boost::unit_test::test_unit_id) {
  return !on_cuda();
}

/// For `*only_on_the_shim()` behind a case's name.
inline auto only_on_the_shim() {
  return boost::unit_test::precondition(&is_on_the_shim);
}

class kernel_device {
public:
  explicit kernel_device(const shim::shim_options& options) {
    if (!on_cuda()) {
      auto made = std::make_unique<shim::shim_runtime>(shim_kernels(), options);
      shim_ = made.get();
      own_ = std::move(made);
      return;
    }
#ifdef TROUPE_CUDA
    auto opened = cuda::open(0, device_kernels());
    BOOST_REQUIRE_MESSAGE(opened, opened.error().message);
    own_ = std::move(*opened);
#else
    BOOST_FAIL("TROUPE_TEST_DEVICE is cuda, and this build has no CUDA.");
#endif
  }

  operator runtime&() {
    return *own_;
  }

  expected<address> allocate(std::size_t bytes) {
    return own_->allocate(bytes);
  }
  expected<address> allocate_pinned(std::size_t bytes) {
    return own_->allocate_pinned(bytes);
  }
  expected<void> free_pinned(address at) {
    return own_->free_pinned(at);
  }
  expected<stream_id> make_stream() {
    return own_->make_stream();
  }
  expected<void> launch(stream_id on, kernel_id kernel, const grid_shape& shape, const void* arguments) {
    return own_->launch(on, kernel, shape, arguments);
  }
  expected<void> copy(stream_id on, address to, address from, std::size_t bytes) {
    return own_->copy(on, to, from, bytes);
  }
  expected<void> fill(stream_id on, address at, std::uint8_t value, std::size_t bytes) {
    return own_->fill(on, at, value, bytes);
  }
  expected<void> synchronize(stream_id on) {
    return own_->synchronize(on);
  }

  // Of the shim; on a device nothing is counted.
  shim::launch_report last_launch() const {
    return shim_ ? shim_->last_launch() : shim::launch_report{};
  }
  void count_apart(address at, std::size_t bytes) {
    if (shim_)
      shim_->count_apart(at, bytes);
  }
  shim::traffic moved_at(address at) const {
    return shim_ ? shim_->moved_at(at) : shim::traffic{};
  }

private:
  std::unique_ptr<runtime> own_;
  shim::shim_runtime* shim_ = nullptr; ///< Null: it is none.
};

} // namespace troupe::gpu::test
