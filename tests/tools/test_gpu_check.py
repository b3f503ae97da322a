"""tools/gpu-check as a user calls it: on a machine without a GPU, and on the shim.

test_gpu_check.py BUILD"""
import json
import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from support import ROOT, run

BUILD = Path(sys.argv.pop(1)) if len(sys.argv) > 1 else ROOT / "build"
sys.path.insert(0, str(ROOT / "tools/support"))
from gpu_check import NoGpu, find_gpu, text_of  # noqa: E402
from gpu_tokens import TokenCheck  # noqa: E402


def has_gpu():
    try:
        return bool(find_gpu())
    except NoGpu:
        return False


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def check(self, *arguments):
        return run([ROOT / "tools/gpu-check", "--build", BUILD, "--report", self.folder / "report", "--no-build", *arguments], dict(os.environ))

    @unittest.skipIf(has_gpu(), "this machine has a GPU")
    def test_without_a_gpu_it_says_so_and_ends_with_77(self):
        done = self.check()
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("There is no GPU", done.stderr)
        self.assertFalse((self.folder / "report").exists())

    def test_on_the_shim_all_of_it_is_right_and_told(self):
        done = self.check("--shim")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads((self.folder / "report/report.json").read_text())
        self.assertTrue(report["right"])
        self.assertEqual([step["right"] for step in report["steps"]], [True] * 8)
        told = {step["name"]: step["found"] for step in report["steps"]}
        self.assertRegex(told["tokens beside those that are known to be right"], r"^\d+ tokens are those of the reference backend$")
        self.assertRegex(told["graphs beside single launches"], r"^4 answers have the same tokens")
        self.assertGreater(len(report["bench"]["kernels"]), 10)
        self.assertEqual([each["batch"] for each in report["bench"]["model"]["decode"]], [1, 3])
        text = (self.folder / "report/report.txt").read_text()
        self.assertEqual(text, done.stdout)
        self.assertIn("times of the shim, which mean nothing", text)

    def test_what_is_not_there_is_named(self):
        done = run([ROOT / "tools/gpu-check", "--shim", "--no-build", "--build", self.folder / "none", "--report", self.folder], dict(os.environ))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("none/tools/troupe is not there", done.stdout)
        self.assertIn("SOMETHING IS WRONG", done.stdout)


class Tokens(unittest.TestCase):
    """With a program that answers what the test wants."""

    def answering(self, *answers):
        left = list(answers)
        check = TokenCheck("troupe", "model", "cuda", Path("/"), True, None)
        check.batch = lambda name, requests, *options: left.pop(0)
        return check

    def test_a_token_that_is_not_the_right_one_is_told(self):
        cases = [([1, 2], [3, 4, 5], [2.0, 0.1, 2.0])]
        right = self.answering([([3], [1.0]), ([5], [1.0])])
        self.assertEqual(right.compare_with(cases, "the oracle", 1.0), "2 tokens are those of the oracle")
        with self.assertRaisesRegex(AssertionError, r"1 of 2 tokens are not those of the oracle; the first after \[1, 2, 3, 4\]: 9 and not 5"):
            self.answering([([3], [1.0]), ([9], [1.0])]).compare_with(cases, "the oracle", 1.0)

    def test_graphs_that_give_another_token_are_told(self):
        same = [([3, 4], [1.0, 1.0]), ([5, 6], [1.0, 1.0])]
        other = [([3, 4], [1.0, 1.0]), ([5, 7], [1.0, 1.0])]
        self.assertIn("4 answers", self.answering(same, same, same, same).compare_graphs())
        with self.assertRaisesRegex(AssertionError, r"answer 1 \(--batch-invariant\) is \[5, 6\] with graphs, and \[5, 7\] without"):
            self.answering(same, same, same, other).compare_graphs()


class Report(unittest.TestCase):
    def test_a_report_has_the_share_of_the_peak(self):
        whole = {"when": "now", "right": True, "commit": "x", "device": "cuda", "facts": {}, "steps": [],
                 "bench": {"device": {"name": "a GPU"}, "transfers": {"mib": 1}, "kernels": [
                     {"kernel": "product<q8_0,1>", "us": 5.0, "gb_s": 3000.0, "of_peak": 0.9}],
                     "model": {"load_s": 1, "prefill": {"tokens": 512, "tok_s": 1000}, "decode": [{"batch": 1, "tok_s": 100}]}}}
        self.assertRegex(text_of(whole), r"product<q8_0,1> +5\.00 us  3000\.0 GB/s  90\.0% of the peak")


if __name__ == "__main__":
    unittest.main()
