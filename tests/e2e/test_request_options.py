#!/usr/bin/env python3
"""What can be asked for with a prompt: on the command line, in a line of `troupe batch`, and over ZeroMQ."""
import json

from support import TestCase, eventually, folder, main, run, tiny

PROMPT = ["--raw", "hello"]
SAMPLED = ["--temperature", "1.5", "--seed", "7"]


class CommandLine(TestCase):
    def test_several_answers_differ_and_the_first_is_the_one_that_comes_alone(self):
        alone = self.run_json(*PROMPT, *SAMPLED, "--max-tokens", "8", *tiny())
        got = self.run_json(*PROMPT, *SAMPLED, "--max-tokens", "8", "--n", "3", *tiny())
        self.assertEqual([choice["choice"] for choice in got["choices"]], [0, 1, 2])
        self.assertEqual(got["choices"][0]["token_ids"], alone["token_ids"])
        self.assertEqual(len({tuple(choice["token_ids"]) for choice in got["choices"]}), 3)
        plain = run("run", *PROMPT, *SAMPLED, "--max-tokens", "8", "--n", "3", *tiny(), text=False)
        self.assertEqual(plain.returncode, 0)
        for n in range(3):
            self.assertIn(f"[{n}]\n".encode() + got["choices"][n]["text"].encode(), plain.stdout)

    def test_the_best_answer_is_one_of_those_there_were(self):
        several = self.run_json(*PROMPT, *SAMPLED, "--max-tokens", "8", "--n", "4", "--logprobs", "0", *tiny())
        best = self.run_json(*PROMPT, *SAMPLED, "--max-tokens", "8", "--best-of", "4", *tiny())
        likeliest = max(several["choices"], key=lambda choice: choice["mean_logprob"])
        self.assertEqual(best["token_ids"], likeliest["token_ids"])

    def test_logprobs_are_those_of_the_tokens_and_go_with_json(self):
        got = self.run_json(*PROMPT, "--max-tokens", "6", "--logprobs", "3", "--prompt-logprobs", "1", *tiny())
        self.assertEqual([entry["token"] for entry in got["logprobs"]], got["token_ids"])
        for entry in got["logprobs"]:  # Greedy: each token is the likeliest.
            self.assertEqual((entry["rank"], len(entry["top"])), (1, 3))
            self.assertEqual(entry["top"][0], {"token": entry["token"], "logprob": entry["logprob"]})
            logprobs = [top["logprob"] for top in entry["top"]]
            self.assertEqual(logprobs, sorted(logprobs, reverse=True))
        self.assertEqual([entry["token"] for entry in got["prompt_logprobs"]], got["prompt_ids"][1:])
        self.assert_refused(run("run", *PROMPT, "--logprobs", "3", *tiny()), "--json", code=2)

    def test_an_echo_begins_with_the_prompt(self):
        plain = self.run_json(*PROMPT, "--max-tokens", "4", *tiny())
        echo = self.run_json(*PROMPT, "--max-tokens", "4", "--echo", *tiny())
        self.assertEqual((echo["text"], echo["token_ids"]), ("hello" + plain["text"], plain["token_ids"]))
        alone = self.run_json(*PROMPT, "--max-tokens", "0", "--echo", *tiny())
        self.assertEqual((alone["text"], alone["token_ids"], alone["finish_reason"]), ("hello", [], "length"))
        self.assert_refused(run("run", *PROMPT, "--max-tokens", "0", "--model", "none"), "max_tokens", code=2)

    def test_tokens_can_be_allowed_favoured_and_made_the_end(self):
        allowed = self.run_json(*PROMPT, *SAMPLED, "--max-tokens", "9", "--allowed-token", "40", "--allowed-token", "41",
                                *tiny())
        self.assertEqual(set(allowed["token_ids"]), {40, 41})
        favoured = self.run_json(*PROMPT, "--max-tokens", "3", "--logit-bias", "50:100", *tiny())
        self.assertEqual(favoured["token_ids"], [50] * 3)
        against = self.run_json(*PROMPT, "--max-tokens", "3", "--logit-bias", "50:100", "--logit-bias", "51:-100",
                                "--stop-token", "50", *tiny())
        self.assertEqual((against["token_ids"], against["finish_reason"]), ([50], "stop"))

    def test_what_is_out_of_range_is_refused_before_a_model_is_loaded(self):
        for option, value, word in (("--top-p", "0", "top_p"), ("--top-p", "1.5", "top_p"), ("--min-p", "2", "min_p"),
                                    ("--repetition-penalty", "0", "repetition_penalty"), ("--n", "129", "'n'"),
                                    ("--presence-penalty", "-3", "presence_penalty"), ("--logprobs", "21", "logprobs"),
                                    ("--min-tokens", "600", "min_tokens"), ("--priority", "1001", "priority"),
                                    ("--logit-bias", "5:101", "logit_bias")):
            with self.subTest(option=option, value=value):
                self.assert_refused(run("run", *PROMPT, option, value, "--model", "none"), word, code=2)
        for option, value in (("--logit-bias", "5"), ("--logit-bias", "a:1"), ("--top-k", "-1"), ("--logprobs", "-1"),
                              ("--scheduling-policy", "random"), ("--prefix-hash", "md5"), ("--cpu-arithmetic", "fp64"), ("--kv-cache-dtype", "int4"), ("--kv-disk-gib", "4")):
            with self.subTest(option=option, value=value):
                result = run("run", *PROMPT, option, value, "--model", "none")
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(option, result.stderr)

    def test_a_conversation_has_no_use_for_several_answers(self):
        for option in (["--n", "2"], ["--logprobs", "1"], ["--echo"]):
            self.assertEqual(run("chat", *option, *tiny()).returncode, 2)

    def test_how_the_engine_is_run_changes_no_answer(self):
        plain = self.run_json(*PROMPT, *SAMPLED, "--max-tokens", "20", *tiny())["token_ids"]
        for options in (["--scheduling-policy", "priority"], ["--scheduling-policy", "deadline"], ["--no-prefix-caching"],
                        ["--prefix-hash", "sha256"], ["--long-prefill-tokens", "2"], ["--long-prefill-tokens", "0"],
                        ["--step-budget-ms", "1"], ["--max-num-seqs", "100"]):
            got = self.run_json(*PROMPT, *SAMPLED, "--max-tokens", "20", *options, *tiny())
            self.assertEqual(got["token_ids"], plain, options)


    def test_options_that_do_not_go_together_are_refused(self):
        self.assert_refused(run("run", *PROMPT, "--kv-cache-dtype", "int8", *tiny()),
                            "--backend reference", "--kv-cache-dtype int8")
        self.assert_refused(run("run", *PROMPT, "--max-num-seqs", "9", "--max-num-batched-tokens", "8", *tiny()),
                            "--max-num-seqs 9", "--max-num-batched-tokens")
        for option in ("--priority", "--ttft-ms", "--itl-ms"):
            self.assert_refused(run("run", *PROMPT, option, "5", *tiny()), option[2:].replace("-", "_"), "fcfs")


class Batch(TestCase):
    def test_a_line_may_ask_for_all_that_run_can(self):
        lines = [{"prompt": "hello", "raw": True, "max_tokens": 8, "temperature": 1.5, "seed": 7, "n": 3},
                 {"prompt": "hello", "raw": True, "max_tokens": 6, "logprobs": 3, "prompt_logprobs": 1},
                 {"prompt": "hello", "raw": True, "max_tokens": 4, "echo": True, "top_k": 5, "top_p": 0.9, "min_p": 0.01,
                  "typical_p": 0.95, "repetition_penalty": 1.1, "presence_penalty": -0.5, "frequency_penalty": 0.5},
                 {"prompt": "hello", "raw": True, "max_tokens": 3, "logit_bias": [{"token": 50, "bias": 100}],
                  "stop_tokens": [50], "bad_words": ["x"], "priority": -5, "cache_salt": "s"}]
        same = (["--temperature", "1.5", "--seed", "7", "--n", "3", "--max-tokens", "8"],
                ["--logprobs", "3", "--prompt-logprobs", "1", "--max-tokens", "6"],
                ["--echo", "--max-tokens", "4", "--top-k", "5", "--top-p", "0.9", "--min-p", "0.01", "--typical-p", "0.95",
                 "--repetition-penalty", "1.1", "--presence-penalty", "-0.5", "--frequency-penalty", "0.5"],
                ["--max-tokens", "3", "--logit-bias", "50:100", "--stop-token", "50", "--bad-word", "x"])
        path = folder / "options.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        result = run("batch", path, "--scheduling-policy", "priority", *tiny())
        self.assertEqual(result.returncode, 0, result.stderr)
        results = [json.loads(line) for line in (folder / "options.jsonl.out.jsonl").read_text().splitlines()]
        for got, options in zip(results, same):
            alone = self.run_json(*PROMPT, *options, *tiny())
            for key in ("text", "finish_reason", "logprobs", "prompt_logprobs"):
                self.assertEqual(got.get(key), alone.get(key), key)
        for got, alone in zip(results[0]["choices"], self.run_json(*PROMPT, *same[0], *tiny())["choices"]):
            self.assertEqual((got["text"], got["finish_reason"]), (alone["text"], alone["finish_reason"]))


class OverZmq(TestCase):
    def test_each_of_several_answers_has_its_own_end(self):
        client = self.client(self.serve(*tiny()))
        answer = client.complete(1, "hello", n=3, temperature=1.5, seed=7, max_tokens=8, logprobs=0)
        self.assertEqual([end["choice"] for end in answer.end["choices"]], [0, 1, 2])
        self.assertEqual(answer.end["completion_tokens"], sum(end["completion_tokens"] for end in answer.end["choices"]))
        for end in answer.end["choices"]:
            logprobs = answer.choice(end["choice"])["logprobs"]
            self.assertEqual(end["completion_tokens"], len(logprobs))
            self.assertAlmostEqual(end["mean_logprob"], sum(logprobs) / len(logprobs), places=4)

    def test_a_paused_request_says_nothing_until_it_is_resumed(self):
        client = self.client(self.serve(*tiny(context=65536)))
        alone = client.complete(1, "hello", max_tokens=300, ignore_eos=True)
        client.ask(2, "hello", max_tokens=300, ignore_eos=True)
        client.wait(2, tokens=3)
        client.send(type="pause_request", id=2)
        client.complete(3, "other", max_tokens=50, ignore_eos=True)  # More steps than were in flight.
        tokens = len(client.answers[2].tokens)
        client.complete(4, "other", max_tokens=50, ignore_eos=True)
        self.assertEqual(len(client.answers[2].tokens), tokens)
        self.assertIsNone(client.answers[2].end)
        client.send(type="resume_request", id=2)
        self.assertEqual(client.wait(2).tokens, alone.tokens)

    def test_a_drained_server_lets_what_is_open_end_and_refuses_the_rest(self):
        server = self.serve(*tiny(context=65536))
        client = self.client(server)
        client.ask(1, "hello", max_tokens=6000, ignore_eos=True)
        client.wait(1, tokens=3)
        client.send(type="admin_request", nonce=9, command="drain")
        eventually("the router has heard of it",
                   lambda: json.loads(run("status", "--zmq", server.endpoint, "--json").stdout)["draining"])
        refused = client.complete(2, "too late", max_tokens=2)
        if client.answers[1].end is None:  # Otherwise there was nothing to wait for.
            self.assertNotIn({"type": "admin_reply", "nonce": 9, "ok": True}, client.others)
        self.assertEqual((refused.end["reason"], refused.end["code"]), ("error", 13))
        self.assertEqual(client.wait(1).end["reason"], "length")
        while not client.others:
            client.take()
        self.assertEqual(client.others, [{"type": "admin_reply", "nonce": 9, "ok": True}])
        self.assertTrue(json.loads(run("status", "--zmq", server.endpoint, "--json").stdout)["draining"])
        self.assertEqual(run("status", "--zmq", server.endpoint, "--drain", "--reset-prefix-cache", "--check").stdout.split(),
                         ["check", "ok", "reset_prefix_cache", "ok", "drain", "ok"])


if __name__ == "__main__":
    main()
