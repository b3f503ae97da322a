#!/usr/bin/env python3
"""examples/zmq_client.py against the real server, as its own text and the docs say that it is called."""
import json
import signal
import subprocess
import sys
from pathlib import Path

from support import PATIENCE, ROOT, TestCase, folder, main, tiny, troupe

EXAMPLE = ROOT / "examples" / "zmq_client.py"


def built(name):
    """An example of the same build as the binary."""
    return Path(troupe()).parent.parent / "examples" / name


class Example(TestCase):
    @classmethod
    def setUpClass(cls):
        from support import Server
        cls.server = Server(*tiny(context=65536), endpoint="tcp://127.0.0.1:*")

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    def command(self, *arguments):
        return [sys.executable, EXAMPLE, "--endpoint", self.server.endpoint, *arguments]

    def example(self, *arguments):
        result = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE,
                                stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def test_one_answer_is_what_run_gives(self):
        for options in ([], ["--raw"], ["--temperature", "1", "--seed", "5"]):
            ran = self.run_json("What is this?", *options, "--max-tokens", "20", *tiny(context=65536))
            result = self.example("What is this?", *options, "--max-tokens", "20")
            self.assertEqual(result.stdout, ran["text"] + "\n")
            self.assertRegex(result.stderr, r"^troupe \d.*, Troupe's tiny test model, context 65536\n")

    def test_the_client_in_cpp_and_the_embedding_example_give_what_run_gives(self):
        ran = self.run_json("What is this?", "--max-tokens", "20", *tiny(context=65536))
        result = subprocess.run([built("zmq_client"), "--endpoint", self.server.endpoint, "What is this?",
                                 "--max-tokens", "20"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((result.returncode, result.stdout), (0, ran["text"] + "\n"), result.stderr)
        on_cpu = tiny("cpu", context=65536)
        question = "What is the capital of France?"
        ran = self.run_json(question, "--max-tokens", "64", *on_cpu)
        result = subprocess.run([built("embedding"), on_cpu[1]], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{question}\n  {ran['text']}\n  [{ran['finish_reason']}]\n", result.stdout)

    def test_an_embedding_is_a_list_of_numbers(self):
        vectors = [json.loads(self.example("--embed", how, "--raw", "hello").stdout) for how in ("last", "mean")]
        for vector in vectors:
            self.assertAlmostEqual(sum(value * value for value in vector), 1, places=5)
        self.assertNotEqual(*vectors)

    def test_thirty_two_at_once_each_get_their_own(self):
        result = self.example("--concurrent", "32", "--max-tokens", "10", "What is {n} plus {n}?")
        self.assertIn("32 requests, 0 failed, ", result.stderr)
        for n in (1, 32):
            ran = self.run_json(f"What is {n} plus {n}?", "--max-tokens", "10", *tiny(context=65536))
            self.assertIn(f"[{n}] {ran['text']}\n", result.stdout)

    def test_an_answer_is_cancelled_after_a_few_tokens(self):
        result = self.example("--cancel-after", "5", "--ignore-eos", "--max-tokens", "60000", "Tell me a long story.")
        self.assertIn("cancelled: ", result.stderr)

    def test_credit_of_a_window_lets_the_whole_answer_through(self):
        plain = self.example("Count to fifty.", "--max-tokens", "50", "--ignore-eos")
        self.assertEqual(self.example("Count to fifty.", "--max-tokens", "50", "--ignore-eos", "--credit", "16").stdout,
                         plain.stdout)

    def test_messages_come_from_a_file(self):
        path = folder / "chat.json"
        path.write_text('[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]')
        ran = self.run_json("Hi", "--system", "Be brief.", "--max-tokens", "10", *tiny(context=65536))
        self.assertEqual(self.example("--messages", path, "--max-tokens", "10").stdout, ran["text"] + "\n")

    def test_ctrl_c_cancels_and_ends_well(self):
        process = subprocess.Popen(self.command("--ignore-eos", "--max-tokens", "60000", "A long story"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(process.stdout.read(1))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, said)
        self.assertIn(b"cancelled: ", said)


if __name__ == "__main__":
    main()
