#include "cpu/instruction_set.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace troupe::cpu {

std::string_view to_string(instruction_set which) {
  switch (which) {
  case instruction_set::portable:
    return "portable";
  case instruction_set::avx2:
    return "avx2";
  case instruction_set::avx512vnni:
    return "avx512vnni";
  }
  return "portable";
}

std::optional<instruction_set> parse_instruction_set(std::string_view name) {
  for (auto which : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512vnni})
    if (name == to_string(which))
      return which;
  return {};
}

#if defined(__x86_64__)

namespace {

/// The register states that the operating system saves and restores.
std::uint64_t saved_states() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

constexpr bool bit(std::uint32_t word, int index) {
  return word >> index & 1;
}

} // namespace

instruction_set best_instruction_set() {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return instruction_set::portable;
  const bool xsave = bit(c, 27), avx = bit(c, 28), fma = bit(c, 12), f16c = bit(c, 29);
  if (!xsave || !avx || !fma || !f16c || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
    return instruction_set::portable;
  const auto states = saved_states();
  constexpr std::uint64_t ymm = 0x6, zmm = 0xe6;
  if (!bit(b, 5) || (states & ymm) != ymm) // AVX2
    return instruction_set::portable;
  const bool avx512 = bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31); // F, DQ, BW, VL
  const bool vnni = bit(c, 11);
  return avx512 && vnni && (states & zmm) == zmm ? instruction_set::avx512vnni : instruction_set::avx2;
}

#else

instruction_set best_instruction_set() {
  return instruction_set::portable;
}

#endif

expected<instruction_set> chosen_instruction_set() {
  const auto best = best_instruction_set();
  const char* wish = std::getenv("TROUPE_CPU_ISA");
  if (!wish || !*wish)
    return best;
  const auto wanted = parse_instruction_set(wish);
  if (!wanted)
    return fail(errc::invalid_argument,
                "TROUPE_CPU_ISA is \"" + std::string(wish) + "\"; it may be portable, avx2 or avx512vnni.");
  if (*wanted > best)
    return fail(errc::unsupported, "TROUPE_CPU_ISA asks for " + std::string(wish) + ", but this CPU has only " +
                                     std::string(to_string(best)) + ".");
  return *wanted;
}

} // namespace troupe::cpu
