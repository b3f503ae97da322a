#!/usr/bin/env python3
"""What cannot be done is a sentence on stderr, a non-zero exit code, and nothing on stdout."""
import resource
import struct

from support import TestCase, folder, main, run, serve_command, tiny, tiny_model

COMMANDS_WITH_A_MODEL = (["run", "hi", "--model"], ["chat", "--model"], serve_command("--model"),
                         ["tokenize", "--model"], ["inspect"])


def file_with(name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def with_unknown_tensor_type():
    content = bytearray(tiny_model().read_bytes())
    name = b"blk.1.attn_q.weight"
    at = content.index(name) + len(name)
    dimensions = struct.unpack_from("<I", content, at)[0]
    struct.pack_into("<I", content, at + 4 + 8 * dimensions, 97)
    return file_with("unknown-type.gguf", content)


class Models(TestCase):
    def each_command(self, model, *words):
        for command in COMMANDS_WITH_A_MODEL:
            with self.subTest(command=command):
                self.assert_refused(run(*command, model), *words)

    def test_a_model_that_is_not_there(self):
        self.each_command(folder / "nothing.gguf", "nothing.gguf", "smollm2")

    def test_a_model_that_has_not_been_fetched(self):
        for command in COMMANDS_WITH_A_MODEL:
            result = run(*command, "smollm2", env={"TROUPE_MODELS": str(folder)})
            self.assert_refused(result, "smollm2", "tools/fetch-model")

    def test_a_file_that_is_no_gguf(self):
        self.each_command(file_with("text.gguf", b"Once upon a time there was no model at all.\n"), "text.gguf", "GGUF")
        self.each_command(file_with("empty.gguf", b""), "empty.gguf")

    def test_a_folder_or_device_is_no_model(self):
        self.each_command(folder, str(folder))
        self.each_command("/dev/null", "/dev/null")

    def test_a_file_that_may_not_be_read(self):
        path = file_with("secret.gguf", b"GGUF")
        path.chmod(0)
        try:
            path.read_bytes()
        except PermissionError:
            self.each_command(path, "secret.gguf", "ermission")
        else:
            self.skipTest("this user may read everything")

    def test_a_truncated_gguf_wherever_it_is_cut(self):
        content = tiny_model().read_bytes()
        for size in (4, 24, 100, 5000, len(content) // 2, len(content) - 1):
            with self.subTest(size=size):
                path = file_with("cut.gguf", content[:size])
                self.assert_refused(run("run", "hi", "--model", path), "cut.gguf")
        self.each_command(file_with("cut.gguf", content[:-1]), "cut.gguf")

    def test_a_model_of_an_unknown_architecture(self):
        path = file_with("mamba.gguf", tiny_model().read_bytes().replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0mamba"))
        for command in COMMANDS_WITH_A_MODEL[:3]:
            self.assert_refused(run(*command, path), "mamba.gguf", '"mamba"', "llama")

    def test_what_is_in_a_model_that_cannot_run_can_be_seen(self):
        path = file_with("mamba.gguf", tiny_model().read_bytes().replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0mamba"))
        result = run("inspect", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Troupe cannot run this model", result.stdout)
        self.assertIn("blk.0.attn_q.weight", result.stdout)

    def test_a_model_with_an_unknown_tensor_type(self):
        self.each_command(with_unknown_tensor_type(), "unknown-type.gguf", "97")


class Prompts(TestCase):
    def test_a_prompt_that_is_longer_than_the_context(self):
        for arguments in (["--raw"], [], ["--json"]):
            result = run("run", *arguments, *tiny(), stdin="word " * 600)
            self.assert_refused(result, "tokens", "512")

    def test_a_prompt_that_is_longer_than_the_kv_cache(self):
        self.assert_refused(run("run", "word " * 60, "--kv-tokens", "64", *tiny()), "tokens", "64")

    def test_an_empty_prompt(self):
        for arguments in ([], ["--raw"], ["--json"], ["--json", "--raw"]):
            self.assert_refused(run("run", "", *arguments, *tiny()), "empty")
            self.assert_refused(run("run", *arguments, *tiny(), stdin=""), "empty")

    def test_text_that_is_not_utf8(self):
        for text in (b"caf\xe9", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"cut \xe2\x82"):
            for arguments in ([], ["--raw"], ["--json"]):
                with self.subTest(text=text, arguments=arguments):
                    result = run("run", *arguments, *tiny(), stdin=text, text=False)
                    self.assertEqual((result.returncode, result.stdout), (1, b""))
                    self.assertIn(b"UTF-8", result.stderr)
        self.assert_refused(run("run", b"caf\xe9", *tiny()), "UTF-8")
        self.assert_refused(run("run", "hi", "--system", b"caf\xe9", *tiny()), "UTF-8")

    def test_a_prompt_that_is_longer_than_any_may_be(self):
        self.assert_refused(run("run", *tiny(), stdin="x" * (33 << 20)), "33554432")


class Options(TestCase):
    def test_values_that_no_option_takes(self):
        wrong = (["--temperature", "-1"], ["--temperature", "nan"], ["--temperature", "hot"], ["--temperature", "101"],
                 ["--max-tokens", "0"], ["--max-tokens", "-1"], ["--max-tokens", "1.5"], ["--max-tokens", "99999999999"],
                 ["--seed", "-1"], ["--seed", "x"], ["--stop", ""], ["--stop", "x" * 257], ["--threads", "-1"],
                 ["--threads", "1025"], ["--kv-tokens", "-5"], ["--max-num-seqs", "0"], ["--max-num-batched-tokens", "0"],
                 ["--system", "x", "--raw"], ["--no-such-option"], ["two", "prompts"], ["--stop", "a"] * 17)
        for arguments in wrong:
            with self.subTest(arguments=arguments):
                result = run("run", "hi", *arguments, *tiny())
                self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
                self.assertTrue(result.stderr.strip())

    def test_a_device_or_backend_that_is_not_there(self):
        for command in (["run", "hi"], ["chat"], serve_command()):
            model = ["--model", tiny_model()]
            self.assert_refused(run(*command, *model, "--device", "abacus"), "abacus", "cpu")
            self.assert_refused(run(*command, *model, "--backend", "abacus"), "abacus", "reference")
            self.assert_refused(run(*command, *model, "--backend", "reference", "--cpu-arithmetic", "bf16"), "--cpu-arithmetic")

    def test_no_command_and_an_unknown_one(self):
        for arguments in ([], ["sing"], ["run", "hi", "serve"]):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertTrue(result.stderr.strip())

    def test_more_memory_than_there_is(self):
        def little():
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        for arguments in (["run", "hi"], serve_command()):
            result = run(*arguments, *tiny(layers=64, width=32), "--kv-tokens", str(1 << 28), preexec_fn=little)
            self.assert_refused(result, "memory", "KV cache")


if __name__ == "__main__":
    main()
