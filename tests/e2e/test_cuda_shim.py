#!/usr/bin/env python3
"""`--device cuda-shim`: the whole engine with the CUDA backend's kernels and host code, without a GPU."""
import json
import os
import signal

from support import REAL_MODEL, ROOT, TestCase, children, main, needs_real_model, run, tiny, tiny_model

SHAPE = {"width": 128, "head-size": 64, "kv-heads": 2, "context": 1024}
MODEL = tiny_model(**SHAPE)
SHIM = ["--model", str(MODEL), "--device", "cuda-shim"]
INVARIANT = [*SHIM, "--batch-invariant"]
KINDS = [[], ["--tensor-parallel-size", "2"], ["--pipeline-parallel-size", "2"]]
PROMPTS = [f"{number} times {number * 7} " + "and so on " * (number % 9) for number in range(7)]
FEW, SAMPLED = PROMPTS[:5], {"temperature": 0.9, "seed": 5}
# What brain floats may do to the difference of two logprobs, of which one by itself is off by up to 0.26: where the reference's first
# two are closer, either may win.
MARGIN = 0.4


class CudaShim(TestCase):
    def ask(self, server, prompts, tokens, **fields):
        client = self.client(server)
        for id, prompt in enumerate(prompts):
            client.ask(id, prompt, max_tokens=tokens, ignore_eos=True, **fields)
        return client

    def answers(self, server, prompts=PROMPTS, tokens=20, **fields):
        client = self.ask(server, prompts, tokens, **fields)
        answers = [client.wait(id) for id in range(len(prompts))]
        for answer in answers:
            self.assertEqual((answer.end["reason"], len(answer.tokens)), ("length", tokens), answer.end)
        return answers

    def sampled(self, server):
        return [answer.tokens for answer in self.answers(server, FEW, **SAMPLED)]

    def assert_close_to(self, reference, answers):
        """Each token is the reference's, until one where the reference itself was not sure. Returns how many there were."""
        compared = 0
        for wanted, got in zip(reference, answers):
            logprobs = wanted.choice(0)["top_logprobs"]
            for position, (first, second) in enumerate(zip(logprobs[::2], logprobs[1::2])):
                if first - second < MARGIN:
                    break
                self.assertEqual(got.tokens[position], wanted.tokens[position], (position, first, second))
                compared += 1
        return compared

    def test_greedy_tokens_are_the_references_wherever_it_is_sure(self):
        reference = self.answers(self.serve(*tiny("reference", **SHAPE)), logprobs=2)
        for more in [], ["--enforce-eager", "--batch-invariant"], [*KINDS[1], "--workers", "process"], KINDS[2]:
            with self.subTest(more=more):
                server = self.serve(*SHIM, *more)
                self.assertGreater(self.assert_close_to(reference, self.answers(server)), 40)
                server.kill()

    def test_what_happens_to_a_request_changes_none_of_its_tokens(self):
        for kind in KINDS[:2]:
            with self.subTest(kind=kind):
                plain = self.serve(*INVARIANT, *kind)
                wanted = self.sampled(plain)
                self.assertEqual(self.sampled(plain), wanted)  # Their prompts are in the prefix cache now.
                self.assertGreater(self.status(plain)["prefix_hit_tokens"], 0)
                self.assertEqual(self.answers(plain, FEW[3:4], **SAMPLED)[0].tokens, wanted[3])  # Alone.
                plain.kill()
                crowded = self.serve(*INVARIANT, *kind, "--kv-tokens", "112", "--max-num-batched-tokens", "16")
                self.assertEqual(self.sampled(crowded), wanted)
                self.assertGreater(self.status(crowded)["preemptions"], 0)
                crowded.kill()

    def test_a_killed_worker_costs_no_token(self):
        server = self.serve(*INVARIANT, *KINDS[1], "--workers", "process")
        wanted = self.sampled(server)
        client = self.ask(server, FEW, len(wanted[0]), **SAMPLED)
        client.wait(0, tokens=5)
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        self.assertEqual([client.wait(id).tokens for id in range(len(FEW))], wanted)
        self.assertGreater(self.status(server)["restarts"], 0)

    def test_the_kv_cache_gets_what_a_share_of_the_memory_leaves(self):
        blocks = {}
        for kind in KINDS:
            with self.subTest(kind=kind):
                server = self.serve(*SHIM, *kind, "--shim-memory-mib", "2048", "--gpu-memory-utilization", "0.75")
                accounts = [line for line in server.log if "of which a worker may have 1536" in line]
                self.assertEqual(len(accounts), 1 if not kind else 2, server.log)
                blocks[" ".join(kind)] = self.status(server)["kv_blocks"]
                for account in accounts:
                    self.assertIn(f"({blocks[' '.join(kind)] * 16} tokens)", account)
                self.answers(server, FEW[:1], 3)
                server.kill()
        alone, ranks, stages = blocks.values()
        self.assertGreater(stages, alone * 1.9)  # Each worker has half of each block.
        self.assertGreater(ranks, alone * 1.3)  # Here, too; but NCCL wants more room than graphs do.

    def test_a_device_without_room_for_a_cache_is_an_error_with_an_account(self):
        little = run("run", "hello", *SHIM, "--shim-memory-mib", "512", "--gpu-memory-utilization", "0.9")
        self.assert_refused(little, "Nothing is left for the KV cache", "460 MiB", "weights", "buffers", "graphs 256")
        self.assert_refused(run("run", "hello", *SHIM, "--shim-memory-mib", "64"), "wants", "of a device that has 64 MiB in all")

    def status(self, server):
        result = run("status", "--json", "--zmq", server.endpoint)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_devices_says_which_there_are_or_why_there_are_none(self):
        result = run("devices")
        if result.returncode == 0:
            self.assertRegex(result.stdout, r"^0  .+: \d+ MiB, of which \d+ are free\n")
        else:
            self.assert_refused(result, "CUDA")
        told = json.loads(run("devices", "--json").stdout)
        self.assertEqual(list(told), ["devices" if result.returncode == 0 else "error"])

    def test_what_makes_no_sense_is_refused(self):
        model = ["--model", MODEL, "--max-tokens", "1"]
        self.assert_refused(run("run", "hello", *model, "--device", "cuda-shim", "--backend", "reference"), "--backend")
        self.assert_refused(run("run", "hello", *model, "--device", "cuda-shim", "--cpu-arithmetic", "bf16"), "--cpu-arithmetic")
        self.assert_refused(run("run", "hello", *model, "--device", "cuda-shim", "--threads", "2"), "--threads")
        self.assert_refused(run("run", "hello", *model, "--enforce-eager"), "--enforce-eager")
        self.assert_refused(run("run", "hello", *model, "--device", "cuda-shim", "--kv-cache-dtype", "int8"), "int8")
        self.assert_refused(run("run", "hello", *model, "--gpu-memory-utilization", "0.5"), "--gpu-memory-utilization", "--kv-tokens")
        self.assert_refused(run("run", "hello", *model, "--device", "cuda-shim", "--gpu-memory-utilization", "nan"), "from 0.01 to 1")
        both = ["--device", "cuda-shim", "--gpu-memory-utilization", "0.5", "--kv-tokens", "512"]
        self.assert_refused(run("run", "hello", *model, *both), "give one of them")
        small = tiny_model(width=64)
        self.assert_refused(run("run", "hello", "--model", small, "--device", "cuda-shim"), "heads of 64 and 128, and not of 16")


@needs_real_model
class RealModel(TestCase):
    def test_the_real_models_first_tokens_are_the_oracles(self):
        cases = json.loads((ROOT / "tests/oracle/smollm2_greedy.json").read_text())["cases"]
        case = next(case for case in cases if len(case["prompt_ids"]) >= 34 and min(case["margin"][:4]) > 1)
        got = self.run_json(case["prompt"], "--model", REAL_MODEL, "--device", "cuda-shim", "--max-tokens", "4", "--kv-tokens", "256")
        self.assertEqual((got["device"], got["prompt_ids"], got["token_ids"]),
                         ("cuda-shim", case["prompt_ids"], case["greedy_ids"][:4]))


if __name__ == "__main__":
    main()
