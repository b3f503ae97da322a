#!/usr/bin/env python3
"""The benchmark that stands beside the peers does its work and ends; what it measures is not looked at."""
import subprocess
from pathlib import Path

from support import PATIENCE, TestCase, main, tiny_model, troupe


class Benchmarks(TestCase):
    def test_the_engine_does_the_work_that_peers_are_given(self):
        engine = Path(troupe()).resolve().parent.parent / "bench/engine"
        result = subprocess.run([engine, tiny_model(context=1024), "--rounds", "1"], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [line.split() for line in result.stdout.splitlines()]
        self.assertEqual([line[1] for line in lines], ["prefill512_tok_s", "decode1_tok_s", "batch8_out_tok_s",
                                                       "batch32_out_tok_s"])
        self.assertTrue(all(float(line[2]) > 0 for line in lines), lines)


if __name__ == "__main__":
    main()
