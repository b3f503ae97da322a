#!/usr/bin/env python3
"""`troupe serve`: a client that does not read or grant holds up itself and nobody else."""
from support import TestCase, main, tiny, wait_for_all


class Credit(TestCase):
    def right(self, server, prompt="a slow reader", max_tokens=60):
        return self.client(server).complete(prompt=prompt, max_tokens=max_tokens, ignore_eos=True).result()

    def slow(self, server, credit, id=1, prompt="a slow reader", max_tokens=60):
        client = self.client(server)
        client.ask(id, prompt, max_tokens=max_tokens, ignore_eos=True, credit=credit)
        return client

    def test_63_clients_finish_beside_one_that_grants_nothing_and_it_goes_on_when_granted(self):
        server = self.serve(*tiny())
        right = self.right(server)
        slow = self.slow(server, credit=10)
        others = [self.client(server) for _ in range(63)]
        for again in range(2):
            for number, client in enumerate(others):
                client.ask(1, f"client {number} ", max_tokens=40)
            wait_for_all(others)
        slow.round_trip()
        self.assertEqual(len(slow.answers[1].tokens), 10)
        for granted in (1, 5, 17):
            before = len(slow.answers[1].tokens)
            slow.send(type="credit_grant", id=1, tokens=granted)
            slow.wait(1, tokens=before + granted)
            self.assertEqual(self.right(server), right)  # Another whole answer passes by.
            slow.round_trip()
            self.assertEqual(len(slow.answers[1].tokens), before + granted)
        slow.send(type="credit_grant", id=1, tokens=1000)
        self.assertEqual(slow.wait(1).result(), right)

    def test_a_client_that_does_not_read_its_socket_is_not_noticed_by_63_others(self):
        server = self.serve(*tiny(context=8192))
        silent = self.client(server)
        for id in range(8):
            silent.ask(id, f"nobody reads this {id}", max_tokens=8000, ignore_eos=True)
        others = [self.client(server) for _ in range(63)]
        for number, client in enumerate(others):
            client.ask(1, f"client {number} ", max_tokens=20)
        wait_for_all(others)
        for client in others:
            self.assertNotEqual(client.answers[1].end["reason"], "error")

    def test_without_any_credit_a_request_waits_for_its_first_grant(self):
        server = self.serve(*tiny())
        right = self.right(server)
        slow = self.slow(server, credit=0)
        self.right(server)
        slow.round_trip()
        self.assertEqual(slow.answers[1].tokens, [])
        slow.send(type="credit_grant", id=1, tokens=60)
        self.assertEqual(slow.wait(1).result(), right)

    def test_a_paused_request_can_be_cancelled(self):
        slow = self.slow(self.serve(*tiny()), credit=3)
        slow.wait(1, tokens=3)
        slow.send(type="cancel_request", id=1)
        answer = slow.wait(1)
        self.assertEqual((answer.end["reason"], len(answer.tokens)), ("cancelled", 3))

    def test_the_memory_of_a_paused_request_serves_others_and_is_computed_again(self):
        server = self.serve(*tiny(), "--kv-tokens", "256")
        prompt = "much memory " * 10
        right = self.right(server, prompt)
        slow = self.slow(server, credit=5, prompt=prompt)  # Half of all the memory.
        slow.wait(1, tokens=5)
        for _ in range(3):
            self.assertEqual(self.right(server, prompt), right)
        slow.send(type="credit_grant", id=1, tokens=1000)
        self.assertEqual(slow.wait(1).result(), right)

    def test_paused_requests_do_not_keep_others_from_running(self):
        server = self.serve(*tiny(), "--max-num-seqs", "4")
        right = self.right(server)
        paused = [self.slow(server, credit=2) for _ in range(8)]
        for slow in paused[:4]:
            slow.wait(1, tokens=2)
        self.assertEqual(self.right(server), right)
        for slow in paused:
            slow.send(type="credit_grant", id=1, tokens=1000)
        wait_for_all(paused)
        for slow in paused:
            self.assertEqual(slow.answers[1].result(), right)

    def test_grants_that_are_too_much_or_for_nobody_do_no_harm(self):
        server = self.serve(*tiny())
        right = self.right(server)
        slow = self.slow(server, credit=1)
        for _ in range(3):
            slow.send(type="credit_grant", id=1, tokens=4294967295)
            slow.send(type="credit_grant", id=99, tokens=4294967295)
        self.assertEqual(slow.wait(1).result(), right)
        slow.send(type="credit_grant", id=1, tokens=1)
        slow.round_trip()
        self.assertEqual(slow.others, [])


if __name__ == "__main__":
    main()
