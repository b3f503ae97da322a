"""What nvcc made of the kernels keeps gpu/kernels/compiled_plan.txt, on each architecture; no GPU is needed for that.

Called with the build's folder. Without nvcc or cuobjdump the test is skipped (77).
"""
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools/support"))
from compiled_kernels import DOCUMENT, PLAN, TABLE, find_cuobjdump, nvcc_version, read_kernels, table_of  # noqa: E402
from kernel_gates import (SHARED_KIB, blocks_per_multiprocessor, parse_plan, plan_of, problems_of_blocks,  # noqa: E402
                          problems_of_instructions, problems_of_memory, problems_of_plan)

BUILD = Path(sys.argv.pop(1)) if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir() else Path("build")


def setUpModule():
    global KERNELS, ARCHITECTURES, PLANS
    KERNELS, ARCHITECTURES = read_kernels(BUILD)
    PLANS = parse_plan(PLAN.read_text())


class CompiledKernels(unittest.TestCase):
    maxDiff = None

    def refuses_nothing(self, problems_of, *, with_plan):
        """Of each kernel on each architecture."""
        for architecture in ARCHITECTURES:
            with self.subTest(f"sm_{architecture}"):
                if architecture not in SHARED_KIB:
                    self.skipTest(f"nothing is planned for sm_{architecture}")
                problems = []
                for kernel in KERNELS:
                    plan = plan_of(PLANS, kernel.name)
                    if plan or not with_plan:
                        problems += problems_of(kernel, architecture, plan) if with_plan else problems_of(kernel, architecture)
                self.assertEqual(problems, [], "\n".join(problems))

    def test_the_plan_has_one_line_for_each_kernel(self):
        self.assertGreater(len(KERNELS), 70)
        self.assertEqual(problems_of_plan(PLANS, KERNELS), [])

    def test_no_kernel_spills_or_uses_memory_that_it_should_not(self):
        self.refuses_nothing(problems_of_memory, with_plan=False)

    def test_as_many_blocks_fit_on_a_multiprocessor_as_are_planned(self):
        self.refuses_nothing(problems_of_blocks, with_plan=True)

    def test_the_instructions_that_are_planned_are_there_and_double_precision_only_where_it_is_planned(self):
        self.refuses_nothing(problems_of_instructions, with_plan=True)

    def test_the_toolkits_own_rules_let_as_many_blocks_fit(self):
        cases = [(architecture, registers, threads, shared) for architecture in SHARED_KIB for registers in range(8, 256, 3)
                 for threads in (32, 64, 96, 128, 256, 512, 1024) for shared in (0, 1, 127, 128, 5000, 46080, 87040, 163 << 10)]
        asked = "\n".join(" ".join(map(str, case)) for case in cases)
        said = subprocess.run([BUILD / "tests/gpu/toolkit_occupancy"], input=asked, capture_output=True, text=True, check=True).stdout
        self.assertEqual(list(map(int, said.split())), [blocks_per_multiprocessor(*case) for case in cases])

    def test_the_documentation_has_what_this_compiler_made(self):
        found = TABLE.search(DOCUMENT.read_text())
        self.assertIsNotNone(found, "docs/gpu.md has no table that begins with `| kernel, nvcc`.")
        if found[1] != nvcc_version(BUILD):
            self.skipTest(f"the table in docs/gpu.md is of nvcc {found[1]}, and this build is of {nvcc_version(BUILD)}")
        if missing := set(SHARED_KIB) - set(ARCHITECTURES):
            self.skipTest(f"the table in docs/gpu.md wants sm_{min(missing)}, for which this build has no code")
        self.assertEqual(found[0], table_of(KERNELS, found[1]), "docs/gpu.md does not have what nvcc made of these kernels. "
                         "If that is as it should be, write it anew: .venv/bin/python tools/support/compiled_kernels.py --write")


if __name__ == "__main__":
    for missing in (not nvcc_version(BUILD) and "this build has no nvcc, which compiles the kernels",
                    not find_cuobjdump() and "there is no cuobjdump (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm)"):
        if missing:
            print(f"skipped: {missing}")
            sys.exit(77)
    unittest.main()
