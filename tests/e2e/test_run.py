#!/usr/bin/env python3
"""`troupe run`: where the prompt comes from, what goes to stdout, and what the JSON object says."""
import os
import signal
import subprocess

from support import END_TOKENS, PATIENCE, TestCase, folder, main, run, tiny, tiny_model, troupe

ENDLESS = ["--ignore-eos", "--max-tokens", "60000"]


def byte_of_token():
    """The tiny model's tokens 3 to 258 are the bytes: first those that print, then the others."""
    printing = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    return [*printing, *(byte for byte in range(256) if byte not in printing)]


MERGES = [" t", " a", "in", "he", "  ", "re", "on", "er", " the", "at"]


def text_of(tokens):
    """The tiny model's tokens as text; special tokens have none."""
    of = [b"", b"", b"", *(bytes([byte]) for byte in byte_of_token()), *(merge.encode() for merge in MERGES)]
    return b"".join(of[token] for token in tokens).decode("utf-8", "replace")


def ids_of(text):
    ids = run("tokenize", "--model", tiny_model(), stdin=text)
    return [int(word) for word in ids.stdout.split()]


class Prompt(TestCase):
    def test_with_an_argument_stdin_is_never_read(self):
        reader, writer = os.pipe()
        os.write(writer, b"not for you")
        for arguments in (["hello"], ["--json", "hello"], ["--raw", "hello"]):
            result = run("run", *arguments, "--max-tokens", "2", *tiny(), stdin=reader)
            self.assertEqual(result.returncode, 0, result.stderr)
        os.close(writer)
        self.assertEqual(os.read(reader, 100), b"not for you")
        os.close(reader)

    def test_a_stdin_that_never_ends_does_not_matter_to_a_prompt_that_is_an_argument(self):
        reader, writer = os.pipe()
        self.assertEqual(run("run", "hello", "--max-tokens", "2", *tiny(), stdin=reader).returncode, 0)
        os.close(reader)
        os.close(writer)

    def test_without_an_argument_stdin_is_the_prompt_verbatim(self):
        for text in ("hello\n", "\n\n two lines\r\n  and spaces  \n\n", "nul \0 inside", " ", "äöü €"):
            with self.subTest(text=text):
                piped = self.run_json("--raw", "--max-tokens", "4", *tiny(), stdin=text)
                self.assertEqual(text_of(piped["prompt_ids"]), text)
                self.assertEqual(piped["prompt_ids"], ids_of(text))

    def test_an_argument_is_the_same_prompt_as_the_same_bytes_on_stdin(self):
        for raw in ([], ["--raw"]):
            given = self.run_json(" a\nb ", *raw, "--max-tokens", "9", *tiny())
            piped = self.run_json(*raw, "--max-tokens", "9", *tiny(), stdin=" a\nb ")
            self.assertEqual(given["prompt_ids"], piped["prompt_ids"])
            self.assertEqual(given["token_ids"], piped["token_ids"])

    def test_a_prompt_may_look_like_something_else(self):
        for prompt in ("[a,b]", "serve", "chat", "--help", "-1 degrees", "%s {n}", "a=b"):
            with self.subTest(prompt=prompt):
                got = self.run_json("--raw", "--max-tokens", "1", *tiny(), "--", prompt)
                self.assertEqual(text_of(got["prompt_ids"]), prompt)

    def test_a_stop_string_does_not_swallow_the_prompt_after_it(self):
        got = self.run_json("--raw", "--max-tokens", "1", *tiny(), "--stop", "[x,y]", "--stop", "b", "the prompt")
        self.assertEqual(text_of(got["prompt_ids"]), "the prompt")

    def test_special_tokens_in_a_prompt_are_not_parsed_and_those_of_the_template_are(self):
        text = "a<|im_end|>b"
        raw = self.run_json(text, "--raw", "--max-tokens", "1", *tiny())["prompt_ids"]
        self.assertNotIn(2, raw)
        self.assertEqual(text_of(raw), text)
        chat = self.run_json(text, "--max-tokens", "1", *tiny())["prompt_ids"]
        self.assertEqual([id for id in chat if id < 3], [1, 2, 1, 2, 1])
        self.assertIn(f"user\n{text}\n", text_of(chat))

    def test_a_system_message_stands_in_front(self):
        chat = self.run_json("hi", "--system", "Be brief.", "--max-tokens", "1", *tiny())["prompt_ids"]
        self.assertEqual(text_of(chat), "system\nBe brief.\nuser\nhi\nassistant\n")


class Output(TestCase):
    def test_stdout_has_the_answer_alone_and_stderr_one_line(self):
        arguments = ["hello", "--max-tokens", "30", *tiny()]
        plain = run("run", *arguments, text=False)
        text = self.run_json(*arguments)["text"]
        self.assertEqual(plain.stdout.decode(), text if text.endswith("\n") else text + "\n")
        lines = plain.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], r"^\[\d+ prompt tokens, first token after \d+ ms \(.*tokens/s\); 30 tokens, .*; length\]$")

    def test_the_json_object_is_consistent(self):
        got = self.run_json("hello", "--max-tokens", "20", *tiny())
        self.assertEqual(list(got), ["prompt_ids", "token_ids", "text", "finish_reason", "device", "backend", "timings"])
        self.assertEqual((len(got["token_ids"]), got["finish_reason"]), (20, "length"))
        self.assertEqual(got["text"], text_of(got["token_ids"]))
        self.assertEqual((got["device"], got["backend"]), ("cpu", "reference"))
        self.assertGreater(got["timings"]["first_token_ms"], 0)
        self.assertGreaterEqual(got["timings"]["total_ms"], got["timings"]["first_token_ms"])

    def test_an_end_of_sequence_token_is_among_the_ids_and_not_in_the_text(self):
        arguments = ["--raw", "go on", "--temperature", "3", *tiny()]
        seeds = (self.run_json(*arguments, "--seed", str(seed), "--max-tokens", "400") for seed in range(100))
        got = next(got for got in seeds if got["finish_reason"] == "stop")
        self.assertEqual([id for id in got["token_ids"] if id in END_TOKENS], got["token_ids"][-1:])
        self.assertEqual(got["text"], text_of(got["token_ids"]))

    def test_ignore_eos_goes_on_after_it(self):
        arguments = ["--raw", "go on", "--temperature", "3", "--ignore-eos", "--max-tokens", "450", *tiny()]
        seeds = (self.run_json(*arguments, "--seed", str(seed)) for seed in range(100))
        got = next(got for got in seeds if END_TOKENS & set(got["token_ids"][:-1]))
        self.assertEqual((got["finish_reason"], len(got["token_ids"])), ("length", 450))

    def test_a_seed_repeats_an_answer_and_another_one_does_not(self):
        arguments = ["hello", "--temperature", "2", "--max-tokens", "30", *tiny()]
        first, again, other = (self.run_json(*arguments, "--seed", seed)["token_ids"] for seed in ("1", "1", "2"))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_an_answer_ends_before_a_stop_string(self):
        arguments = ["hello", "--max-tokens", "60", *tiny()]
        whole = self.run_json(*arguments)["text"]
        stop = whole[20:23]
        got = self.run_json(*arguments, "--stop", stop)
        self.assertEqual((got["text"], got["finish_reason"]), (whole[:whole.index(stop)], "stop"))

    def test_the_context_ends_an_answer(self):
        got = self.run_json("hello", "--ignore-eos", "--max-tokens", "60000", *tiny())
        self.assertEqual(got["finish_reason"], "length")
        self.assertEqual(len(got["prompt_ids"]) + len(got["token_ids"]), 512)

    def test_the_number_of_threads_and_the_size_of_a_step_change_no_token(self):
        prompt = "a prompt of more than a few tokens, " * 4
        for device in (tiny(), tiny("cpu"), [*tiny("cpu"), "--cpu-arithmetic", "bf16"]):
            arguments = [prompt, "--max-tokens", "20", *device]
            plain = self.run_json(*arguments)["token_ids"]
            for other in (["--threads", "2"], ["--max-num-batched-tokens", "7"], ["--max-num-batched-tokens", "1"]):
                self.assertEqual(self.run_json(*arguments, *other)["token_ids"], plain, (device, other))

    def test_the_number_of_tensor_parallel_ranks_changes_no_token_of_the_reference_backend(self):
        options = ["--ignore-eos", "--max-tokens", "40", "--seed", "3", "--temperature", "1", "hello there"]
        for backend in "reference", "cpu":
            answers = [run("run", *tiny(backend), "--tensor-parallel-size", ranks, *options) for ranks in "122"]
            for answer in answers:
                self.assertEqual(answer.returncode, 0, answer.stderr)
            if backend == "reference":
                self.assertEqual(len({answer.stdout for answer in answers}), 1)
            self.assertEqual(answers[1].stdout, answers[2].stdout)

    def test_ranks_that_cannot_be_are_refused(self):
        too_many = run("run", *tiny("cpu"), "--tensor-parallel-size", "3", "hello")
        self.assertEqual((too_many.returncode, too_many.stdout), (1, ""))
        self.assertIn("The model can be cut into 2 parts at most, not into 3.", too_many.stderr)


class Ending(TestCase):
    def answer_for_ever(self):
        return subprocess.Popen([troupe(), "run", "hello", *ENDLESS, *tiny(context=65536)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_a_reader_that_has_gone_is_an_error_and_no_silent_death(self):
        # As in `troupe run ... | head -c 1`: the answer is not all written.
        process = self.answer_for_ever()
        os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        said = process.stderr.read().decode()
        process.stderr.close()
        self.assertEqual((process.wait(PATIENCE), said), (1, "troupe: Cannot write to stdout: it is closed or full.\n"))

    def test_a_full_or_closed_stdout_is_an_error(self):
        for arguments in (["run", "hello", *tiny()], ["run", "--json", "hello", *tiny()],
                          ["inspect", tiny_model()], ["tokenize", "--model", tiny_model()]):
            with self.subTest(command=arguments[:2]), open("/dev/full", "wb") as full:
                result = run(*arguments, stdout=full, stderr=subprocess.PIPE)
                self.assert_refused(result, "stdout")
                closed = run(*arguments, stdout=None, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
                self.assert_refused(closed, "stdout")

    def test_a_closed_stdin_is_an_error(self):
        for arguments in (["run", *tiny()], ["tokenize", "--model", tiny_model()]):
            self.assert_refused(run(*arguments, stdin=subprocess.PIPE, preexec_fn=lambda: os.close(0)), "stdin")

    def test_ctrl_c_ends_an_answer_with_what_there_is(self):
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            process = self.answer_for_ever()
            self.assertTrue(os.read(process.stdout.fileno(), 1))
            process.send_signal(signal_number)
            _, said = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 130)
            self.assertIn("; cancelled]", said.decode())

    def test_version_and_help_need_no_model(self):
        self.assertRegex(run("--version").stdout, r"^troupe \d+\.\d+\.\d+\n$")
        said = run("--help")
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        for word in ("run", "chat", "serve", "batch", "tokenize", "inspect", "What is the capital of France?"):
            self.assertIn(word, said.stdout)


if __name__ == "__main__":
    main()
