#!/usr/bin/env python3
"""Runs the ZeroMQ examples against tests/protocol/fake_server.py.

    check_examples.py PATH/TO/zmq_client.py PATH/TO/zmq_client

Exits with 77, which Meson shows as skipped, where pyzmq or msgpack is missing.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import msgpack  # noqa: F401
    import zmq  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing} (pip install pyzmq msgpack)")
    sys.exit(77)

FAKE_SERVER = pathlib.Path(__file__).with_name("fake_server.py")
ENDLESS = ["--ignore-eos", "--max-tokens", "4000000000"]


class Examples(unittest.TestCase):
    python_client = cpp_client = None

    @classmethod
    def setUpClass(cls):
        cls.server = subprocess.Popen([sys.executable, FAKE_SERVER], stdout=subprocess.PIPE, text=True)
        cls.endpoint = cls.server.stdout.readline().strip()

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()
        cls.server.stdout.close()

    def ask(self, client, *arguments, endpoint=None):
        return subprocess.run([*client, "--endpoint", endpoint or self.endpoint, *arguments], capture_output=True,
                              text=True, timeout=100)

    def each_client(self):
        for client in (self.python_client, self.cpp_client):
            with self.subTest(client=client[-1]):
                yield client

    def test_the_answer_goes_to_stdout_and_the_rest_to_stderr(self):
        for client in self.each_client():
            for raw in ([], ["--raw"]):
                result = self.ask(client, *raw, "Paris is nice", "--temperature", "0.5", "--seed", "3", "--stop", "x")
                self.assertEqual((result.returncode, result.stdout), (0, "Paris is nice\n"), result.stderr)
                self.assertIn("fake 1, echo, context 1000", result.stderr)
                self.assertIn("stop: 3 + 3 tokens", result.stderr)

    def test_max_tokens_ends_the_answer(self):
        for client in self.each_client():
            result = self.ask(client, "one two three", "--max-tokens", "2")
            self.assertEqual((result.returncode, result.stdout), (0, "one two\n"), result.stderr)
            self.assertIn("length", result.stderr)

    def test_an_answer_without_end_is_cancelled(self):
        for client in self.each_client():
            result = self.ask(client, "tick", *ENDLESS, "--cancel-after", "5")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertTrue(result.stdout.startswith("tick tick tick tick tick"), result.stdout)
            self.assertIn("cancelled: 1 + ", result.stderr)

    def test_a_request_that_fails_is_an_exit_code_and_a_sentence(self):
        for client in self.each_client():
            result = self.ask(client, "please fail")
            self.assertEqual((result.returncode, result.stdout), (1, "\n"))
            self.assertIn("The prompt does not fit.", result.stderr)

    def test_a_refusal_says_when_to_try_again(self):
        for client in self.each_client():
            result = self.ask(client, "too busy")
            self.assertEqual((result.returncode, result.stdout), (1, "\n"))
            self.assertIn("It is full.", result.stderr)
            self.assertIn("in 250 ms", result.stderr)

    def test_several_answers_are_shown_when_all_have_ended(self):
        for client in self.each_client():
            result = self.ask(client, "Paris is nice", "--n", "3")
            whole = "".join(f"[{choice}] Paris is nice\n" for choice in range(3))
            self.assertEqual((result.returncode, result.stdout), (0, whole), result.stderr)
            self.assertIn("stop: 3 + 9 tokens", result.stderr)

    def test_logprobs_are_shown_with_their_tokens(self):
        for client in self.each_client():
            result = self.ask(client, "Paris is", "--logprobs", "2")
            self.assertEqual(result.returncode, 0, result.stderr)
            lines = [line for line in result.stderr.splitlines() if line.startswith("answer 0: ")]
            self.assertEqual(len(lines), 2, result.stderr)
            self.assertRegex(lines[1], r"token 1: -0\.50*, rank 1, likeliest 1 -0\.50*, 2 -1\.50*$")
        result = self.ask(self.python_client, "Paris is nice", "--prompt-logprobs", "0")
        self.assertIn("prompt: token 2: -0.500, rank 1\n", result.stderr)

    def test_a_paused_answer_goes_on_when_it_is_resumed(self):
        words = " ".join(str(n) for n in range(200))
        for client in self.each_client():
            result = self.ask(client, words, "--pause-after", "5")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(" ... ", result.stdout)
            self.assertEqual(result.stdout.replace(" ...", ""), words + "\n")

    def test_any_field_of_a_request_can_be_given(self):
        result = self.ask(self.python_client, "--raw", "one two", "--field", "top_p=0.5", "--field",
                          'logit_bias=[{"token": 1, "bias": -2}]', "--field", "echo=true")
        self.assertEqual((result.returncode, result.stdout), (0, "one twoone two\n"), result.stderr)
        result = self.ask(self.python_client, "one", "--field", "beams=2")
        self.assertEqual(result.returncode, 1)
        self.assertIn("error 2: generate_request has no such field beams.", result.stderr)

    def test_an_operator_gets_the_counts_or_what_is_wrong(self):
        result = self.ask(self.python_client, "--admin", "status")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("open_requests 0\n", result.stdout)
        result = self.ask(self.python_client, "--admin", "check")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("Block 7 has two owners.", result.stderr)

    def test_where_there_is_no_server_a_client_says_so(self):
        # Port 1 is privileged and has no server.
        patient = ((self.python_client, ["--timeout", "0.1"]), (self.cpp_client, ["--timeout-ms", "100"]))
        for client, patience in patient:
            result = self.ask(client, "hi", *patience, endpoint="tcp://127.0.0.1:1")
            self.assertEqual(result.returncode, 1)
            self.assertIn("Is `troupe serve` running?", result.stderr)

    def test_an_endpoint_that_is_none_is_no_traceback(self):
        for client in self.each_client():
            result = self.ask(client, "hi", endpoint="nonsense")
            self.assertEqual(result.returncode, 1)
            self.assertTrue(result.stderr.startswith("zmq_client: "), result.stderr)
            self.assertNotIn("Traceback", result.stderr)

    def test_thirty_two_requests_at_once_each_get_their_own_answer(self):
        for credit in ([], ["--credit", "3"]):
            result = self.ask(self.python_client, "--concurrent", "32", *credit,
                              "question {n} of many words and more")
            self.assertEqual(result.returncode, 0, result.stderr)
            expected = {f"[{n}] question {n} of many words and more" for n in range(1, 33)}
            self.assertEqual(set(result.stdout.splitlines()), expected)
            self.assertIn("32 requests, 0 failed, 224 tokens", result.stderr)

    def test_a_window_of_any_size_lets_the_whole_answer_through(self):
        words = " ".join(str(n) for n in range(100))
        for window in ("1", "2", "7", "64", "1000"):
            result = self.ask(self.python_client, "--credit", window, words)
            self.assertEqual((result.returncode, result.stdout), (0, words + "\n"), result.stderr)

    def test_a_chat_is_read_from_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "chat.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump([{"role": "system", "content": "x"}, {"role": "user", "content": "last é words"}], file)
            result = self.ask(self.python_client, "--messages", path)
        self.assertEqual((result.returncode, result.stdout), (0, "last é words\n"), result.stderr)

    def test_the_cpp_client_refuses_at_once_what_a_server_would(self):
        result = self.ask(self.cpp_client, "hi", "--temperature", "-1", endpoint="tcp://127.0.0.1:1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("'temperature' is -1", result.stderr)


if __name__ == "__main__":
    Examples.python_client = [sys.executable, sys.argv[1]]
    Examples.cpp_client = [sys.argv[2]]
    unittest.main(argv=sys.argv[:1])
