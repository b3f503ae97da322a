"""The work of `run` on vLLM: run_vllm.py FOLDER_OF_THE_HF_MODEL"""
import sys
import time

from prompts import prompt
from vllm import LLM, SamplingParams


def main():
    llm = LLM(sys.argv[1], dtype="bfloat16", max_model_len=2048, max_num_seqs=64, enforce_eager=True)

    def seconds(prompts, tokens):
        start = time.time()
        llm.generate(prompts, SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True), use_tqdm=False)
        return time.time() - start

    seconds([prompt(0, 512)], 4)
    one = sorted(seconds([prompt(s, 512)], 1) for s in (1, 2, 3))[1]
    many = sorted(seconds([prompt(s, 512)], 65) for s in (4, 5, 6))[1]
    print("vllm prefill512_tok_s %.1f" % (512 / one))
    print("vllm decode1_tok_s %.1f" % (64 / (many - one)))
    for batch in (8, 32):
        took = seconds([prompt(1000 * batch + i, 64) for i in range(batch)], 64)
        print("vllm batch%d_out_tok_s %.1f" % (batch, batch * 64 / took))


if __name__ == "__main__":  # vLLM starts processes that import this file
    main()
