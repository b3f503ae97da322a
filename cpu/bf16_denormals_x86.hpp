// Denormal numbers as zeros on x86, for as long as a kernel's call takes.
#include <immintrin.h>

namespace {

class denormals_as_zeros {
public:
  denormals_as_zeros() : before_(_mm_getcsr()) { _mm_setcsr(0x9fc0); } // To the nearest; flush to zero; operands too.
  ~denormals_as_zeros() { _mm_setcsr(before_); }
  denormals_as_zeros(const denormals_as_zeros&) = delete;
  denormals_as_zeros& operator=(const denormals_as_zeros&) = delete;

private:
  unsigned before_;
};

inline lanes flushed(lanes a) {
  return a;
}
inline lanes sum_flushed(lanes a, lanes b) {
  return a + b;
}
inline lanes fma_flushed(lanes a, lanes b, lanes c) {
  return fma(a, b, c);
}

} // namespace
