#!/usr/bin/env python3
"""The real model on the default backend: what a user sees who types the README's commands."""
import json
import subprocess

from support import PATIENCE, REAL_MODEL, ROOT, TestCase, main, needs_real_model, run, troupe, wait_for_all

FRANCE = "What is the capital of France?"


@needs_real_model
class RealModel(TestCase):
    def real(self, *arguments):
        return self.run_json(*arguments, "--model", REAL_MODEL)

    def test_the_capital_of_france_is_paris(self):
        result = run("run", FRANCE, "--model", REAL_MODEL)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Paris", result.stdout)

    def test_the_name_of_the_model_finds_its_file(self):
        result = run("run", FRANCE, "--max-tokens", "20", env={"TROUPE_MODELS": str(REAL_MODEL.parent)})
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Paris", result.stdout)

    def test_the_json_object_agrees_with_the_oracle_on_the_prompt(self):
        cases = json.loads((ROOT / "tests/oracle/smollm2_greedy.json").read_text())["cases"]
        got = self.real(FRANCE)
        self.assertIn(got["prompt_ids"], [case["prompt_ids"] for case in cases])
        self.assertEqual((got["finish_reason"], got["token_ids"][-1], got["device"]), ("stop", 2, "cpu"))
        self.assertNotIn("<|im_end|>", got["text"])

    def test_the_answer_comes_as_it_is_made(self):
        process = subprocess.Popen([troupe(), "run", "Tell me a long story.", "--model", REAL_MODEL, "--ignore-eos",
                                    "--max-tokens", "4000"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        self.assertTrue(process.stdout.read(10))
        self.assertIsNone(process.poll())  # It has thousands of tokens to go.
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 130)
        process.stdout.close()

    def test_a_chat_remembers_what_was_said(self):
        result = run("chat", "--model", REAL_MODEL, "--max-tokens", "40",
                     stdin="My name is Isabella.\nWhat is my name?\n/clear\nWhat is my name?\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Isabella", result.stdout)

    def test_32_clients_at_once_each_get_what_they_get_alone(self):
        server = self.serve("--model", REAL_MODEL)
        questions = [f"What is {number} plus {number}? " + "Explain it. " * (number % 9) for number in range(32)]
        fields = [{"messages": [{"role": "user", "content": question}], "max_tokens": 5 + number % 10,
                   "temperature": number % 2 * 0.8, "seed": number} for number, question in enumerate(questions)]
        one = self.client(server)
        alone = [one.complete(id, **field).result() for id, field in enumerate(fields)]
        clients = [self.client(server) for _ in fields]
        for client, field in zip(clients, fields):
            client.ask(1, **field)
        wait_for_all(clients)
        self.assertEqual([client.answers[1].result() for client in clients], alone)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    main()
