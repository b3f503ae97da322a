#!/usr/bin/env python3
"""`troupe serve`: an answer depends on its request alone, whatever else is answered at the same time."""
import random

from support import TestCase, main, tiny, wait_for_all

TIGHT = ["--kv-tokens", "1024", "--max-num-batched-tokens", "48"]  # They take memory from each other.


def requests(count, seed):
    """Different prompts of mixed lengths and kinds, about half of them sampled."""
    random_source = random.Random(seed)
    asked = []
    for number in range(count):
        fields = {"max_tokens": random_source.randint(1, 60), "ignore_eos": number % 5 == 0}
        length = random_source.choice((1, 5, 20, 60, 150, 300))
        if number % 3 == 0:
            fields["tokens"] = [random_source.randrange(3, 260) for _ in range(length)]
        elif number % 3 == 1:
            fields["prompt"] = f"{number} " + "".join(random_source.choice("abc the in at") for _ in range(length))
        else:
            fields["messages"] = [{"role": "user", "content": f"{number} " + "on " * (length // 4)}]
        if random_source.random() < 0.5:
            fields |= {"temperature": random_source.choice((0.5, 1.0, 2.0)), "seed": random_source.randrange(2**64)}
        asked.append(fields)
    return asked


class SameTokens(TestCase):
    def alone(self, server, asked):
        client = self.client(server)
        return [client.complete(id, **fields).result() for id, fields in enumerate(asked)]

    def check_32_clients(self, model, all_options):
        asked = requests(32, seed=1)
        expected = self.alone(self.serve(*model), asked)
        for options in all_options:
            server = self.serve(*model, *options)
            clients = [self.client(server) for _ in asked]
            for again in range(2):
                for client, fields in zip(clients, asked):
                    client.ask(7, **fields)
                wait_for_all(clients)
                for client, right in zip(clients, expected):
                    self.assertEqual(client.answers[7].result(), right)
                    self.assertEqual(client.others, [])
            self.assertEqual(server.stop(), 0)

    def test_32_clients_at_once_each_get_what_they_get_alone(self):
        self.check_32_clients(tiny(), ([], TIGHT, ["--max-num-seqs", "5"]))

    def test_32_clients_at_once_each_get_what_they_get_alone_on_the_fast_backend(self):
        for type in ("F32", "Q8_0", "Q4_1"):
            with self.subTest(type=type):
                self.check_32_clients(tiny("cpu", type=type), ([], TIGHT))

    def test_many_requests_of_one_client_come_interleaved_and_each_is_right(self):
        asked = requests(60, seed=2)
        server = self.serve(*tiny(), *TIGHT)
        expected = self.alone(server, asked)
        client = self.client(server)
        for id, fields in enumerate(asked):
            client.ask(id * 1000000007, **fields)
        wait_for_all([client])
        self.assertEqual([answer.result() for answer in client.answers.values()], expected)

    def test_a_client_gets_what_run_gives(self):
        client = self.client(self.serve(*tiny()))
        for options, fields in (([], {}), (["--temperature", "1", "--seed", "5"], {"temperature": 1.0, "seed": 5})):
            ran = self.run_json("--raw", "the same prompt", "--max-tokens", "25", *options, *tiny())
            answer = client.complete(prompt="the same prompt", max_tokens=25, **fields)
            self.assertEqual((answer.tokens, answer.text), (ran["token_ids"], ran["text"]))
            chat = self.run_json("the same prompt", "--max-tokens", "25", *options, *tiny())
            messages = [{"role": "user", "content": "the same prompt"}]
            self.assertEqual(client.complete(messages=messages, max_tokens=25, **fields).tokens, chat["token_ids"])

    def test_others_that_come_go_and_are_cancelled_change_nothing(self):
        asked = requests(12, seed=3)
        server = self.serve(*tiny(), *TIGHT)
        expected = self.alone(server, asked)
        clients = [self.client(server) for _ in asked]
        for number, (client, fields) in enumerate(zip(clients, asked)):
            client.ask(1, **fields)
            other = self.client(server)
            other.ask(1, "somebody else " * number, max_tokens=200)
            other.ask(2, "and again", max_tokens=200)
            other.send(type="cancel_request", id=1)
            if number % 2:
                other.close()
        wait_for_all(clients)
        self.assertEqual([client.answers[1].result() for client in clients], expected)


class Endings(TestCase):
    def test_an_answer_that_is_cancelled_ends_so_and_its_id_is_free(self):
        client = self.client(self.serve(*tiny(context=65536)))
        client.ask(1, "for ever", max_tokens=60000, ignore_eos=True)
        client.wait(1, tokens=5)
        client.send(type="cancel_request", id=1)
        answer = client.wait(1)
        self.assertEqual(answer.end["reason"], "cancelled")
        self.assertEqual(answer.end["completion_tokens"], len(answer.tokens))
        client.send(type="cancel_request", id=1)
        client.round_trip()
        self.assertEqual(client.complete(1, "short", max_tokens=3).end["reason"], "length")
        self.assertEqual(client.others, [])

    def test_a_request_that_cannot_be_done_ends_with_a_code_and_the_connection_stays(self):
        client = self.client(self.serve(*tiny()))
        for code, fields in ((3, {"prompt": "word " * 600}), (1, {"prompt": ""}), (1, {"tokens": []}),
                             (1, {"tokens": [100000]}), (1, {"prompt": "x", "temperature": -1.0}),
                             (1, {"prompt": "x", "max_tokens": 0}), (2, {"prompt": "x", "beams": 1}), (1, {"prompt": "x", "top_p": 0}),
                             (1, {"prompt": "x", "tokens": [5]}), (1, {}), (1, {"prompt": "x", "max_tokens": "5"})):
            answer = client.complete(4, **fields)
            self.assertEqual((answer.end["reason"], answer.end["code"], answer.tokens), ("error", code, []), answer.end)
            self.assertTrue(answer.end["message"].endswith("."), answer.end)
        self.assertEqual(client.complete(4, "x", max_tokens=2).end["reason"], "length")

    def test_an_open_id_is_refused_and_its_first_request_goes_on(self):
        client = self.client(self.serve(*tiny()))
        right = client.complete(1, "first", max_tokens=20).result()
        client.ask(2, "first", max_tokens=20, credit=1)
        client.wait(2, tokens=1)
        client.send(type="generate_request", id=2, prompt="second")
        client.send(type="generate_request", id=2, prompt="second", nonsense=1)
        client.send(type="credit_grant", id=2, tokens=100)
        self.assertEqual(client.wait(2).result(), right)
        self.assertEqual([error["code"] for error in client.others], [1, 1])

    def test_usage_and_timings_are_those_of_the_request(self):
        client = self.client(self.serve(*tiny()))
        answer = client.complete(1, tokens=[5] * 33, max_tokens=9, ignore_eos=True)
        self.assertEqual((answer.end["prompt_tokens"], answer.end["completion_tokens"]), (33, 9))
        self.assertGreaterEqual(answer.end["total_ms"], answer.end["first_token_ms"])
        self.assertGreater(answer.end["first_token_ms"], 0)


if __name__ == "__main__":
    main()
