#!/usr/bin/env python3
"""`troupe batch`: results in the order of the lines, bad lines among them, and going on after any interruption."""
import json
import os
import resource
import signal
import subprocess
import unittest

from support import PATIENCE, TestCase, eventually, folder, main, run, tiny, troupe


def line(number):
    """Prompts of mixed lengths and kinds, some sampled: whatever runs beside them, their answers are their own."""
    request = {"id": f"line {number}", "max_tokens": 5 + number * 7 % 60}
    if number % 3 == 0:
        request["messages"] = [{"role": "user", "content": f"question {number} " * (number % 9)}]
    else:
        request["prompt"] = f"prompt {number} " * (1 + number % 12)
        request["raw"] = number % 2 == 0
    if number % 4 == 1:
        request |= {"temperature": 1.5, "seed": number}
    return request


LINES = 120  # Of a job that is interrupted.
FEW_AT_ONCE = ["--max-num-seqs", "6"]  # So that results come a few at a time.


class BatchCase(TestCase):
    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.input = folder / f"{self.name}.jsonl"
        self.output = folder / f"{self.name}.jsonl.out.jsonl"

    def write(self, lines):
        self.input.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def results(self, path=None):
        return [json.loads(line) for line in (path or self.output).read_text(encoding="utf-8").splitlines()]

    def batch(self, *arguments, **more):
        return run("batch", self.input, *tiny(), *arguments, **more)


class Results(BatchCase):
    def test_each_line_gets_its_result_in_the_order_of_the_lines(self):
        lines = [line(number) for number in range(40)]
        self.write(lines)
        done = self.batch()
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        results = self.results()
        self.assertEqual([result["line"] for result in results], list(range(1, 41)))
        self.assertEqual([result["id"] for result in results], [line["id"] for line in lines])
        for asked, got in zip(lines, results):
            self.assertEqual(list(got), ["line", "input", "id", "text", "finish_reason", "usage"])
            self.assertIn(got["finish_reason"], ("length", "stop"))  # A stop may come with the last token.
            tokens = got["usage"]["completion_tokens"]
            (self.assertEqual if got["finish_reason"] == "length" else self.assertLessEqual)(tokens, asked["max_tokens"])

    def test_a_line_gets_the_answer_that_run_gives(self):
        lines = [line(number) for number in range(12)]
        self.write(lines)
        self.batch()
        for asked, got in zip(lines, self.results()):
            if "prompt" in asked:
                options = ["--raw"] if asked["raw"] else []
                options += ["--temperature", str(asked.get("temperature", 0)), "--seed", str(asked.get("seed", 0))]
                alone = self.run_json(asked["prompt"], *options, "--max-tokens", str(asked["max_tokens"]), *tiny())
                self.assertEqual((got["text"], got["finish_reason"]), (alone["text"], alone["finish_reason"]))
                self.assertEqual(got["usage"], {"prompt_tokens": len(alone["prompt_ids"]),
                                                "completion_tokens": len(alone["token_ids"])})

    def test_the_number_of_lines_at_once_changes_no_result(self):
        self.write(line(number) for number in range(30))
        self.batch()
        for options in (["--max-num-seqs", "1"], ["--max-num-seqs", "3", "--kv-tokens", "512"],
                        ["--max-num-batched-tokens", "5"]):
            other = folder / "other.jsonl"
            other.unlink(missing_ok=True)
            self.assertEqual(self.batch(*options, "--output", other).returncode, 0)
            self.assertEqual(other.read_text(), self.output.read_text(), options)

    def test_lines_that_want_more_answers_than_the_engine_admits_at_once_wait_for_room(self):
        self.write([{"prompt": "a", "n": 128, "max_tokens": 1}] * 130)  # 16,384 are admitted.
        done = self.batch()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([len(result["choices"]) for result in self.results()], [128] * 130)

    def test_options_are_the_defaults_of_lines_that_do_not_say(self):
        self.write([{"prompt": "a"}, {"prompt": "a", "max_tokens": 3}])
        self.batch("--max-tokens", "5", "--ignore-eos")
        self.assertEqual([result["usage"]["completion_tokens"] for result in self.results()], [5, 3])

    def test_an_empty_file_has_no_results_and_a_last_line_needs_no_end(self):
        self.input.write_text("")
        self.assertEqual(self.batch().returncode, 0)
        self.assertEqual(self.output.read_text(), "")
        self.input.write_text('{"prompt": "a", "max_tokens": 1}\r\n{"prompt": "b", "max_tokens": 1}')
        self.assertEqual(self.batch().returncode, 0)
        self.assertEqual(len(self.results()), 2)


class BadLines(BatchCase):
    def test_a_bad_line_becomes_a_result_that_says_why_and_the_others_are_answered(self):
        good = '{"prompt": "good", "max_tokens": 2}'
        bad = (
            ("", "malformed", "JSON"), ("nonsense", "malformed", "JSON"), ("[1]", "malformed", "JSON"),
            ('{"prompt": "x"', "malformed", "JSON"), ("[" * 100000, "limit_exceeded", "64"),
            ('{"id": ' + "[" * 100000 + "]" * 100000 + ', "prompt": "x"}', "limit_exceeded", "64"),
            ('{"prompt": "x", "n": ' + '{"a":' * 64 + "1" + "}" * 64 + "}", "limit_exceeded", "64"),
            ("{}", "invalid_argument", "prompt"), ('{"prompt": "x", "tokens": [5]}', "invalid_argument", "one of"),
            ('{"prompt": 5}', "invalid_argument", "prompt"), ('{"prompt": "", "raw": true}', "invalid_argument", "prompt"),
            ('{"prompt": "x", "beams": 1}', "unknown_field", "beams"),
            ('{"prompt": "x", "top_p": 1.5}', "invalid_argument", "top_p"),
            ('{"prompt": "x", "top_p": "1"}', "invalid_argument", "top_p"),
            ('{"prompt": "x", "top_k": -1}', "invalid_argument", "top_k"),
            ('{"prompt": "x", "logprobs": 21}', "invalid_argument", "logprobs"),
            ('{"prompt": "x", "logprobs": -2}', "invalid_argument", "logprobs"),
            ('{"prompt": "x", "priority": 1.5}', "invalid_argument", "priority"),
            ('{"prompt": "x", "priority": -1001}', "invalid_argument", "priority"),
            ('{"prompt": "x", "n": 2, "best_of": 1}', "invalid_argument", "best_of"),
            ('{"prompt": "x", "logit_bias": {"5": 1}}', "invalid_argument", "logit_bias"),
            ('{"prompt": "x", "logit_bias": [{"token": 5}]}', "invalid_argument", "logit_bias"),
            ('{"prompt": "x", "logit_bias": [{"token": 5, "bias": 101}]}', "invalid_argument", "logit_bias"),
            ('{"prompt": "x", "stop_tokens": [-1]}', "invalid_argument", "stop_tokens"),
            ('{"prompt": "x", "bad_words": [""]}', "invalid_argument", "bad_words"),
            ('{"prompt": "x", "credit": 5}', "unknown_field", "credit"),
            ('{"prompt": "x", "temperature": true}', "invalid_argument", "temperature"),
            ('{"prompt": "x", "temperature": -1}', "invalid_argument", "temperature"),
            ('{"prompt": "x", "max_tokens": 0}', "invalid_argument", "max_tokens"),
            ('{"prompt": "x", "max_tokens": -1}', "invalid_argument", "max_tokens"),
            ('{"prompt": "x", "max_tokens": 4294967297}', "invalid_argument", "max_tokens"),
            ('{"prompt": "x", "seed": 1.5}', "invalid_argument", "seed"),
            ('{"prompt": "x", "stop": "y"}', "invalid_argument", "stop"),
            ('{"prompt": "x", "stop": [""]}', "invalid_argument", "stop"),
            ('{"tokens": [1.5]}', "invalid_argument", "tokens"), ('{"tokens": [true]}', "invalid_argument", "tokens"),
            ('{"tokens": [4294967301]}', "invalid_argument", "tokens"), ('{"tokens": []}', "invalid_argument", "tokens"),
            ('{"tokens": {"a": 5}}', "invalid_argument", "tokens"), ('{"tokens": [100000]}', "invalid_argument", "100000"),
            ('{"messages": []}', "invalid_argument", "messages"),
            ('{"messages": {"a": {"role": "user", "content": "x"}}}', "invalid_argument", "messages"),
            ('{"messages": [{"role": "user"}]}', "invalid_argument", "messages"),
            ('{"messages": [{"role": "user", "content": "x"}], "raw": true}', "invalid_argument", "raw"),
            (json.dumps({"prompt": "word " * 600}), "context_overflow", "512"))
        self.input.write_text("".join(f"{line}\n{good}\n" for line, _, _ in bad))
        done = self.batch()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.splitlines()[-1], rf"^troupe: {len(bad)} of the results are errors")
        results = self.results()
        self.assertEqual(len(results), 2 * len(bad))
        for (asked, code, word), got, good in zip(bad, results[::2], results[1::2]):
            with self.subTest(line=asked[:100]):
                self.assertEqual(got["error"]["code"], code, got)
                self.assertIn(word, got["error"]["message"])
                self.assertNotIn("text", got)
            self.assertEqual(good["text"], results[1]["text"])
        again = self.batch()
        self.assertEqual((again.returncode, self.results()), (1, results))

    def test_text_that_is_not_utf8_is_a_bad_line(self):
        self.input.write_bytes(b'{"prompt": "caf\xe9"}\n{"prompt": "ok", "id": "caf\\u00e9"}\n{"id": "\xff", "prompt": "x"}\n')
        self.assertEqual(self.batch("--max-tokens", "2").returncode, 1)
        first, second, third = self.results()
        self.assertIn("error", first)
        self.assertEqual(second["id"], "café")
        self.assertIn("error", third)


class Interruptions(BatchCase):
    def setUp(self):
        super().setUp()
        self.write(line(number) for number in range(LINES))
        self.undisturbed = folder / "undisturbed.jsonl"
        if not self.undisturbed.exists():
            self.assertEqual(self.batch("--output", self.undisturbed).returncode, 0)

    def interrupt(self, signal_number, after):
        process = subprocess.Popen([troupe(), "batch", self.input, *FEW_AT_ONCE, *tiny()], stderr=subprocess.PIPE, text=True)
        eventually("some results are there", lambda: self.output.exists() and self.output.read_bytes().count(b"\n") > after)
        process.send_signal(signal_number)
        _, said = process.communicate(timeout=PATIENCE)
        self.assertLess(self.output.read_bytes().count(b"\n"), LINES, "it was too fast to be interrupted")
        return process.returncode, said

    def finish(self):
        there = self.output.read_bytes().count(b"\n")
        done = self.batch()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"troupe: {there} of {LINES} lines are done already.", done.stderr)
        self.assertEqual(self.output.read_text(), self.undisturbed.read_text())

    def test_killed_in_the_middle_it_goes_on_to_the_same_output(self):
        for after in (5, 30, 60):
            self.assertEqual(self.interrupt(signal.SIGKILL, after)[0], -signal.SIGKILL)
        self.finish()

    def test_half_a_line_at_the_end_is_made_whole(self):
        self.interrupt(signal.SIGKILL, 20)
        content = self.output.read_bytes()
        self.output.write_bytes(content[:content[:-1].rindex(b"\n") + 12])
        self.finish()

    def test_signals_end_it_with_130_and_it_goes_on(self):
        for signal_number, after in ((signal.SIGINT, 10), (signal.SIGTERM, 40)):
            code, said = self.interrupt(signal_number, after)
            self.assertEqual(code, 130)
            self.assertIn("the same command goes on", said)
        self.finish()

    def test_a_full_disk_is_an_error_after_which_it_goes_on(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        done = self.batch(preexec_fn=small_files)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("is the disk full?", done.stderr.splitlines()[-1])
        self.assertLessEqual(self.output.stat().st_size, 5000)
        self.finish()

    def test_a_second_call_after_the_end_does_nothing(self):
        self.assertEqual(self.batch().returncode, 0)
        content = self.output.read_text()
        self.assertEqual(self.batch().returncode, 0)
        self.assertEqual(self.output.read_text(), content)


class Files(BatchCase):
    def test_files_that_cannot_be_used_are_a_sentence(self):
        self.assert_refused(run("batch", folder / "nothing.jsonl", *tiny()), "nothing.jsonl")
        self.assert_refused(run("batch", folder, *tiny()), str(folder))
        self.write([{"prompt": "x"}])
        self.assert_refused(self.batch("--output", "/nowhere/out.jsonl"), "/nowhere/out.jsonl")
        self.assert_refused(self.batch("--output", folder), str(folder))
        for endless in ("/dev/zero", "/dev/full"):
            self.assert_refused(run("batch", endless, *tiny()), endless)
            self.assert_refused(self.batch("--output", endless), endless, "--output")

    def test_a_file_of_something_else_is_never_overwritten(self):
        self.write([{"prompt": "x"}])
        precious = folder / "precious.txt"
        for content in ("my diary\n", '{"line": 1}\n', "[1]\n", '{"line": "1"}\n', "no newline at all", "\n"):
            precious.write_text(content)
            result = self.batch("--output", precious)
            self.assert_refused(result, "precious.txt", "--output")
            self.assertEqual(precious.read_text(), content)
        self.assert_refused(self.batch("--output", self.input), "--output")
        self.assertEqual(self.input.read_text(), '{"prompt": "x"}\n')

    def test_results_of_another_file_are_not_mistaken_for_this_ones(self):
        self.write([{"prompt": "x", "max_tokens": 1}, {"prompt": "y", "max_tokens": 1}])
        self.assertEqual(self.batch().returncode, 0)
        for lines in ([{"prompt": "x", "max_tokens": 1}], [{"prompt": "z"}, {"prompt": "y"}]):
            self.write(lines)
            self.assert_refused(self.batch(), str(self.output), "--output")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_an_output_that_may_not_be_written_is_a_sentence(self):
        self.write([{"prompt": "x"}])
        self.output.touch(0o400)
        self.assert_refused(self.batch(), "ermission")


if __name__ == "__main__":
    main()
