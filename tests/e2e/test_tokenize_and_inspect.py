#!/usr/bin/env python3
"""`troupe tokenize` on the oracle's cases, and what `troupe inspect` says of a model."""
import json

from support import REAL_MODEL, ROOT, TestCase, main, needs_real_model, run, tiny_model

CASES = json.loads((ROOT / "tests/oracle/smollm2_tokens.json").read_text())["cases"]
FEW = 12  # Each is a process that loads the vocabulary.
END = "<|im_end|>"


@needs_real_model
class TokenizeLikeTheOracle(TestCase):
    def ids(self, text):
        result = run("tokenize", "--json", "--model", REAL_MODEL, stdin=text.encode(), text=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_some_cases_each_in_a_process_of_its_own(self):
        for case in CASES[::len(CASES) // FEW]:
            with self.subTest(text=case["text"]):
                self.assertEqual(self.ids(case["text"]), {"ids": case["ids"]})

    def test_all_cases_in_one_process(self):
        # A special token is a boundary that no merge crosses, so that the cases can stand in one text.
        expected = []
        for case in CASES:
            expected += [*case["ids"], 2]
        self.assertEqual(self.ids("".join(case["text"] + END for case in CASES)), {"ids": expected})


class Tokenize(TestCase):
    def test_stdin_is_taken_verbatim_and_special_tokens_are_parsed(self):
        result = run("tokenize", "--model", tiny_model(), stdin="\n<|im_start|>a\n")
        newline, start, a, again = (int(word) for word in result.stdout.split())
        self.assertEqual((newline, start), (again, 1))
        self.assertEqual(result.stdout, f"{newline} 1 {a} {newline}\n")
        self.assertEqual(json.loads(run("tokenize", "--json", "--model", tiny_model(), stdin="\n<|im_start|>a\n").stdout),
                         {"ids": [newline, 1, a, newline]})

    def test_nothing_is_no_token(self):
        self.assertEqual(run("tokenize", "--model", tiny_model(), stdin="").stdout, "\n")
        self.assertEqual(run("tokenize", "--json", "--model", tiny_model(), stdin="").stdout, '{"ids":[]}\n')


class Inspect(TestCase):
    def test_the_text_has_metadata_tensors_sizes_and_memory(self):
        path = tiny_model()
        result = run("inspect", path)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for words in (str(path), f"{path.stat().st_size} bytes", "general.architecture", "'llama'",
                      "blk.1.ffn_down.weight", "[128 x 64]", "F32", "32768 bytes", "Memory on the CPU", "KV cache",
                      "for 12288 tokens", "the model's context is 512"):
            self.assertIn(words, result.stdout)

    def test_the_json_object_agrees_with_the_file(self):
        path = tiny_model(type="Q4_1")
        got = json.loads(run("inspect", "--json", path).stdout)
        self.assertEqual((got["path"], got["bytes"]), (str(path), path.stat().st_size))
        self.assertEqual(got["metadata"]["llama.block_count"], {"type": "u32", "value": "2"})
        self.assertEqual((got["architecture"], got["context_length"]), ("llama", 512))
        # Two layers, keys and values of two heads of 16, of two bytes each.
        self.assertEqual(got["kv_bytes_per_token"], 2 * 2 * 2 * 16 * 2)
        tensors = {tensor["name"]: tensor for tensor in got["tensors"]}
        self.assertEqual(len(tensors), 2 + 2 * 9)
        self.assertEqual(tensors["blk.0.attn_q.weight"],
                         {"name": "blk.0.attn_q.weight", "type": "Q4_1", "shape": [64, 64], "bytes": 64 * 64 // 32 * 20})

    @needs_real_model
    def test_the_default_model_is_known_by_its_name(self):
        environment = {"TROUPE_MODELS": str(REAL_MODEL.parent)}
        by_name = json.loads(run("inspect", "--json", "smollm2", env=environment).stdout)
        self.assertEqual((by_name["path"], by_name["context_length"]), (str(REAL_MODEL), 8192))
        self.assertEqual(by_name["bytes"], 98362432)


if __name__ == "__main__":
    main()
