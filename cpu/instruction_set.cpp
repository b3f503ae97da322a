#include "cpu/instruction_set.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace troupe::cpu {

std::string_view to_string(instruction_set which) {
  switch (which) {
  case instruction_set::portable:
    return "portable";
  case instruction_set::avx2:
    return "avx2";
  case instruction_set::avxvnni:
    return "avxvnni";
  case instruction_set::avx512vnni:
    return "avx512vnni";
  case instruction_set::amx:
    return "amx";
  }
  return "portable";
}

std::optional<instruction_set> parse_instruction_set(std::string_view name) {
  for (auto which : instruction_sets)
    if (name == to_string(which))
      return which;
  return {};
}

namespace {

#if defined(__x86_64__)

/// The register states that the operating system saves and restores.
std::uint64_t saved_states() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

constexpr bool bit(std::uint32_t word, int index) {
  return word >> index & 1;
}

struct cpu_features {
  bool avx2 = false; ///< With FMA and F16C.
  bool avxvnni = false, avx512vnni = false;
  bool amx = false; ///< For bfloat16, with AVX-512's conversion to it.
};

/// Tiles are 8 KB that each change of threads would save, so Linux gives them only to who asks (arch_prctl(2)).
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

cpu_features find_features() {
  cpu_features out;
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return out;
  const bool xsave = bit(c, 27), avx = bit(c, 28), fma = bit(c, 12), f16c = bit(c, 29);
  if (!xsave || !avx || !fma || !f16c || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
    return out;
  const auto states = saved_states();
  const auto saves = [&](std::uint64_t wanted) { return (states & wanted) == wanted; };
  constexpr std::uint64_t ymm = 0x6, zmm = 0xe6, tiles = 0x60000;
  out.avx2 = bit(b, 5) && saves(ymm);
  const bool avx512 = bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31); // F, DQ, BW, VL
  out.avx512vnni = out.avx2 && avx512 && bit(c, 11) && saves(zmm);
  const bool amx = bit(d, 22) && bit(d, 24); // BF16, TILE
  const std::uint32_t last_subleaf = a;
  if (last_subleaf < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d))
    return out;
  out.avxvnni = out.avx2 && bit(a, 4);
  const bool avx512bf16 = bit(a, 5);
  out.amx = out.avx512vnni && avx512bf16 && amx && saves(tiles) && may_use_tiles();
  return out;
}

#endif

} // namespace

bool has_instruction_set(instruction_set which) {
#if defined(__x86_64__)
  static const cpu_features features = find_features();
  switch (which) {
  case instruction_set::portable:
    return true;
  case instruction_set::avx2:
    return features.avx2;
  case instruction_set::avxvnni:
    return features.avxvnni;
  case instruction_set::avx512vnni:
    return features.avx512vnni;
  case instruction_set::amx:
    return features.amx;
  }
#endif
  return which == instruction_set::portable;
}

instruction_set best_instruction_set() {
  auto best = instruction_set::portable;
  for (auto which : instruction_sets)
    if (has_instruction_set(which))
      best = which;
  return best;
}

expected<instruction_set> chosen_instruction_set() {
  const auto best = best_instruction_set();
  const char* wish = std::getenv("TROUPE_CPU_ISA");
  if (!wish || !*wish)
    return best;
  const auto wanted = parse_instruction_set(wish);
  if (!wanted)
    return fail(errc::invalid_argument, "TROUPE_CPU_ISA is \"" + std::string(wish) +
                                          "\"; it may be portable, avx2, avxvnni, avx512vnni or amx.");
  if (!has_instruction_set(*wanted))
    return fail(errc::unsupported, "TROUPE_CPU_ISA asks for " + std::string(wish) +
                                     ", which this CPU does not have; its best is " + std::string(to_string(best)) +
                                     ".");
  return *wanted;
}

} // namespace troupe::cpu
