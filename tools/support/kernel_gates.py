"""What a compiled kernel has to be like, and whether it is: decisions, without a compiler.

gpu/kernels/compiled_plan.txt says what is planned for each kernel; its first lines say how. Problems are sentences.
"""
import fnmatch
import re
from collections import Counter
from dataclasses import dataclass, field

WARP = 32
REGISTERS, REGISTER_STEP = 65536, 256  # Of a multiprocessor; a warp gets whole steps.
PARTITIONS = 4  # Of a multiprocessor; a warp is in one, with its registers.
MOST_THREADS, MOST_BLOCKS = 2048, 32  # Of a multiprocessor.
RESERVED_SHARED, SHARED_STEP = 1024, 128  # What CUDA takes of each block's shared memory, and what that is rounded up to, in bytes.
SHARED_KIB = {80: 164, 90: 228, 100: 228}  # Of a multiprocessor; the architectures that this knows.

KNOWN = ("LDG.128", "STG.128", "LDS.128", "LDGSTS.128", "LDSM", "HMMA")
USES_SHARED = ("LDS", "STS", "ATOMS", "LDSM", "LDGSTS")


@dataclass
class Compiled:
    """What the compiler made of a kernel for one architecture."""
    registers: int = 0  # Of a thread.
    stack: int = 0  # Bytes, as the two below.
    local: int = 0
    static_shared: int = 0  # Without what CUDA takes.
    instructions: Counter = field(default_factory=Counter)  # With their modifiers: LDG.E.128.

    def count(self, wanted):
        """How many there are of a name of KNOWN, or of any instruction. One of 256 bits is as good as two of 128."""
        name, _, bits = wanted.partition(".")
        found = 0
        for text, number in self.instructions.items():
            own, *modifiers = text.split(".")
            if own == name:
                found += number * (1 if not bits or bits in modifiers else 2 if "256" in modifiers else 0)
        return found

    def double_precision(self):
        def is_double(text):
            name, *modifiers = text.split(".")
            return bool(re.fullmatch(r"D(ADD|MUL|FMA|SETP|SET|MNMX|MMA)", name)) or any(
                modifier == "F64" or modifier.endswith("64H") for modifier in modifiers)
        return sorted(text for text in self.instructions if is_double(text))


@dataclass
class Kernel:
    name: str  # As the host knows it.
    threads: int  # Of a block.
    dynamic_shared: int  # Bytes of a block.
    compiled: dict = field(default_factory=dict)  # By architecture.

    def blocks(self, architecture):
        own = self.compiled[architecture]
        return blocks_per_multiprocessor(architecture, own.registers, self.threads, own.static_shared + self.dynamic_shared)


@dataclass
class Plan:
    pattern: str
    blocks: int
    blocks_on: dict  # By architecture, where it is another number.
    wanted: dict  # Instruction: at least how many.
    may_be_double: bool
    reason: str

    def least_blocks(self, architecture):
        return self.blocks_on.get(architecture, self.blocks)


def rounded_up(number, step):
    return -(-number // step) * step


def blocks_per_multiprocessor(architecture, registers, threads, shared):
    """As in the CUDA Toolkit's cuda_occupancy.h, with as much shared memory as the architecture can have."""
    warps = rounded_up(threads, WARP) // WARP
    of_warp = rounded_up(max(registers, 1) * WARP, REGISTER_STEP)
    by_registers = REGISTERS // PARTITIONS // of_warp * PARTITIONS // warps
    by_shared = SHARED_KIB[architecture] * 1024 // rounded_up(shared + RESERVED_SHARED, SHARED_STEP)
    return min(by_registers, by_shared, MOST_THREADS // WARP // warps, MOST_BLOCKS)


def most_registers(threads, blocks):
    """Of a thread, where so many blocks are to fit."""
    warps = rounded_up(rounded_up(threads, WARP) // WARP * blocks, PARTITIONS)
    return min(REGISTERS // warps // REGISTER_STEP * REGISTER_STEP // WARP, 255)


def parse_plan(text):
    return [parse_line(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def parse_line(line):
    left, _, reason = line.partition("#")
    pattern, blocks, *wanted = left.split()
    number, *others = blocks.split(",")
    plan = Plan(pattern, int(number), {}, {}, False, reason.strip())
    for other in others:
        architecture, _, number = other.removeprefix("sm_").partition(":")
        plan.blocks_on[int(architecture)] = int(number)
    for each in wanted:
        name, _, number = each.partition(":")
        if name == "double":
            plan.may_be_double = True
        elif name in KNOWN:
            plan.wanted[name] = int(number or 1)
        else:
            raise ValueError(f"compiled_plan.txt wants {each} of {pattern}, but knows only {', '.join(KNOWN)} with a number, and double.")
    return plan


def plan_of(plans, name):
    """The line of a kernel; None where it has none or several."""
    found = [plan for plan in plans if fnmatch.fnmatchcase(name, plan.pattern)]
    return found[0] if len(found) == 1 else None


def problems_of_plan(plans, kernels):
    problems = []
    for kernel in kernels:
        patterns = [plan.pattern for plan in plans if fnmatch.fnmatchcase(kernel.name, plan.pattern)]
        if len(patterns) != 1:
            problems.append(f"gpu/kernels/compiled_plan.txt must have one line for {kernel.name}, and has {len(patterns)}"
                            f"{': ' if patterns else ''}{', '.join(patterns)}.")
    for plan in plans:
        own = fnmatch.filter((kernel.name for kernel in kernels), plan.pattern)
        if not own:
            problems.append(f"gpu/kernels/compiled_plan.txt has a line for {plan.pattern}, which is the name of no kernel.")
        threads = min((kernel.threads for kernel in kernels if kernel.name in own), default=MOST_THREADS)
        if min(plan.blocks, *plan.blocks_on.values(), MOST_BLOCKS) * threads * 2 < MOST_THREADS and not plan.reason:
            problems.append(f"gpu/kernels/compiled_plan.txt has few blocks for {plan.pattern}, and no reason behind a #.")
    return problems


def problems_of_memory(kernel, architecture):
    """Registers must be in registers, and shared memory where the host has asked for it."""
    own, where = kernel.compiled[architecture], f"{kernel.name} on sm_{architecture}"
    problems = []
    if own.stack or own.local or own.count("LDL") or own.count("STL"):
        problems.append(f"{where} has {own.stack} bytes of stack, {own.local} of local memory, {own.count('STL')} stores to it and "
                        f"{own.count('LDL')} loads: registers are spilled, or an array is indexed by what the compiler does not know.")
    if own.static_shared:
        problems.append(f"{where} has {own.static_shared} bytes of static shared memory: kernels take theirs from `shared_memory`.")
    if not own.static_shared and not kernel.dynamic_shared and any(map(own.count, USES_SHARED)):
        problems.append(f"{where} uses shared memory, but has no `shared_bytes`.")
    if own.count("LD") or own.count("ST"):
        problems.append(f"{where} has {own.count('LD')} loads and {own.count('ST')} stores of addresses that may be of any memory.")
    return problems


def problems_of_blocks(kernel, architecture, plan):
    own, planned, fitting = kernel.compiled[architecture], plan.least_blocks(architecture), kernel.blocks(architecture)
    if fitting >= planned:
        return []
    return [f"{kernel.name} on sm_{architecture} has {own.registers} registers and {own.static_shared + kernel.dynamic_shared} bytes of shared "
            f"memory, so that {fitting} blocks of {kernel.threads} threads fit on a multiprocessor; planned are {planned}, with up to "
            f"{most_registers(kernel.threads, planned)} registers."]


def problems_of_instructions(kernel, architecture, plan):
    own, where = kernel.compiled[architecture], f"{kernel.name} on sm_{architecture}"
    problems = [f"{where} has {own.count(name)} {name}, and {number} are planned."
                for name, number in plan.wanted.items() if own.count(name) < number]
    if not plan.may_be_double and (found := own.double_precision()):
        problems.append(f"{where} computes in double precision, which is not planned: {', '.join(found)}.")
    return problems
