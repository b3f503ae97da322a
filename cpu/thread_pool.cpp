#include "cpu/thread_pool.hpp"

#include <algorithm>
#include <fstream>
#include <string>

#include <sched.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "comm/pause.hpp"

namespace troupe::cpu {

namespace {

// Each round is a pause of some 40 to 140 cycles: 20 to 60 microseconds in all, about the cost of sleeping and
// waking.
constexpr unsigned barrier_spins = 1000;

/// Round to nearest, denormals as they are, for as long as it lives: a program that embeds us may have other habits,
/// and which thread takes a row must change no bit.
class plain_arithmetic {
public:
#if defined(__x86_64__)
  plain_arithmetic() : before_(_mm_getcsr()) {
    _mm_setcsr(0x1f80);
  }
  ~plain_arithmetic() {
    _mm_setcsr(before_);
  }

private:
  unsigned before_;
#else
  plain_arithmetic() {} // What the program has set counts.
#endif
};

unsigned affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return std::max(1u, std::thread::hardware_concurrency());
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

/// Keeps the calling thread on one of the CPUs that it may use; as a wish, since without it there is only less speed.
void stay_on_cpu(unsigned index) {
  cpu_set_t all, one;
  CPU_ZERO(&all);
  CPU_ZERO(&one);
  if (sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &all) && index-- == 0)
      CPU_SET(cpu, &one);
  if (CPU_COUNT(&one) == 1)
    sched_setaffinity(0, sizeof one, &one);
}

/// "QUOTA PERIOD" of one cgroup (version 2), as whole CPUs; `none` where it sets no limit.
unsigned quota_cpus(const std::string& folder, unsigned none) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0)
    return none;
  return static_cast<unsigned>(std::clamp(std::strtod(quota.c_str(), nullptr) / period, 1.0, 4096.0));
}

/// This process's cgroup and all above it.
unsigned cgroup_cpus(unsigned none) {
  std::ifstream file("/proc/self/cgroup");
  std::string line, path;
  while (std::getline(file, line))
    if (line.starts_with("0::"))
      path = line.substr(3);
  unsigned cpus = quota_cpus("/sys/fs/cgroup", none);
  while (path.size() > 1) {
    cpus = std::min(cpus, quota_cpus("/sys/fs/cgroup" + path, none));
    path.resize(path.rfind('/'));
  }
  return cpus;
}

} // namespace

unsigned usable_cpus() {
  const unsigned cpus = affinity_cpus();
  return std::min(cpus, cgroup_cpus(cpus));
}

thread_pool::thread_pool(unsigned threads)
    : threads_(std::max(1u, threads)), spins_(threads_ <= affinity_cpus() ? barrier_spins : 0) {
  try {
    others_.reserve(threads_ - 1);
    for (unsigned i = 1; i < threads_; ++i)
      others_.emplace_back([this, i] { work(i); });
  } catch (...) {
    stop();
    throw;
  }
}

thread_pool::~thread_pool() {
  stop();
}

void thread_pool::stop() {
  stopping_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (auto& thread : others_)
    thread.join();
  others_.clear();
}

void thread_pool::work(unsigned index) {
  const plain_arithmetic arithmetic;
  if (threads_ == affinity_cpus())
    stay_on_cpu(index);
  std::uint32_t seen = 0;
  for (;;) {
    round_.wait(seen, std::memory_order_acquire);
    ++seen;
    if (stopping_)
      return;
    (*body_)(index);
    barrier();
  }
}

void thread_pool::run(const std::function<void(unsigned)>& body) {
  const plain_arithmetic arithmetic;
  if (threads_ == 1)
    return body(0);
  body_ = &body;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  body(0);
  barrier();
}

void thread_pool::barrier() {
  if (threads_ == 1)
    return;
  const auto phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.exchange(phase + 1,
                    std::memory_order_seq_cst); // A plain store could pass `notify_all`'s look for waiters.
    phase_.notify_all();
    return;
  }
  for (unsigned i = 0; i < spins_; ++i) {
    if (phase_.load(std::memory_order_acquire) != phase)
      return;
    pause();
  }
  while (phase_.load(std::memory_order_acquire) == phase)
    phase_.wait(phase, std::memory_order_acquire);
}

} // namespace troupe::cpu
