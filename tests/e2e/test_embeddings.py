#!/usr/bin/env python3
"""Answers without tokens: embeddings and prompts that are the whole answer; and what a stopped answer was stopped by."""
import base64
import json
import struct
import urllib.error
import urllib.request

from support import END_TOKENS, REAL_MODEL, ROOT, TestCase, main, needs_real_model, tiny, wait_for_all

TEXTS = ["hello", "a", "once upon a time " * 12, "in the end the engine on the hill ran on " * 5]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


class EmbeddingCase(TestCase):
    def post(self, server, path, **body):
        """The status, and the body as JSON."""
        request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def answer(self, server, path, **body):
        status, answer = self.post(server, path, **body)
        self.assertEqual(status, 200, answer)
        return answer

    def embed(self, server, input, **fields):
        data = self.answer(server, "/v1/embeddings", input=input, **fields)["data"]
        self.assertEqual([item["index"] for item in data], list(range(len(data))))
        return [item["embedding"] for item in data]

    def refused(self, server, path, **body):
        status, answer = self.post(server, path, **body)
        self.assertEqual(status, 400, answer)
        return answer["error"]


class Embeddings(EmbeddingCase):
    def test_an_embedding_has_length_1_and_depends_on_its_input_alone(self):
        server = self.serve(*tiny())
        for pooling in ("last", "mean"):
            together = self.embed(server, TEXTS, pooling=pooling)
            self.assertEqual(together, [self.embed(server, text, pooling=pooling)[0] for text in TEXTS])
            for vector in together:
                self.assertAlmostEqual(dot(vector, vector), 1, places=5)
            self.assertEqual(len({tuple(vector) for vector in together}), len(TEXTS))
        self.assertEqual(self.embed(server, "a", pooling="mean"), self.embed(server, "a"))  # It has one token.
        self.assertNotEqual(self.embed(server, "hello", pooling="mean"), self.embed(server, "hello"))

    def test_floats_and_base64_text_and_token_ids_are_the_same(self):
        server = self.serve(*tiny())
        floats = self.embed(server, TEXTS)
        for vector, text in zip(floats, self.embed(server, TEXTS, encoding_format="base64")):
            raw = base64.b64decode(text)
            self.assertEqual(struct.unpack(f"<{len(raw) // 4}f", raw),
                             struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *vector)))
        ids = [self.answer(server, "/tokenize", prompt=text)["tokens"] for text in TEXTS]
        self.assertEqual(self.embed(server, ids), floats)
        self.assertEqual(self.embed(server, ids[0]), floats[:1])
        answer = self.answer(server, "/v1/embeddings", input=ids, user="me")
        tokens = sum(map(len, ids))
        self.assertEqual(answer["usage"], {"prompt_tokens": tokens, "total_tokens": tokens})
        self.assertEqual(answer["object"], "list")

    def test_zeromq_brings_the_same_in_one_frame(self):
        server = self.serve(*tiny())
        client = self.client(server)
        for pooling in ("last", "mean"):
            client.send(type="generate_request", id=1, prompt=TEXTS[0], embed=pooling)
            end = client.next_frame()
            self.assertEqual((end["type"], end["reason"], end["completion_tokens"], end["first_token_ms"]),
                             ("request_end", "length", 0, 0))
            pack = lambda vector: struct.pack(f"<{len(vector)}f", *vector)
            self.assertEqual(pack(end["embedding"]), pack(self.embed(server, TEXTS[0], pooling=pooling)[0]))
        bad = client.complete(2, TEXTS[0], embed="last", temperature=1.0).end
        self.assertEqual((bad["reason"], bad["code"]), ("error", 1))
        self.assertIn("'embed'", bad["message"])

    def test_the_bits_are_the_same_however_the_engine_computes_beside_others_tokens(self):
        model = tiny(layers=4)
        inputs = TEXTS + ["the " * count for count in range(1, 40, 3)]
        expected = {}
        for options in ([], ["--max-num-batched-tokens", "16", "--max-num-seqs", "4"], ["--kv-tokens", "1024"],
                        ["--long-prefill-tokens", "3"], ["--pipeline-parallel-size", "2"], ["--data-parallel-size", "2"]):
            server = self.serve(*model, *options)
            client = self.client(server)
            for id in range(6):
                client.ask(id, "talk " * (id + 1), max_tokens=40, ignore_eos=True)
            for pooling in ("last", "mean"):
                got = self.embed(server, inputs, pooling=pooling, encoding_format="base64")
                self.assertEqual(got, expected.setdefault(pooling, got), options)
                self.assertEqual(got, self.embed(server, inputs, pooling=pooling, encoding_format="base64"), options)
            wait_for_all([client])
            self.assertEqual(server.stop(), 0)

    def test_two_ranks_have_the_same_bits_on_one_stage_and_two_and_are_near_one_rank(self):
        ranks = ["--tensor-parallel-size", "2"]
        for backend in ("reference", "cpu"):
            one, two, four = (self.serve(*tiny(backend, layers=4), *options)
                              for options in ([], ranks, [*ranks, "--pipeline-parallel-size", "2"]))
            for pooling in ("last", "mean"):
                alone, shared, staged = (self.embed(server, TEXTS, pooling=pooling) for server in (one, two, four))
                self.assertEqual(shared, staged)
                for a, b in zip(alone, shared):
                    self.assertGreater(dot(a, b), 0.99)

    def test_last_finds_its_prefix_in_the_cache_and_mean_computes_all(self):
        server = self.serve(*tiny())
        client = self.client(server)
        cached = lambda pooling: client.complete(1, TEXTS[2], embed=pooling).end["cached_prompt_tokens"]
        self.assertEqual(cached("last"), 0)
        self.assertGreater(cached("last"), 0)
        self.assertEqual(cached("mean"), 0)

    def test_a_cancelled_embedding_leaves_nothing(self):
        server = self.serve(*tiny(context=4096), "--max-num-batched-tokens", "8", "--max-num-seqs", "2")
        client = self.client(server)
        client.ask(1, "long " * 600, embed="mean")
        client.send(type="cancel_request", id=1)
        self.assertIn(client.wait(1).end["reason"], ("cancelled", "length"))
        self.assertEqual(client.complete(2, "hello", embed="last").end["reason"], "length")
        self.assertEqual(server.stop(), 0)

    def test_what_is_wrong_is_named(self):
        server = self.serve(*tiny())
        for fields, param in (({}, "input"), ({"input": ""}, "input"), ({"input": "a", "dimensions": 8}, "dimensions"),
                              ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
                              ({"input": ["a", ""]}, "input[1]"), ({"input": "a", "stream": True}, "stream")):
            self.assertEqual(self.refused(server, "/v1/embeddings", **fields)["param"], param)
        too_long = self.refused(server, "/v1/embeddings", input=["a", "on " * 5000])
        self.assertEqual(too_long["code"], "context_length_exceeded")


class PromptsAlone(EmbeddingCase):
    def test_an_echo_without_tokens_is_the_prompt_with_its_logprobs(self):
        server = self.serve(*tiny())
        fields = {"prompt": ["hello there", TEXTS[2]], "echo": True, "logprobs": 2, "temperature": 0}
        none = self.answer(server, "/v1/completions", max_tokens=0, **fields)
        one = self.answer(server, "/v1/completions", max_tokens=1, **fields)
        self.assertEqual(none["usage"]["completion_tokens"], 0)
        self.assertEqual([choice["text"] for choice in none["choices"]], fields["prompt"])
        for bare, more in zip(none["choices"], one["choices"]):
            self.assertEqual(bare["finish_reason"], "length")
            for name, values in bare["logprobs"].items():
                self.assertEqual(values, more["logprobs"][name][:-1], name)
        streamed = self.answer(server, "/v1/completions", prompt="hello", echo=True, max_tokens=0, n=2)
        self.assertEqual([choice["text"] for choice in streamed["choices"]], ["hello"] * 2)
        self.assertEqual(self.refused(server, "/v1/completions", prompt="hello", max_tokens=0)["param"], "max_tokens")

    def test_the_same_over_zeromq(self):
        server = self.serve(*tiny())
        client = self.client(server)
        echo = client.complete(1, "hello", echo=True, max_tokens=0)
        self.assertEqual((echo.text, echo.tokens, echo.end["reason"], echo.end["completion_tokens"]), ("hello", [], "length", 0))
        logprobs = []
        for tokens in (0, 1):
            client.send(type="generate_request", id=2, prompt="hello", prompt_logprobs=1, max_tokens=tokens)
            delta, end = client.next(), client.next()
            logprobs.append(delta["prompt_logprobs"])
            self.assertEqual(end["completion_tokens"], tokens)
        self.assertEqual(*logprobs)
        bad = client.complete(3, "hello", max_tokens=0).end
        self.assertIn("'max_tokens'", bad["message"])


class Stopped(EmbeddingCase):
    def test_an_ending_says_which_token_or_string_has_stopped_the_answer(self):
        server = self.serve(*tiny())
        client = self.client(server)
        free = client.complete(1, "hello", max_tokens=30, ignore_eos=True)
        self.assertNotIn("stop_token", free.end)
        third = free.tokens[2]
        by_token = client.complete(2, "hello", max_tokens=30, ignore_eos=True, stop_tokens=[third]).end
        self.assertEqual((by_token["reason"], by_token["stop_token"]), ("stop", third))
        body = {"prompt": "hello", "max_tokens": 30, "temperature": 0, "ignore_eos": True, "n": 2}
        choices = self.answer(server, "/v1/completions", stop_token_ids=[third], **body)["choices"]
        self.assertEqual([choice["stop_reason"] for choice in choices], [third] * 2)
        text = self.answer(server, "/v1/completions", allowed_token_ids=list(range(40, 60)), **body)["choices"][0]["text"]
        choices = self.answer(server, "/v1/completions", allowed_token_ids=list(range(40, 60)), stop=["never", text[2:4]], **body)["choices"]
        self.assertEqual([(choice["finish_reason"], choice["stop_reason"]) for choice in choices], [("stop", text[2:4])] * 2)
        for id in range(3, 40):
            end = client.complete(id, "hello", max_tokens=200, temperature=3.0, seed=id).end
            self.assertEqual(end.get("stop_token") in END_TOKENS, end["reason"] == "stop", end)


@needs_real_model
class RealModel(EmbeddingCase):
    def test_embeddings_are_near_those_of_transformers_and_of_related_sentences_nearer(self):
        cases = json.loads((ROOT / "tests/oracle/smollm2_embeddings.json").read_text())["cases"]
        server = self.serve("--model", REAL_MODEL)
        for pooling in ("last", "mean"):
            got = self.embed(server, [case["text"] for case in cases], pooling=pooling)
            for case, vector in zip(cases, got):
                raw = base64.b64decode(case[pooling])
                self.assertGreater(dot(vector, struct.unpack(f"<{len(raw) // 4}f", raw)), 0.99, case["text"])
        cat, kitten, bank, rates = got[1:5]
        self.assertGreater(dot(cat, kitten), dot(cat, bank))
        self.assertGreater(dot(bank, rates), dot(kitten, rates))

    def test_an_echo_has_the_logprobs_that_it_has_before_a_token(self):
        server = self.serve("--model", REAL_MODEL)
        fields = {"prompt": "The capital of France is Paris.", "echo": True, "logprobs": 1, "temperature": 0}
        none, one = (self.answer(server, "/v1/completions", max_tokens=count, **fields)["choices"][0]["logprobs"]
                     for count in (0, 1))
        self.assertEqual(none["token_logprobs"], one["token_logprobs"][:-1])
        self.assertGreater(none["token_logprobs"][-2], -2)  # "Paris" is no surprise.


if __name__ == "__main__":
    main()
