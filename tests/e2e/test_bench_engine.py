#!/usr/bin/env python3
"""`troupe bench latency`, `throughput`, `startup` and `tune`, and a sweep over a server of its own."""
import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

from support import PATIENCE, TestCase, eventually, folder, main, run, tiny, tiny_model, troupe


def children_of(process):
    """The processes that it has started."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


class Bench(TestCase):
    def bench(self, command, *arguments, serve=None, code=0):
        """What it prints, and its JSON."""
        path = folder / f"{command}.json"
        path.unlink(missing_ok=True)
        behind = ["--", *serve] if serve is not None else []
        result = run("bench", command, "--json", path, *arguments, *behind)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stderr, "")
        return result.stdout, json.loads(path.read_text())


class InProcess(Bench):
    def test_the_latency_of_a_batch_has_vllms_lines_and_each_iteration_counts(self):
        page = folder / "latency.html"
        text, result = self.bench("latency", "--input-len", "9", "--output-len", "5", "--batch-size", "3", "--num-iters", "4",
                                  "--num-iters-warmup", "1", "--html", page, *tiny("cpu"))
        self.assertEqual(len(result["latencies"]), 4)
        self.assertAlmostEqual(result["avg_latency"], sum(result["latencies"]) / 4)
        self.assertEqual(min(result["latencies"]) <= result["percentiles"]["50"] <= max(result["latencies"]), True)
        for line in ("Avg latency: ", *(f"{percent}% percentile latency: " for percent in (10, 25, 50, 75, 90, 99))):
            self.assertRegex(text, rf"(?m)^{line}[0-9.e-]+ seconds$")
        self.assertIn("max_num_seqs 64", text)
        self.assertIn("batch of 3, 9 tokens in, 5 out; 4 iterations after 1 to warm up", text)
        self.assertEqual(page.read_text().count("<svg"), 1)

    def test_throughput_counts_all_tokens(self):
        text, result = self.bench("throughput", "--num-prompts", "30", "--input-len", "12", "--output-len", "4", "--max-num-seqs", "8",
                                  *tiny("cpu"))
        self.assertEqual((result["num_requests"], result["total_output_tokens"], result["total_num_tokens"]), (30, 120, 480))
        self.assertAlmostEqual(result["requests_per_second"], 30 / result["elapsed_time"])
        self.assertRegex(text, r"(?m)^Throughput: [0-9.]+ requests/s, [0-9.]+ total tokens/s, [0-9.]+ output tokens/s$")
        self.assertIn("Total num prompt tokens:  360\nTotal num output tokens:  120\n", text)
        self.assertEqual(result["max_num_seqs"], 8)

    def test_a_file_of_conversations_is_a_load(self):
        path = folder / "talks.json"
        path.write_text(json.dumps([{"conversations": [{"value": "Who are you, and what do you do?"}, {"value": "I am what answers."}]}]))
        _, result = self.bench("throughput", "--dataset-name", "sharegpt", "--dataset-path", path, "--num-prompts", "3",
                               "--sharegpt-output-len", "6", *tiny("cpu"))
        self.assertEqual((result["num_requests"], result["total_output_tokens"]), (3, 18))

    def test_a_request_that_does_not_fit_is_an_error(self):
        self.assert_refused(run("bench", "latency", "--input-len", "5000", "--num-iters", "1", "--num-iters-warmup", "0", *tiny("cpu")), "5000")
        self.assert_refused(run("bench", "throughput", "--model", "/nonexistent.gguf"), "/nonexistent.gguf")

    def test_a_signal_ends_it(self):
        process = subprocess.Popen([troupe(), "bench", "latency", "--num-iters", "1000000", *tiny("cpu")],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, out, err), (130, "", "troupe: interrupted.\n"))


class Options(Bench):
    def test_an_option_that_would_be_ignored_is_refused_by_name(self):
        for option, *more in (("--random-input-len", "9", "--dataset-name", "sharegpt"),
                              ("--random-output-len", "9", "--dataset-name", "multi-turn", "--dataset-path", "x.json"),
                              ("--random-prefix-len", "9", "--dataset-name", "prefix_repetition"),
                              ("--random-range-ratio", "0.5", "--dataset-name", "sharegpt"),
                              ("--sharegpt-output-len", "9"),
                              ("--sharegpt-output-len", "9", "--dataset-name", "multi-turn"),
                              ("--prefix-repetition-num-prefixes", "2"),
                              ("--multi-turn-turns", "2"),
                              ("--dataset-path", "x.json"),
                              ("--burstiness", "2"),
                              ("--burstiness", "2", "--request-rate", "inf")):
            result = run("bench", "serve", option, *more)
            self.assertEqual((result.returncode, result.stdout), (2, ""), (option, more))
            self.assertIn(f"{option}: it ", result.stderr)
        for over in (("--request-rates", "inf"), ("--max-concurrencies", "1,2")):
            result = run("bench", "sweep", *over, "--burstiness", "2")
            self.assertEqual(result.returncode, 2)
            self.assertIn("--burstiness: it ", result.stderr)
        self.assertEqual(run("bench", "throughput", "--sharegpt-output-len", "9").returncode, 2)


class Children(Bench):
    def serve(self, *more):
        return [*tiny("cpu"), *more]

    def test_a_start_is_timed_to_ready_and_to_the_first_token(self):
        page = folder / "startup.html"
        text, result = self.bench("startup", "--num-iters", "3", "--html", page, serve=self.serve())
        self.assertEqual((len(result["ready_ms"]), result["cached_shares"]), (3, [1, 1, 1]))
        for ready, token in zip(result["ready_ms"], result["first_token_ms"]):
            self.assertTrue(0 < ready < token)
        self.assertRegex(text, r"Median exec to ready \(ms\): +[0-9.]+")
        self.assertIn("100 to 100 % in the page cache before each (warm", text)
        self.assertEqual(page.read_text().count("<svg"), 1)

    def test_a_cold_start_says_what_was_in_memory(self):
        os.sync()  # What has not been written is not forgotten.
        text, result = self.bench("startup", "--num-iters", "2", "--cold", serve=self.serve())
        self.assertIn("(cold: the system was asked to forget it)", text)
        self.assertEqual(len(result["cached_shares"]), 2)

    def test_a_server_that_does_not_start_is_an_error_in_its_own_words(self):
        for command in ("startup", "tune", "sweep"):
            more = ["--request-rates", "1"] if command == "sweep" else []
            self.assert_refused(run("bench", command, *more, "--", *self.serve("--kv-disk", "/dev/null/x", "--no-prefix-caching")),
                                "The server has ended", "--kv-disk")
        self.assert_refused(run("bench", "startup", "--", "--model", "/nonexistent.gguf"), "/nonexistent.gguf")

    def test_the_model_is_found_among_the_options_wherever_it_is(self):
        result = run("bench", "startup", "--cold", "--", "--threads", "2", "/nonexistent.gguf")
        self.assert_refused(result, "/nonexistent.gguf")
        self.assertNotIn("The server has ended", result.stderr)  # No other model's file was forgotten, and none loaded.

    def test_options_that_a_measured_server_cannot_have_are_named(self):
        for option, value in (("--log-level", "warning"), ("--log-format", "text"), ("--port", "8000")):
            for command in ("startup", "tune"):
                self.assert_refused(run("bench", command, "--", *self.serve(option, value)), option)
        self.assert_refused(run("bench", "startup", "--", "--no-such-option"), "--no-such-option")

    def test_a_sweep_starts_its_own_server(self):
        _, result = self.bench("sweep", "--request-rates", "20,inf", "--num-prompts", "4", "--random-input-len", "10",
                               "--random-output-len", "3", "--ignore-eos", serve=self.serve())
        self.assertEqual([point["request_rate"] for point in result["points"]], [20, "inf"])
        self.assertEqual([point["total_output_tokens"] for point in result["points"]], [12, 12])
        self.assertEqual(result["points"][0]["serve"], list(map(str, self.serve())))

    def test_settings_are_searched_and_the_command_line_is_told(self):
        serve = self.serve("--served-model-name", "it's a model")
        text, result = self.bench("tune", "--search", "max-num-seqs=1,4", "--search", "long-prefill-tokens=0", "--num-iters", "2",
                                  "--num-prompts", "6", "--random-input-len", "8", "--random-output-len", "5", "--ignore-eos",
                                  "--max-p99-e2el-ms", "100000", serve=serve)
        self.assertEqual([setting["arguments"][1] for setting in result["settings"]], ["1", "4"])
        self.assertTrue(all(1 <= len(setting["runs"]) <= 2 and setting["within_bounds"] for setting in result["settings"]))
        self.assertEqual(result["bounds"], "P99 E2EL 100000 ms")
        self.assertEqual(shlex.split(result["command"]), ["troupe", "serve", *serve, *result["best"]])
        self.assertTrue(result["best_within_bounds"])
        self.assertTrue(text.endswith(result["command"] + "\n"))
        self.assertIn("out tok/s", text)

    def test_bounds_that_nothing_keeps_are_told(self):
        text, result = self.bench("tune", "--search", "max-num-seqs=4", "--num-iters", "1", "--num-prompts", "4", "--random-input-len", "8",
                                  "--random-output-len", "8", "--max-p99-ttft-ms", "0.001", serve=self.serve())
        self.assertIn("No setting that was tried keeps the bounds", text)
        self.assertFalse(result["settings"][0]["within_bounds"])

    def test_a_setting_that_cannot_be_is_passed_over(self):
        result = run("bench", "tune", "--search", "max-num-seqs=8,9", "--num-iters", "1", "--num-prompts", "2", "--random-input-len", "8",
                     "--random-output-len", "2", "--", *self.serve("--max-num-batched-tokens", "8"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"^troupe: --max-num-seqs 9: .*--max-num-batched-tokens.*\n$")
        self.assertIn("--max-num-seqs 8  <- best", result.stdout)

    def test_wrong_options_are_named(self):
        for search in ("", "x", "=1", "x=", "x=1,,2", "--x=1"):
            result = run("bench", "tune", "--search", search)
            self.assertEqual(result.returncode, 2, (search, result.stderr))
            self.assertIn("--search", result.stderr)

    def test_a_signal_or_death_leaves_no_server_behind(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            process = subprocess.Popen([troupe(), "bench", "sweep", "--request-rates", "1", "--num-prompts", "1000", "--random-input-len", "8",
                                        "--", *self.serve()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            eventually("it has a server", lambda: children_of(process))
            time.sleep(0.5)
            child = children_of(process)[0]
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            if number != signal.SIGKILL:
                self.assertEqual((process.returncode, out, err), (130, "", "troupe: interrupted.\n"))
            eventually("its server is gone", lambda: not Path(f"/proc/{child}/exe").exists())


if __name__ == "__main__":
    main()
