"""Writes smollm2_embeddings.json: embeddings of some texts by HF transformers, in float32 on the dequantised weights.

    make_embeddings.py MODEL.gguf [LLAMA_SERVER]

The hidden states are those after the last norm; `last` is the last token's, `mean` the mean of all, both scaled to length 1.
Values are float32, little-endian, in base64. With the path of a llama-server it also prints how near llama.cpp comes to
`last` (cosine, at least). Run it only to make the file anew:

    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install torch==2.15.0 transformers==5.23.0 gguf accelerate
    /tmp/oracle/bin/python tests/oracle/make_embeddings.py SmolLM2-135M-Instruct.Q4_1.gguf
"""
import base64
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

import numpy
import torch
import transformers

TEXTS = [
    "Paris",
    "The cat sleeps on the warm windowsill.",
    "A kitten is napping in the sun by the window.",
    "The central bank raised interest rates by a quarter of a point.",
    "Interest rates were lifted by the monetary authority.",
    "def add(a, b):\n    return a + b\n",
    "Ein Satz auf Deutsch, mit Umlauten: äöü.",
    "Once upon a time there was a small engine made of actors, which sent each other messages. " * 6,
]


def unit(vector):
    vector = vector.double().numpy()
    return (vector / numpy.linalg.norm(vector)).astype("<f4")


def by_llama(server, model):
    """What /v1/embeddings of a llama-server says, which adds no BOS to this model's text either."""
    port = 18765
    process = subprocess.Popen([server, "-m", model, "--embeddings", "--pooling", "last", "--port", str(port), "-c", "2048"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        body = json.dumps({"input": TEXTS}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/embeddings", body, {"Content-Type": "application/json"})
        for _ in range(120):
            try:
                return [item["embedding"] for item in json.loads(urllib.request.urlopen(request).read())["data"]]
            except OSError:
                time.sleep(0.5)
        raise SystemExit("llama-server does not answer")
    finally:
        process.terminate()
        process.wait()


def main():
    path = pathlib.Path(sys.argv[1]).resolve()
    tokens = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = transformers.AutoModel.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    cases = []
    for text in TEXTS:
        ids = tokens(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
        cases.append({"text": text, "ids": ids,
                      "last": base64.b64encode(unit(hidden[-1]).tobytes()).decode(),
                      "mean": base64.b64encode(unit(hidden.double().mean(0)).tobytes()).decode()})
    out = pathlib.Path(__file__).with_name("smollm2_embeddings.json")
    source = f"HF transformers {transformers.__version__}, float32 on the dequantised weights"
    out.write_text(json.dumps({"model": path.name, "source": source, "cases": cases}, ensure_ascii=False, indent=0) + "\n")
    if len(sys.argv) > 2:
        theirs = [unit(torch.tensor(vector)) for vector in by_llama(sys.argv[2], str(path))]
        ours = [numpy.frombuffer(base64.b64decode(case["last"]), "<f4") for case in cases]
        print("llama.cpp: cosine at least", min(float(a @ b) for a, b in zip(ours, theirs)))


if __name__ == "__main__":
    main()
