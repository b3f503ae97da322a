#!/usr/bin/env python3
"""What nvcc made of the kernels: reads it from a build, and keeps the table in docs/gpu.md.

  .venv/bin/python tools/support/compiled_kernels.py [--write] [BUILD]    BUILD: build/, with gpu/libtroupe_gpu_kernels.a

Prints the table, or writes it. NVIDIA's cuobjdump reads the machine code (PyPI: nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm). The
symbol of a kernel has its type as the template argument of `run_kernel`; tests/gpu/describe_kernels says which kernel that is.
"""
import argparse
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from kernel_gates import MOST_THREADS, RESERVED_SHARED, SHARED_KIB, Compiled, Kernel, parse_plan, plan_of

ROOT = Path(__file__).resolve().parent.parent.parent
PLAN, DOCUMENT = ROOT / "gpu/kernels/compiled_plan.txt", ROOT / "docs/gpu.md"
LIBRARY, DESCRIPTION = "gpu/libtroupe_gpu_kernels.a", "tests/gpu/describe_kernels"
ARCHITECTURE = re.compile(r"arch = sm_(\d+)[a-z]?\s*$")
RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@!?\w+\s+)?([A-Z][A-Z0-9_]*(?:\.\w+)*)[\s;]")
ADDRESS = re.compile(r"\s*/\*[0-9a-f]{4,}\*/")
SYMBOL = re.compile(r"void troupe::gpu::cuda::run_kernel<(.*?) ?>\(\S.*::arguments\)")
RESERVED_IN_FILE_FROM = 90  # From this architecture on CUDA's own part of a block's shared memory is counted with the kernel's.
TABLE = re.compile(r"^\| kernel, nvcc ([\d.]+) \|.*\n(?:\|.*\n)+", re.M)


def find_cuobjdump():
    """The one that tools/build installs, or one of a whole toolkit; None if there is none."""
    try:
        for file in importlib.metadata.files("nvidia-cuda-cuobjdump") or []:
            if file.name == "cuobjdump":
                return str(file.locate())
    except importlib.metadata.PackageNotFoundError:
        pass
    return shutil.which("cuobjdump") if shutil.which("nvdisasm") else None


def nvcc_version(build):
    """Of the nvcc that a build uses; None if it uses none."""
    compilers = json.loads((Path(build) / "meson-info/intro-compilers.json").read_text())
    return compilers["host"].get("cuda", {}).get("version")


def parse_resources(lines):
    """(symbol, architecture): Compiled, of `cuobjdump --dump-resource-usage`."""
    found, architecture, symbol = {}, None, None
    for line in lines:
        if match := ARCHITECTURE.match(line):
            architecture = int(match[1])
        elif match := re.match(r"\s*Function (\S+):", line):
            symbol = match[1]
        elif match := RESOURCES.search(line):
            registers, stack, shared, local = map(int, match.groups())
            if architecture >= RESERVED_IN_FILE_FROM:
                shared = max(shared - RESERVED_SHARED, 0)
            found[symbol, architecture] = Compiled(registers, stack, local, shared)
    return found


def add_instructions(found, lines):
    """Counts the instructions of `cuobjdump --dump-sass` into what `parse_resources` has found."""
    architecture = own = None
    for line in lines:
        if match := INSTRUCTION.match(line):
            own.instructions[match[1]] += 1
        elif match := ARCHITECTURE.match(line):
            architecture = int(match[1])
        elif match := re.match(r"\s*Function : (\S+)", line):
            own = found[match[1], architecture]
        elif ADDRESS.match(line):
            raise ValueError(f"cuobjdump wrote an instruction that this does not understand: {line.strip()}")


def demangled(symbols):
    text = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    return [re.sub(r"\s*>", ">", line) for line in text.splitlines()]


def assemble(description, found):
    """The kernels, from the lines of describe_kernels and what was found in the library. What has no partner is a ValueError."""
    rows = [line.split("\t") for line in description.splitlines()]
    names = dict(zip(demangled([row[1] for row in rows]), rows))
    kernels = {row[0]: Kernel(row[0], int(row[2]), int(row[3])) for row in rows}
    symbols = sorted({symbol for symbol, _ in found})
    texts = dict(zip(symbols, demangled(symbols)))
    for (symbol, architecture), compiled in found.items():
        match = SYMBOL.fullmatch(texts[symbol])
        if not match or match[1] not in names:
            raise ValueError(f"The library has {texts[symbol]}, which is no kernel of gpu/kernels/list.hpp.")
        kernels[names[match[1]][0]].compiled[architecture] = compiled
    architectures = sorted({architecture for _, architecture in found})
    for kernel in kernels.values():
        for architecture in architectures:
            if architecture not in kernel.compiled or not kernel.compiled[architecture].count("EXIT"):
                raise ValueError(f"The library has no code of {kernel.name} for sm_{architecture}.")
    return list(kernels.values()), architectures


def read_kernels(build):
    """Kernels in the order of list.hpp, and the architectures of the library."""
    command = [find_cuobjdump(), "--dump-resource-usage", str(Path(build) / LIBRARY)]
    found = parse_resources(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
    command[1] = "--dump-sass"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dump:
        add_instructions(found, dump.stdout)
    if dump.returncode != 0:
        raise subprocess.CalledProcessError(dump.returncode, command)
    description = subprocess.run([Path(build) / DESCRIPTION], capture_output=True, text=True, check=True).stdout
    return assemble(description, found)


def ranges(numbers):
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def table_of(kernels, version):
    """A row for each line of the plan: of several kernels, the least and the most."""
    plans, cells = parse_plan(PLAN.read_text()), {}
    for kernel in kernels:
        plan = plan_of(plans, kernel.name)
        cells.setdefault(plan.pattern if plan else kernel.name, []).append(kernel)
    names = [f"sm_{architecture}" for architecture in SHARED_KIB]
    lines = [f"| kernel, nvcc {version} | threads | shared bytes | " + " | ".join(f"registers {name}" for name in names) + " | "
             + " | ".join(f"blocks {name}" for name in names) + " | occupancy |", "|" + "---|" * (4 + 2 * len(names))]
    for pattern, own in cells.items():
        row = [f"`{pattern}`", ranges([kernel.threads for kernel in own]), ranges([kernel.dynamic_shared for kernel in own])]
        row += [ranges([kernel.compiled[each].registers for kernel in own]) for each in SHARED_KIB]
        row += [ranges([kernel.blocks(each) for kernel in own]) for each in SHARED_KIB]
        row += [ranges([round(kernel.blocks(each) * kernel.threads * 100 / MOST_THREADS) for kernel in own for each in SHARED_KIB]) + " %"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/gpu.md")
    parser.add_argument("build", nargs="?", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    for there, sentence in ((find_cuobjdump(), "There is no cuobjdump: tools/build --tests --setup-only installs it into .venv."),
                            ((options.build / LIBRARY).exists() and (options.build / DESCRIPTION).exists(),
                             f"{options.build} lacks {LIBRARY} or {DESCRIPTION}: tools/build --tests makes them where nvcc is.")):
        if not there:
            sys.exit(sentence)
    kernels, architectures = read_kernels(options.build)
    if missing := set(SHARED_KIB) - set(architectures):
        sys.exit(f"The table wants sm_{min(missing)}, for which this build has no code: see -Dgpu_archs.")
    table = table_of(kernels, nvcc_version(options.build))
    if not options.write:
        print(table, end="")
        return
    text, tables = TABLE.subn(lambda _: table, DOCUMENT.read_text())
    if tables != 1:
        sys.exit(f"docs/gpu.md must have one table that begins with `| kernel, nvcc 1.2.3 |`, and has {tables}.")
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
