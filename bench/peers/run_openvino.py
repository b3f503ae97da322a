"""The work of `run` on OpenVINO GenAI: run_openvino.py MODEL.gguf"""
import sys
import time

import openvino_genai as ov
from prompts import prompt


def config(tokens):
    c = ov.GenerationConfig()
    c.max_new_tokens = tokens
    c.do_sample = False
    c.ignore_eos = True
    c.apply_chat_template = False
    return c


pipe = ov.LLMPipeline(sys.argv[1], "CPU")
pipe.generate([prompt(0, 512)], config(4))
prefill, decode = [], []
for seed in (1, 2, 3):
    metrics = pipe.generate([prompt(seed, 512)], config(64)).perf_metrics
    prefill.append(metrics.get_num_input_tokens() / metrics.get_ttft().mean * 1e3)
    decode.append(1e3 / metrics.get_tpot().mean)
print("openvino prefill512_tok_s %.1f" % sorted(prefill)[1])
print("openvino decode1_tok_s %.1f" % sorted(decode)[1])
for batch in (8, 32):
    start = time.time()
    pipe.generate([prompt(1000 * batch + i, 64) for i in range(batch)], config(64))
    print("openvino batch%d_out_tok_s %.1f" % (batch, batch * 64 / (time.time() - start)))
