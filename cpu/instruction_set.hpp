// Which kernels this CPU can run, and which of them to use.
#pragma once

#include <optional>
#include <string_view>

#include "protocol/error.hpp"

namespace troupe::cpu {

/// In ascending order of speed. A CPU may lack one and have a later one: those with AVX-512 often have no AVX-VNNI.
enum class instruction_set { portable, avx2, avxvnni, avx512vnni, amx };

inline constexpr instruction_set instruction_sets[] = {instruction_set::portable, instruction_set::avx2,
                                                       instruction_set::avxvnni, instruction_set::avx512vnni,
                                                       instruction_set::amx};

std::string_view to_string(instruction_set which);
std::optional<instruction_set> parse_instruction_set(std::string_view name);

/// Whether the CPU has it and the operating system saves its registers (CPUID and XGETBV). Where there is AMX, Linux is
/// asked once to let this process use it.
bool has_instruction_set(instruction_set which);

/// The last one that is there.
instruction_set best_instruction_set();

/// The best one, or what TROUPE_CPU_ISA says. Errors: invalid_argument (no such name), unsupported (not on this CPU).
expected<instruction_set> chosen_instruction_set();

} // namespace troupe::cpu
