"""What the gates of compiled kernels refuse, on resources and machine code that are made up: tools/support/kernel_gates.py."""
import sys
import unittest
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools/support"))
from compiled_kernels import add_instructions, assemble, parse_resources  # noqa: E402
from kernel_gates import (Compiled, Kernel, blocks_per_multiprocessor, most_registers, parse_line, parse_plan, plan_of,  # noqa: E402
                          problems_of_blocks, problems_of_instructions, problems_of_memory, problems_of_plan)

SYMBOL = "_ZN6troupe3gpu4cuda10run_kernelINS0_7productINS0_12q4_k_weightsELj8EEEEEvNT_9argumentsE"
DESCRIPTION = "product<q4_k,8>\t_ZN6troupe3gpu7productINS0_12q4_k_weightsELj8EEE\t128\t0\n"


def resources(architecture, numbers, symbol=SYMBOL):
    """As `cuobjdump --dump-resource-usage` writes them."""
    return f"""
Fatbin elf code:
================
arch = sm_{architecture}
code version = [1,8]

Resource usage:
 Common:
  GLOBAL:0
 Function {symbol}:
  {numbers} CONSTANT[0]:456 TEXTURE:0 SURFACE:0 SAMPLER:0
"""


def machine_code(architecture, *instructions):
    """As `cuobjdump --dump-sass` writes it."""
    lines = [f"arch = sm_{architecture}", f"\tcode for sm_{architecture}", f"\t\tFunction : {SYMBOL}",
             '\t.headerflags\t@"EF_CUDA_SM80 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM80)"']
    for number, instruction in enumerate((*instructions, "EXIT")):
        lines += [f"        /*{number * 16:04x}*/                   {instruction} ;      /* 0x00000a00ff017624 */",
                  "                                                                        /* 0x000fe400078e00ff */"]
    return lines + ["\t\t.........."]


def compiled(architecture=80, numbers="REG:64 STACK:0 SHARED:0 LOCAL:0", instructions=(), shared=0):
    found = parse_resources(resources(architecture, numbers).splitlines())
    add_instructions(found, machine_code(architecture, *instructions))
    kernels, _ = assemble(DESCRIPTION.replace("\t0\n", f"\t{shared}\n"), found)
    return kernels[0]


class Resources(unittest.TestCase):
    def test_a_kernel_is_found_by_the_type_in_its_symbol(self):
        kernel = compiled(numbers="REG:255 STACK:8 SHARED:16 LOCAL:24")
        self.assertEqual((kernel.name, kernel.threads), ("product<q4_k,8>", 128))
        own = kernel.compiled[80]
        self.assertEqual((own.registers, own.stack, own.static_shared, own.local), (255, 8, 16, 24))

    def test_code_that_is_of_no_kernel_is_refused(self):
        found = parse_resources(resources(80, "REG:8 STACK:0 SHARED:0 LOCAL:0", SYMBOL.replace("q4_k", "q5_k")).splitlines())
        with self.assertRaisesRegex(ValueError, "q5_k_weights, 8u>.* is no kernel"):
            assemble(DESCRIPTION, found)

    def test_a_kernel_without_code_is_refused(self):
        found = parse_resources(resources(80, "REG:8 STACK:0 SHARED:0 LOCAL:0").splitlines())
        with self.assertRaisesRegex(ValueError, "no code of product<q4_k,8> for sm_80"):
            assemble(DESCRIPTION, found)

    def test_an_instruction_that_is_not_understood_is_refused(self):
        found = parse_resources(resources(80, "REG:8 STACK:0 SHARED:0 LOCAL:0").splitlines())
        with self.assertRaisesRegex(ValueError, "does not understand"):
            add_instructions(found, machine_code(80, "?? R1"))

    def test_what_cuda_takes_of_shared_memory_is_not_the_kernels(self):
        self.assertEqual(compiled(90, "REG:8 STACK:0 SHARED:1024 LOCAL:0").compiled[90].static_shared, 0)
        self.assertEqual(compiled(90, "REG:8 STACK:0 SHARED:1152 LOCAL:0").compiled[90].static_shared, 128)
        self.assertEqual(compiled(80, "REG:8 STACK:0 SHARED:1024 LOCAL:0").compiled[80].static_shared, 1024)


class Memory(unittest.TestCase):
    def refuses(self, words, architecture=80, **made):
        problems = problems_of_memory(compiled(architecture, **made), architecture)
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(words, problems[0])

    def test_a_kernel_that_keeps_to_its_registers_has_no_problem(self):
        self.assertEqual(problems_of_memory(compiled(instructions=["LDG.E.128 R4, [R2.64]"]), 80), [])
        self.assertEqual(problems_of_memory(compiled(instructions=["LDS.128 R4, [R2]"], shared=64), 80), [])

    def test_a_stack_and_local_memory_are_refused(self):
        self.refuses("16 bytes of stack", numbers="REG:64 STACK:16 SHARED:0 LOCAL:0")
        self.refuses("8 of local memory", numbers="REG:64 STACK:0 SHARED:0 LOCAL:8")

    def test_a_spill_is_refused(self):
        self.refuses("1 stores to it and 2 loads: registers are spilled",
                     instructions=["STL.64 [R1], R2", "@P0 LDL.LU.64 R2, [R1]", "@!UP1 LDL R2, [R1]"])

    def test_static_shared_memory_is_refused(self):
        self.refuses("128 bytes of static shared memory", 90, numbers="REG:64 STACK:0 SHARED:1152 LOCAL:0")

    def test_shared_memory_that_the_host_does_not_know_of_is_refused(self):
        for instruction in ("LDS R4, [R2]", "STS.128 [R2], R4", "ATOMS.ADD RZ, [R2], R4", "LDSM.16.M88.4 R4, [R2]"):
            self.refuses("has no `shared_bytes`", instructions=[instruction])

    def test_addresses_of_unknown_memory_are_refused(self):
        self.refuses("has 1 loads and 1 stores", instructions=["LD.E R4, [R2.64]", "ST.E [R2.64], R4"])


class Occupancy(unittest.TestCase):
    def test_registers_are_given_to_warps_in_steps(self):
        fitting = [blocks_per_multiprocessor(90, registers, 128, 0) for registers in (32, 33, 128, 129, 168, 169, 255)]
        self.assertEqual(fitting, [16, 12, 4, 3, 3, 2, 2])

    def test_threads_and_blocks_have_a_limit(self):
        self.assertEqual(blocks_per_multiprocessor(80, 16, 1024, 0), 2)
        self.assertEqual(blocks_per_multiprocessor(80, 16, 32, 0), 32)

    def test_shared_memory_is_more_on_later_architectures_and_a_kibibyte_a_block_is_taken(self):
        self.assertEqual([blocks_per_multiprocessor(each, 32, 128, 40 << 10) for each in (80, 90, 100)], [4, 5, 5])
        self.assertEqual([blocks_per_multiprocessor(80, 32, 128, bytes) for bytes in (81 << 10, (81 << 10) + 1)], [2, 1])

    def test_the_most_registers_are_the_last_with_which_so_many_blocks_fit(self):
        for threads in (32, 64, 128, 256, 512):
            for blocks in range(1, 2048 // threads + 1):
                most = most_registers(threads, blocks)
                self.assertGreaterEqual(blocks_per_multiprocessor(90, most, threads, 0), min(blocks, 32))
                if most < 255:
                    self.assertLess(blocks_per_multiprocessor(90, most + 1, threads, 0), blocks)

    def test_too_many_registers_are_refused_and_the_budget_is_named(self):
        plan = parse_line("product<q4_k,8> 3 # so")
        self.assertEqual(problems_of_blocks(compiled(numbers="REG:168 STACK:0 SHARED:0 LOCAL:0"), 80, plan), [])
        problem, = problems_of_blocks(compiled(numbers="REG:169 STACK:0 SHARED:0 LOCAL:0"), 80, plan)
        self.assertEqual(problem, "product<q4_k,8> on sm_80 has 169 registers and 0 bytes of shared memory, so that 2 blocks of 128 threads "
                                  "fit on a multiprocessor; planned are 3, with up to 168 registers.")

    def test_too_much_shared_memory_is_refused(self):
        kernel = compiled(shared=85 << 10)
        self.assertEqual(problems_of_blocks(kernel, 80, parse_line("product<q4_k,8> 2,sm_80:1 # so")), [])
        self.assertIn("so that 1 blocks", problems_of_blocks(kernel, 80, parse_line("product<q4_k,8> 2 # so"))[0])


class Instructions(unittest.TestCase):
    def problems(self, wanted, *instructions):
        return problems_of_instructions(compiled(instructions=instructions), 80, parse_line(f"product<q4_k,8> 8 {wanted}"))

    def test_a_wide_load_that_is_missing_is_refused(self):
        narrow = ["LDG.E.64 R4, [R2.64]", "LDG.E R4, [R2.64]", "LDG.E.U16 R4, [R2.64]", "LDS.128 R4, [R2]"]
        self.assertEqual(self.problems("LDG.128:2", "@P0 LDG.E.128 R4, [R2.64]", *narrow),
                         ["product<q4_k,8> on sm_80 has 1 LDG.128, and 2 are planned."])
        self.assertEqual(self.problems("LDG.128:3", "LDG.E.128.CONSTANT R4, [R2.64]", "LDG.E.ENL2.256 R4, R8, [R2.64]"), [])

    def test_tensor_cores_and_copies_that_are_missing_are_refused(self):
        wanted = "HMMA:1 LDSM:1 LDGSTS.128:1 LDS.128:1 STG.128:1"
        self.assertEqual(len(self.problems(wanted, "FFMA R1, R2, R3, R4", "LDGSTS.E.64 [R1], [R2.64]", "LDS.64 R1, [R2]")), 5)
        self.assertEqual(self.problems(wanted, "HMMA.16816.F32.BF16 R4, R8, R2, R4", "LDSM.16.MT88.4 R4, [R2]", "LDS.128 R1, [R2]",
                                       "LDGSTS.E.BYPASS.128 [R1], [R2.64]", "STG.E.128 [R2.64], R4"), [])

    def test_double_precision_is_refused_where_it_is_not_planned(self):
        for instruction in ("DADD R2, R2, R4", "DSETP.GT.AND P0, PT, R2, R4, PT", "MUFU.RCP64H R3, R5", "F2F.F64.F32 R2, R4",
                            "I2F.F64.U64 R2, R4", "F2I.U64.F64.TRUNC R2, R4"):
            self.assertEqual(self.problems("", instruction), [f"product<q4_k,8> on sm_80 computes in double precision, which is not planned: "
                                                              f"{instruction.split()[0]}."])
            self.assertEqual(self.problems("double", instruction), [])

    def test_integers_of_64_bits_are_not_double_precision(self):
        self.assertEqual(self.problems("", "LDG.E.64 R2, [R4.64]", "I2F.U64.RP R2, R4", "F2I.U64.TRUNC R2, R4", "DEPBAR.LE SB0, 0x1"), [])


class Plans(unittest.TestCase):
    KERNELS = [Kernel("embed<q4_0>", 128, 0), Kernel("swiglu", 256, 0)]

    def test_each_kernel_has_one_line_and_each_line_a_kernel(self):
        self.assertEqual(problems_of_plan(parse_plan("# words\n\nembed<*> 16\nswiglu 8\n"), self.KERNELS), [])
        self.assertIn("one line for swiglu, and has 0", problems_of_plan(parse_plan("embed<*> 16"), self.KERNELS)[0])
        two = parse_plan("embed<*> 16\nembed<q4_0> 16\nswiglu 8")
        self.assertIn("one line for embed<q4_0>, and has 2: embed<*>, embed<q4_0>", problems_of_plan(two, self.KERNELS)[0])
        self.assertIsNone(plan_of(two, "embed<q4_0>"))
        gone = parse_plan("embed<*> 16\nswiglu 8\ngone 8")
        self.assertEqual(problems_of_plan(gone, self.KERNELS),
                         ["gpu/kernels/compiled_plan.txt has a line for gone, which is the name of no kernel."])

    def test_few_blocks_want_a_reason(self):
        for line, problems in (("swiglu 4", 0), ("swiglu 3", 1), ("swiglu 3 # because", 0), ("swiglu 4,sm_80:3", 1)):
            self.assertEqual(len(problems_of_plan(parse_plan(f"embed<*> 16\n{line}"), self.KERNELS)), problems, line)

    def test_an_instruction_that_is_not_known_is_refused(self):
        with self.assertRaisesRegex(ValueError, "wants WGMMA:4 of swiglu"):
            parse_line("swiglu 8 WGMMA:4")

    def test_numbers_of_one_architecture_win(self):
        plan = parse_line("swiglu 8,sm_80:6,sm_100:7 LDG.128:2 # so")
        self.assertEqual([plan.least_blocks(each) for each in (80, 90, 100)], [6, 8, 7])
        self.assertEqual((plan.wanted, plan.reason), ({"LDG.128": 2}, "so"))


if __name__ == "__main__":
    unittest.main()
