#!/usr/bin/env python3
"""Benchmarks do the work that they say, and end; how fast it was is not looked at."""
import json
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from support import PATIENCE, TestCase, folder, main, run, tiny_model, troupe


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

    def test_every_kernel_is_measured(self):
        kernels = Path(troupe()).resolve().parent.parent / "bench/kernels"
        result = subprocess.run([kernels, "--benchmark_min_time=0.0001", "--benchmark_format=json"], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        names = {entry["name"].split("/")[0].split("<")[0] for entry in json.loads(result.stdout)["benchmarks"]}
        self.assertEqual(names, {"products", "bf16_products", "quantise", "attention", "rms_norm", "swiglu", "rope", "store_kv"})

    def test_the_roofline_counts_the_products_of_each_matrix_with_the_bytes_of_its_activations(self):
        model = tiny_model(type="Q8_0", context=1024)
        shapes = {tensor["name"]: tensor["shape"] for tensor in json.loads(run("inspect", model, "--json").stdout)["tensors"]}
        layers = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("blk."))
        output = shapes.get("output.weight", shapes["token_embd.weight"])
        picture = folder / "roofline.svg"
        result = json.loads(run("bench", "roofline", "--model", model, "--repeat", "1", "--svg", picture, "--json").stdout)
        self.assertEqual([phase["name"] for phase in result["phases"]],
                         ["prefill 512", "decode 1", "decode 8", "decode 32"])
        self.assertTrue(all(value > 0 for value in result["peaks"].values()), result["peaks"])
        for phase, rows, sampled in zip(result["phases"], (512, 1, 8, 32), (1, 1, 8, 32)):
            wanted = 2 * sampled * output[0] * output[1]
            for name, shape in shapes.items():
                if name.startswith("blk.") and len(shape) == 2:
                    attends = any(part in name for part in ("attn_q", "attn_k", "attn_v"))
                    last = int(name.split(".")[1]) == layers - 1
                    wanted += (2 if attends or last else 1) * (rows if attends or not last else sampled) * shape[0] * shape[1]
            self.assertEqual(phase["byte_products"], wanted, phase["name"])
            self.assertTrue(0 < phase["share_of_limit"], phase)
        texts = [text.text for text in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
        for phase in result["phases"]:
            self.assertTrue(any(phase["name"] + ":" in text for text in texts), texts)

    def test_a_picture_that_cannot_be_written_is_an_error(self):
        result = run("bench", "roofline", "--model", tiny_model(), "--repeat", "1", "--svg", "/nonexistent/picture.svg")
        self.assert_refused(result, "/nonexistent/picture.svg")


if __name__ == "__main__":
    main()
