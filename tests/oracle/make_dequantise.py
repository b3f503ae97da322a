"""Writes dequantise.json: random blocks of every tensor type that Troupe reads, and their values as float32.

The values come from the `gguf` package (gguf.quants.dequantize); tests/model/gguf/test_dequantise.cpp compares bit for
bit. Run it only to make the file anew:

    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install gguf==0.19.0 && /tmp/oracle/bin/python tests/oracle/make_dequantise.py

Both sides are little-endian bytes in base64. Scales are finite halves, among them zeros, subnormals and negative ones.
"""
import base64
import importlib.metadata
import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Where in a block the half-precision scales are, in bytes.
SCALES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
SPECIAL_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF]


def finite_halves(rng, count):
    """Random bits, but no infinity or NaN; the first ones are special."""
    bits = rng.integers(0, 0x7C00, count).astype(np.uint16) | (rng.integers(0, 2, count).astype(np.uint16) << 15)
    special = SPECIAL_HALVES[:count]
    bits[: len(special)] = special
    return bits


def random_blocks(rng, kind):
    elements, size = GGML_QUANT_SIZES[kind]
    count = 512 if elements == 1 else 32 if elements == 32 else 8
    if kind == T.F32:
        return rng.standard_normal(count).astype(np.float32).view(np.uint8).reshape(1, -1)
    if kind == T.F16:
        halves = finite_halves(rng, count)
        halves[-2:] = [0x7C00, 0xFC00]
        return halves.view(np.uint8).reshape(1, -1)
    if kind == T.BF16:
        return (rng.standard_normal(count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(1, -1)
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for place in SCALES[kind]:
        blocks[:, place : place + 2] = finite_halves(rng, count)[rng.permutation(count)].view(np.uint8).reshape(count, 2)
    return blocks


def main():
    rng = np.random.default_rng(20240607)
    cases = []
    for kind in (T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K):
        blocks = random_blocks(rng, kind)
        values = np.ascontiguousarray(dequantize(blocks, kind), dtype=np.float32)
        cases.append({
            "type": kind.name,
            "number": int(kind),
            "block_elements": GGML_QUANT_SIZES[kind][0],
            "block_bytes": GGML_QUANT_SIZES[kind][1],
            "bytes": base64.b64encode(blocks.tobytes()).decode(),
            "values": base64.b64encode(values.tobytes()).decode(),
        })
    out = {"made_by": "tests/oracle/make_dequantise.py with gguf " + importlib.metadata.version("gguf"), "cases": cases}
    pathlib.Path(__file__).with_name("dequantise.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
