"""What tools/check counts, and what tools/check-includes refuses."""
import sys
import tempfile
import unittest
from pathlib import Path

from support import ROOT, environment, run

sys.path.insert(0, str(ROOT / "tools/support"))
from run_checks import Counts, count  # noqa: E402


def suite(name, result, inside="", skipped=0):
    return f'<TestSuite name="{name}" result="{result}" test_cases_skipped="{skipped}">{inside}</TestSuite>'


def case(result):
    return f'<TestCase name="a" result="{result}" assertions_passed="1"></TestCase>'


def report(*inside):
    return f"<TestResult>{suite('troupe', 'whatever', ''.join(inside), skipped=9)}</TestResult>"


class counting(unittest.TestCase):
    def count(self, result, stdout="", stderr=""):
        counts = count({"result": result, "stdout": stdout, "stderr": stderr})
        return counts.passed, counts.failed, counts.skipped

    def test_cases_of_boost_are_counted_one_by_one(self):
        text = report(case("passed"), suite("s", "failed", case("passed") + case("failed") + case("aborted") + case("skipped")))
        self.assertEqual(self.count("FAIL", stderr=f"words before{text}words after"), (2, 2, 1))

    def test_a_suite_that_was_skipped_as_a_whole_counts_its_cases(self):
        self.assertEqual(self.count("OK", stderr=report(case("passed"), suite("s", "skipped", skipped=3))), (1, 0, 3))

    def test_a_crash_without_a_report_is_a_failure(self):
        self.assertEqual(self.count("FAIL", stdout="Running 5 test cases..."), (0, 1, 0))

    def test_a_leak_that_was_found_after_the_last_case_is_a_failure(self):
        self.assertEqual(self.count("FAIL", stderr=report(case("passed"))), (1, 1, 0))

    def test_a_time_out_is_a_failure(self):
        self.assertEqual(self.count("TIMEOUT"), (0, 1, 0))

    def test_a_report_of_failures_counts_even_if_the_program_ended_well(self):
        self.assertEqual(self.count("OK", stderr=report(case("failed"))), (0, 1, 0))

    def test_cases_of_unittest_are_counted_one_by_one(self):
        self.assertEqual(self.count("OK", stderr="..s\n---\nRan 3 tests in 0.1s\n\nOK (skipped=1)\n"), (2, 0, 1))
        self.assertEqual(self.count("OK", stderr="Ran 1 test in 0.1s\n\nOK\n"), (1, 0, 0))
        text = "Ran 7 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n"
        self.assertEqual(self.count("FAIL", stderr=text), (3, 3, 1))

    def test_another_program_counts_as_one_case(self):
        self.assertEqual(self.count("OK", stdout="fine"), (1, 0, 0))
        self.assertEqual(self.count("SKIP"), (0, 0, 1))

    def test_the_closing_line_names_skipped_cases_only_if_there_are_some(self):
        self.assertEqual(Counts(3, 0, 0).closing_line(), "3 passed, 0 failed")
        self.assertEqual(Counts(3, 1, 2).closing_line(), "3 passed, 1 failed, 2 skipped")


class order_of_includes(unittest.TestCase):
    def check(self, **files):
        """Runs the check on a project with these files; a name's __ stands for a slash."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / f"{name.replace('__', '/')}.cpp"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return run([sys.executable, ROOT / "tools/check-includes", folder], environment(folder, ""))

    def assert_refused(self, words, **files):
        done = self.check(**files)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(words, done.stdout)

    def test_the_order_is_accepted(self):
        done = self.check(
            engine__a='#include <vector>\n#include "engine/a.hpp"\n#include "protocol/error.hpp"\n',
            cpu__kernels__a='#include "model/backend.hpp"\n', tools__a='#include "serve/a.hpp"\n#include <caf/all.hpp>\n',
            tests__engine__a='#include "tests/support/a.hpp"\n#include "tools/a.hpp"\n', actors__a='#include <caf/all.hpp>\n')
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_later_folder_is_refused_with_file_and_line(self):
        self.assert_refused("engine/a.cpp:2:", engine__a='// A comment.\n#include "model/text.hpp"\n')

    def test_folders_beside_each_other_are_refused(self):
        self.assert_refused("cpu/ may not include from gpu/", cpu__a='#include "gpu/portable.hpp"\n')
        self.assert_refused("examples/ may not include from tools/", examples__a='  #  include "tools/a.hpp"\n')

    def test_nobody_includes_tests(self):
        self.assert_refused("tools/ may not include from tests/", tools__a='#include "tests/support/a.hpp"\n')

    def test_caf_below_the_actors_is_refused(self):
        for folder in ("protocol", "engine", "model", "cpu", "gpu"):
            for include in ("<caf/all.hpp>", '"caf/all.hpp"'):
                self.assert_refused(f"{folder}/ may not use CAF", **{f"{folder}__a": f"#include {include}\n"})

    def test_an_include_that_is_not_from_the_root_is_refused(self):
        self.assert_refused("from the root", engine__a='#include "b.cpp"\n', engine__b="")
        self.assert_refused("from the root", engine__a='#include "../model/text.hpp"\n')

    def test_a_generated_header_is_accepted(self):
        self.assertEqual(self.check(tools__a='#include "version.hpp"\n').returncode, 0)

    def test_a_folder_without_sources_is_refused(self):
        self.assert_refused("no source file", README="")


if __name__ == "__main__":
    unittest.main()
