#!/usr/bin/env python3
"""Far more requests than fit: all of them end, with the tokens that they have alone, nobody starves, every block comes back.

TROUPE_OVERLOAD_REQUESTS says how many are sent to the real model (100; docs/performance.md has the figures of 1,000)."""
import json
import os
import random
import time

from support import REAL_MODEL, TestCase, main, needs_real_model, run, tiny, wait_for_all

BLOCK = 16
PROMPT, ANSWER = 16, 48
CONNECTIONS = 10
KINDS = 20  # Different requests; each is sent many times.
SEQUENCES = 256


class Overload(TestCase):
    def status(self, server):
        result = run("status", "--zmq", server.endpoint, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def overload(self, requests, *arguments):
        """A pool with room for a tenth of what the requests need together."""
        blocks = requests * (PROMPT + ANSWER) // BLOCK // 10
        server = self.serve("--kv-tokens", str(blocks * BLOCK), "--max-num-seqs", str(SEQUENCES), *arguments)
        draw = random.Random(requests)
        kinds = [{"tokens": [draw.randrange(3, 200) for _ in range(PROMPT)], "max_tokens": ANSWER, "ignore_eos": True,
                  "temperature": 0.9 * (kind % 2), "seed": kind} for kind in range(KINDS)]
        one = self.client(server)
        alone = [one.complete(id, **kind).result() for id, kind in enumerate(kinds)]

        clients = [self.client(server) for _ in range(CONNECTIONS)]
        began = time.monotonic()
        answers = [clients[number % CONNECTIONS].ask(number, **kinds[number % KINDS]) for number in range(requests)]
        wait_for_all(clients)
        took = time.monotonic() - began

        for number, answer in enumerate(answers):
            self.assertEqual(answer.result(), alone[number % KINDS], f"request {number}")
        counts = self.status(server)
        self.assertEqual((counts["open_requests"], counts["waiting"], counts["running"]), (0, 0, 0))
        # No sequence owns a block; leased ones lie in the scheduler's purse.
        self.assertEqual((counts["kv_owned"], counts["kv_blocks"]), (0, blocks))
        self.assertEqual(sum(counts[f"kv_{kind}"] for kind in ("free", "cached", "leased")), blocks)
        self.assertEqual(run("status", "--zmq", server.endpoint, "--check").returncode, 0)
        self.assertGreater(counts["preemptions"], 0)  # Otherwise this was no overload.
        self.nobody_starved(answers)
        waits = sorted(answer.end["first_token_ms"] / 1000 for answer in answers)
        print(f"{requests} requests into {blocks} blocks: {took:.1f} s, {counts['preemptions']} preemptions; first "
              f"token after {waits[requests // 2]:.1f} s in the median, {waits[-1]:.1f} s at the slowest")

    def nobody_starved(self, answers):
        """A connection's first tokens come in the order of its requests, but for those that run together or are skipped."""
        for first in range(CONNECTIONS):
            of_one = answers[first::CONNECTIONS]
            by_first_token = sorted(range(len(of_one)), key=lambda number: of_one[number].first_at)
            overtaken = max(place - number for place, number in enumerate(by_first_token))
            self.assertLessEqual(overtaken, 5, by_first_token)

    def test_1000_requests_into_a_pool_for_100_all_end_right(self):
        self.overload(1000, *tiny(context=1024))

    @needs_real_model
    def test_the_real_model_under_overload_answers_right(self):
        self.overload(int(os.environ.get("TROUPE_OVERLOAD_REQUESTS", 100)), "--model", REAL_MODEL)


if __name__ == "__main__":
    main()
