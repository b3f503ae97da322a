// Which kernels this CPU can run, and which of them to use.
#pragma once

#include <optional>
#include <string_view>

#include "protocol/error.hpp"

namespace troupe::cpu {

/// In ascending order; each includes what comes before it.
enum class instruction_set { portable, avx2, avx512vnni };

std::string_view to_string(instruction_set which);
std::optional<instruction_set> parse_instruction_set(std::string_view name);

/// The best one that the CPU has and the operating system saves the registers of (CPUID and XGETBV).
instruction_set best_instruction_set();

/// The best one, or what TROUPE_CPU_ISA says. Errors: invalid_argument (no such name), unsupported (not on this CPU).
expected<instruction_set> chosen_instruction_set();

} // namespace troupe::cpu
