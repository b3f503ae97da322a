#!/usr/bin/env python3
"""`troupe bench serve` and `sweep`: what they count and say, of a real server and of hostile ones."""
import json
import os
import re
import signal
import socket
import subprocess
import time

from fake_openai_server import FakeOpenAiServer, chunk, events, in_pieces, usage
from support import PATIENCE, Server, TestCase, eventually, folder, main, run, tiny, tiny_model, troupe

LINES = ["Successful requests:", "Failed requests:", "Benchmark duration (s):", "Total input tokens:", "Total generated tokens:",
         "Request throughput (req/s):", "Output token throughput (tok/s):", "Peak output token throughput (tok/s):",
         "Peak concurrent requests:", "Total token throughput (tok/s):",
         *(f"{which} {name} (ms):" for name in ("TTFT", "TPOT", "ITL", "E2EL") for which in ("Mean", "Median", "P99"))]
SHORT = ["--random-input-len", "20", "--random-output-len", "8", "--ignore-eos"]


def figures_of(text):
    """The lines of a result, by name."""
    return {name: float(value) for name, value in re.findall(r"^([A-Z].*:) +([0-9.]+) *$", text, re.MULTILINE)}


class Bench(TestCase):
    def bench(self, *arguments, code=0):
        result = run("bench", *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def measured(self, server_url, *arguments, code=0, command="serve"):
        """The figures of the lines, and the JSON."""
        path = folder / "bench.json"
        path.unlink(missing_ok=True)
        result = self.bench(command, "--base-url", server_url, "--json", path, *arguments, code=code)
        return figures_of(result.stdout), json.loads(path.read_text()), result

    def fake(self, answer):
        server = FakeOpenAiServer(answer)
        self.addCleanup(server.close)
        return server


class OfTroupe(Bench):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(*tiny("cpu", context=2048))

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    def tearDown(self):
        self.check_and_kill_nothing()

    def check_and_kill_nothing(self):
        checked = run("status", "--zmq", self.server.endpoint, "--check")
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_lines_and_counts_are_those_of_the_requests(self):
        figures, result, ran = self.measured(self.server.url, *SHORT, "--num-prompts", "12", "--max-concurrency", "4")
        for line in LINES:
            self.assertIn(line, figures)
        self.assertIn("============ Serving Benchmark Result ============", ran.stdout)
        self.assertEqual((figures["Successful requests:"], figures["Failed requests:"]), (12, 0))
        self.assertEqual(figures["Maximum request concurrency:"], 4)
        self.assertEqual((figures["Total generated tokens:"], result["total_output_tokens"]), (12 * 8, 12 * 8))
        self.assertEqual((figures["Total input tokens:"], result["total_input_tokens"]), (12 * 20, 12 * 20))
        self.assertAlmostEqual(result["output_throughput"], 12 * 8 / result["duration"])
        self.assertLessEqual(figures["Peak concurrent requests:"], 12)
        self.assertIn("load: 12 requests of random, 20 tokens in, 8 out; all at once; 4 open at most; seed 0", ran.stdout)
        self.assertEqual(ran.stderr, "")
        self.assertLess(result["mean_ttft_ms"], result["mean_e2el_ms"])

    def test_each_request_is_told_of_where_that_is_wanted(self):
        _, result, _ = self.measured(self.server.url, *SHORT, "--num-prompts", "5", "--max-concurrency", "1", "--save-detailed")
        self.assertEqual(result["output_lens"], [8] * 5)
        self.assertEqual(result["input_lens"], [20] * 5)
        self.assertEqual(result["errors"], [""] * 5)
        for start, end, ttft, itl in zip(result["start_times"], result["latencies"], result["ttfts"], result["itls"]):
            self.assertAlmostEqual(ttft + sum(itl), end)
        ends = [start + latency for start, latency in zip(result["start_times"], result["latencies"])]
        for end, next_start in zip(ends, result["start_times"][1:]):
            self.assertLessEqual(end, next_start)  # One at a time.

    def test_a_chat_and_another_tokenizer(self):
        figures, _, _ = self.measured(self.server.url, *SHORT, "--num-prompts", "3", "--endpoint", "/v1/chat/completions",
                                      "--tokenizer", tiny_model(context=2048))
        self.assertEqual((figures["Successful requests:"], figures["Total generated tokens:"]), (3, 24))
        self.assertGreater(figures["Total input tokens:"], 60)  # With the template.

    def test_a_conversation_says_again_what_was_said(self):
        _, result, _ = self.measured(self.server.url, *SHORT, "--num-prompts", "6", "--dataset-name", "multi-turn",
                                     "--multi-turn-turns", "3", "--save-detailed")
        self.assertEqual(result["completed"], 6)
        for first, second, third in (result["input_lens"][:3], result["input_lens"][3:]):
            self.assertEqual(first, 20)
            self.assertGreater(second, first + 20)
            self.assertGreater(third, second + 20)

    def test_prefixes_that_are_repeated(self):
        figures, _, _ = self.measured(self.server.url, "--dataset-name", "prefix_repetition", "--num-prompts", "6", "--ignore-eos",
                                      "--prefix-repetition-num-prefixes", "2", "--prefix-repetition-prefix-len", "40",
                                      "--prefix-repetition-suffix-len", "10", "--prefix-repetition-output-len", "4")
        self.assertEqual((figures["Successful requests:"], figures["Total generated tokens:"]), (6, 24))

    def test_requests_come_at_their_rate(self):
        figures, result, _ = self.measured(self.server.url, *SHORT, "--num-prompts", "20", "--request-rate", "40", "--save-detailed",
                                           "--goodput", "ttft:100000", "e2el:100000")
        self.assertEqual(figures["Request rate configured (RPS):"], 40)
        self.assertAlmostEqual(max(result["start_times"]), 0.5, delta=0.2)
        self.assertAlmostEqual(figures["Request goodput (req/s):"], figures["Request throughput (req/s):"])

    def test_a_page_has_its_pictures(self):
        page = folder / "bench.html"
        self.measured(self.server.url, *SHORT, "--num-prompts", "2", "--html", page)
        self.assertEqual(page.read_text().count("<svg"), 5)

    def test_chosen_figures_alone_are_told(self):
        figures, result, _ = self.measured(self.server.url, *SHORT, "--num-prompts", "2", "--percentile-metrics", "ttft,e2el",
                                           "--metric-percentiles", "50,99.9")
        self.assertIn("P99.9 TTFT (ms):", figures)
        self.assertIn("p50_e2el_ms", result)
        self.assertNotIn("Mean ITL (ms):", figures)

    def test_a_model_that_the_server_does_not_have_fails_every_request(self):
        figures, _, ran = self.measured(self.server.url, *SHORT, "--num-prompts", "3", "--model", "other", "--tokenizer",
                                        tiny_model(context=2048), code=1)
        self.assertEqual((figures["Successful requests:"], figures["Failed requests:"]), (0, 3))
        self.assertRegex(ran.stderr, r"^troupe: 3 of 3 requests failed: 3 times: 404: .*\n$")

    def test_a_sweep_has_a_point_for_each_rate(self):
        page = folder / "sweep.html"
        _, result, ran = self.measured(self.server.url, *SHORT, "--num-prompts", "4", "--max-concurrencies", "1,2,4", "--html", page,
                                       command="sweep")
        self.assertEqual([point["max_concurrency"] for point in result["points"]], [1, 2, 4])
        self.assertEqual([point["total_output_tokens"] for point in result["points"]], [32] * 3)
        self.assertEqual(len({point["seed"] for point in result["points"]}), 3)
        self.assertEqual(page.read_text().count("<svg"), 4)
        self.assertEqual(len(re.findall(r"^ +[124] +[0-9.]+ ", ran.stdout, re.MULTILINE)), 3, ran.stdout)


class OfOthers(Bench):
    def run_against(self, answer, *arguments, requests=8, code=0):
        server = self.fake(answer)
        return (*self.measured(server.url, "--random-input-len", "6", "--random-output-len", "3", "--num-prompts", str(requests),
                               "--save-detailed", *arguments, code=code), server)

    def test_a_stream_is_read_however_it_is_cut_and_whatever_is_between(self):
        def answer(number, body):
            end = ("\n", "\r\n", "\r")[number % 3]
            content = events(": a comment", chunk("ä €"), "event: odd" + end + "id: 3" + end + chunk("b"), chunk("c"),
                             usage(7, 3), "data: [DONE]", end=end)
            return 200, in_pieces(content, number)

        figures, result, _, server = self.run_against(answer, "--max-concurrency", "3", requests=24)
        self.assertEqual((figures["Successful requests:"], figures["Total generated tokens:"]), (24, 72))
        self.assertEqual(figures["Total input tokens:"], 24 * 7)
        self.assertTrue(all(len(itl) == 2 for itl in result["itls"]))
        for path, body, _ in server.bodies:
            self.assertEqual((path, body["model"], body["max_tokens"], body["stream"]), ("/v1/completions", "fake", 3, True))
            self.assertEqual(len(body["prompt"].split(" ")), 6)
        self.assertEqual(len({body["prompt"] for _, body, _ in server.bodies}), 24)

    def test_the_time_is_that_of_the_chunks(self):
        def slow():
            for line in (chunk("a"), chunk("b"), chunk("c")):
                time.sleep(0.1)
                yield events(line)
            yield events(usage(6, 3), "data: [DONE]")
            time.sleep(0.3)  # Nothing of this is the answer's.

        _, result, _, _ = self.run_against(lambda number, body: (200, slow()), requests=2)
        for ttft, itl, latency in zip(result["ttfts"], result["itls"], result["latencies"]):
            self.assertAlmostEqual(ttft, 0.1, delta=0.08)
            self.assertEqual(len(itl), 2)
            self.assertAlmostEqual(latency, 0.3, delta=0.1)
        self.assertAlmostEqual(result["mean_tpot_ms"], 100, delta=50)

    def test_tokens_are_counted_where_the_server_does_not(self):
        figures, _, _, _ = self.run_against(lambda number, body: (200, [events(chunk("w1"), chunk(" w2 w3 w4"), "data: [DONE]")]))
        self.assertEqual(figures["Total generated tokens:"], 8 * 4)
        self.assertEqual(figures["Total input tokens:"], 8 * 6)

    def test_failures_are_counted_and_told_and_are_in_no_figure(self):
        def answer(number, body):
            good = events(chunk("a"), usage(6, 1), "data: [DONE]")
            return ((200, [good]), (500, json.dumps({"error": {"message": "Out of luck."}}).encode()), (200, [good[:20], None]),
                    (200, [events(chunk("a"))]), (200, [events("data: {")]), (200, []), (429, b"slow down"),
                    (200, [events(chunk("a"), 'data: {"error": {"message": "Died."}}')]))[number % 8]

        figures, result, ran, _ = self.run_against(answer, "--max-concurrency", "1", code=1)
        self.assertEqual((figures["Successful requests:"], figures["Failed requests:"]), (1, 7))
        self.assertEqual((figures["Total generated tokens:"], figures["Total input tokens:"]), (1, 6))
        for part, error in zip(("", "500: Out of luck.", "broke off", "broke off", "no JSON", "no chunk", "429: slow down", "Died."),
                               result["errors"]):
            self.assertIn(part, error)
            self.assertEqual(part == "", error == "")
        self.assertIn("7 of 8 requests failed: ", ran.stderr)
        self.assertIn("and 2 other reasons", ran.stderr)

    def test_a_request_that_takes_too_long_has_failed(self):
        def stalls():
            yield events(chunk("a"))
            time.sleep(3)

        _, result, _, _ = self.run_against(lambda number, body: (200, stalls()), "--request-timeout", "1", requests=2, code=1)
        self.assertEqual(set(result["errors"]), {"No whole answer within 1 s."})

    def test_a_turn_after_one_that_failed_is_not_sent(self):
        _, result, _, server = self.run_against(lambda number, body: (500, b"no"), "--dataset-name", "multi-turn", requests=4, code=1)
        self.assertEqual(len(server.bodies), 1)
        self.assertEqual(result["failed"], 4)
        self.assertIn("turn before", result["errors"][3])

    def test_a_connection_that_the_server_has_closed_is_made_again(self):
        def answer(number, body):
            return 200, [events(chunk("a"), usage(6, 1), "data: [DONE]")]

        server = self.fake(answer)
        handler = server.server.RequestHandlerClass
        original = handler.do_POST

        def closing(self):
            original(self)
            self.close_connection = True  # Though it has not said so.

        handler.do_POST = closing
        figures, _, _ = self.measured(server.url, "--random-input-len", "6", "--random-output-len", "1", "--num-prompts", "9",
                                      "--max-concurrency", "1")
        self.assertEqual(figures["Successful requests:"], 9)

    def test_prompts_are_made_over_one_connection(self):
        server = self.fake(lambda number, body: (200, [events(chunk("a"), usage(4, 1), "data: [DONE]")]))
        figures, _, _ = self.measured(server.url, "--num-prompts", "9", "--random-input-len", "4")
        self.assertEqual(figures["Successful requests:"], 9)
        self.assertGreaterEqual(len(server.asked_for_tokens), 18)
        self.assertEqual(len(set(server.asked_for_tokens)), 1)

    def test_what_takes_long_shows_how_far_it_is_on_a_terminal_alone(self):
        def slow(number, body):
            time.sleep(0.5)
            return 200, [events(chunk("a"), usage(6, 1), "data: [DONE]")]

        server = self.fake(slow)
        ours, theirs = os.openpty()
        command = [troupe(), "bench", "serve", "--base-url", server.url, "--random-input-len", "6", "--num-prompts", "7", "--max-concurrency", "1"]
        shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=PATIENCE, check=False)
        os.close(theirs)
        seen = os.read(ours, 65536).decode()
        os.close(ours)
        self.assertEqual(shown.returncode, 0, seen)
        self.assertRegex(seen, r"requests \[#+\.+\] [1-6]/7  [23] s")
        self.assertTrue(seen.endswith("\x1b[K"), seen)  # And is gone in the end.
        self.assertEqual(run(*command[1:]).stderr, "")

    def test_a_key_is_sent_and_not_written_down(self):
        figures, result, ran, server = self.run_against(
            lambda number, body: (200, [events(chunk("a"), usage(6, 1), "data: [DONE]")]), "--api-key", "secret-7")
        self.assertEqual({key for _, _, key in server.bodies}, {"Bearer secret-7"})
        self.assertNotIn("secret-7", ran.stdout + json.dumps(result))


class WrongUse(Bench):
    def test_a_server_that_is_not_there_is_an_error_that_says_so(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            self.assert_refused(run("bench", "serve", "--port", str(port)), f"http://127.0.0.1:{port}", "Connection refused")
            figures, _, ran = self.measured(f"http://127.0.0.1:{port}", *SHORT, "--num-prompts", "2", "--model", "x", "--tokenizer",
                                            tiny_model(), code=1)
            self.assertEqual(figures["Failed requests:"], 2)
            self.assertIn("Cannot connect", ran.stderr)

    def test_a_server_that_does_not_tokenize_needs_a_tokenizer(self):
        server = self.fake(None)
        handler = server.server.RequestHandlerClass
        handler.do_POST = lambda self: self.reply(404, b'{"error": "nothing here"}')
        self.assert_refused(run("bench", "serve", "--base-url", server.url), "--tokenizer", "nothing here")

    def test_wrong_options_are_named(self):
        for arguments, word in ((("--request-rate", "0"), "--request-rate"), (("--request-rate", "x"), "--request-rate"),
                                (("--goodput", "itl:5"), "--goodput"), (("--goodput", "ttft"), "--goodput"),
                                (("--dataset-name", "x"), "--dataset-name"), (("--random-range-ratio", "1"), "--random-range-ratio"),
                                (("--percentile-metrics", "x"), "--percentile-metrics"), (("--max-concurrency", "0"), "--max-concurrency"),
                                (("--base-url", "http://x", "--port", "1"), "--port"), (("--unknown",), "--unknown")):
            result = run("bench", "serve", *arguments)
            self.assertEqual(result.returncode, 2, (arguments, result.stderr))
            self.assertIn(word, result.stderr)
        for arguments, word in ((("--base-url", "https://x"), "TLS"), (("--base-url", "x"), "--base-url"),
                                (("--endpoint", "/v1/responses"), "--endpoint"), (("--json", "/nonexistent/x.json"), "/nonexistent/x.json")):
            self.assert_refused(run("bench", "serve", *arguments), word)
        self.assertEqual(run("bench", "sweep", "--base-url", "http://x").returncode, 2)
        self.assertEqual(run("bench", "sweep", "--base-url", "http://x", "--request-rates", "1", "--", "--model", "x").returncode, 2)
        server = self.fake(None)
        self.assert_refused(run("bench", "serve", "--base-url", server.url, "--dataset-name", "sharegpt"), "--dataset-path")
        self.assert_refused(run("bench", "serve", "--base-url", server.url, "--dataset-name", "sharegpt", "--dataset-path", "/nonexistent"),
                            "/nonexistent")

    def test_a_signal_ends_the_making_of_prompts(self):
        server = self.fake(lambda number, body: (200, b"{}"))
        for codec in ([], ["--tokenizer", str(tiny_model())]):
            process = subprocess.Popen([troupe(), "bench", "serve", "--base-url", server.url, "--num-prompts", "10000000", *codec],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            self.assertEqual((process.returncode, out, err), (130, "", "troupe: interrupted.\n"))
        self.assertEqual(server.bodies, [])

    def test_a_signal_ends_it(self):
        def endless():
            while True:
                time.sleep(0.05)
                yield events(chunk("a"))

        server = self.fake(lambda number, body: (200, endless()))
        for number in (signal.SIGINT, signal.SIGTERM):
            server.bodies.clear()
            process = subprocess.Popen([troupe(), "bench", "serve", "--base-url", server.url, "--random-input-len", "5", "--num-prompts", "3"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            eventually("its requests are there", lambda: len(server.bodies) == 3)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            self.assertEqual((process.returncode, out, err), (130, "", "troupe: interrupted.\n"))


if __name__ == "__main__":
    main()
