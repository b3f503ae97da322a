#!/usr/bin/env python3
"""Block events as a subscriber of vLLM's meets them: pyzmq and msgpack, and no code of Troupe's.

Called as `test_kv_events.py PUBLISH_KV_EVENTS WRITE_TINY_MODEL`.
"""
import struct
import subprocess
import sys
import time
from pathlib import Path

from support import PATIENCE, TestCase, eventually, folder, main

import msgpack
import zmq

END = b"\xff" * 8


class Publisher:
    count = 0

    def __init__(self, *options, scheme="tcp"):
        Publisher.count += 1
        endpoints = ["tcp://127.0.0.1:*"] * 2 if scheme == "tcp" else [
            f"ipc://{folder}/events-{Publisher.count}", f"ipc://{folder}/replay-{Publisher.count}"]
        self.process = subprocess.Popen([sys.argv[1], *endpoints, *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.events, self.replay = self.process.stdout.readline().split()

    def say(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def end(self):
        """Returns its exit code."""
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Subscriber:
    """One that does what vLLM's example does: follows numbers, and asks for what it has missed."""

    def __init__(self, publisher):
        self.context = zmq.Context.instance()
        self.sub = self.context.socket(zmq.SUB)
        self.sub.subscribe(b"kv-events")
        self.req = self.context.socket(zmq.REQ)
        for socket, endpoint in ((self.sub, publisher.events), (self.req, publisher.replay)):
            socket.linger = 0
            socket.rcvtimeo = PATIENCE * 1000
            socket.connect(endpoint)

    def close(self):
        self.sub.close()
        self.req.close()

    def next(self):
        topic, number, payload = self.sub.recv_multipart()
        assert topic == b"kv-events", topic
        return int.from_bytes(number, "big"), msgpack.unpackb(payload)

    def missed_since(self, start):
        """A REQ takes one reply for a request; that it gets several needs a DEALER."""
        dealer = self.context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.rcvtimeo = PATIENCE * 1000
        dealer.connect(self.req.last_endpoint)
        dealer.send_multipart([b"", start.to_bytes(8, "big")])
        batches = []
        while True:
            empty, number, payload = dealer.recv_multipart()
            assert empty == b"", empty
            if number == END:
                assert payload == b"", payload
                dealer.close()
                return batches
            batches.append((int.from_bytes(number, "big"), msgpack.unpackb(payload)))


class KvEvents(TestCase):
    def start(self, *options, **more):
        publisher = Publisher(*options, **more)
        self.addCleanup(publisher.kill)
        subscriber = Subscriber(publisher)
        self.addCleanup(subscriber.close)
        # A subscription takes its time: publish until something comes. Numbers from `first` on are the test's.
        self.first = 0
        while not subscriber.sub.poll(20):
            publisher.say("cleared", self.first)
            self.first += 1
            self.assertLess(self.first, 50 * PATIENCE)
        while subscriber.next()[0] != self.first - 1:
            pass
        return publisher, subscriber

    def test_events_are_tagged_maps_in_a_batch_with_time_and_rank(self):
        publisher, subscriber = self.start()
        before = time.time()
        publisher.say("stored", self.first, 2**63 + 5, "-", *range(32))
        publisher.say("stored", self.first + 1, 7, 2**63 + 6, *range(16))
        publisher.say("removed", self.first + 2, 7, 2**63 + 6)
        publisher.say("cleared", self.first + 3)
        batches = [subscriber.next() for _ in range(4)]
        self.assertEqual([number for number, _ in batches], list(range(self.first, self.first + 4)))
        for _, (at, _, rank) in batches:
            self.assertIsInstance(at, float)
            self.assertTrue(before - 1 <= at <= time.time() + 1)
            self.assertEqual(rank, 0)
        constant = {"type": "BlockStored", "block_size": 16, "lora_id": None, "medium": "GPU", "lora_name": None,
                    "group_idx": 0, "kv_cache_spec_kind": "full_attention"}
        self.assertEqual([events for _, (_, events, _) in batches], [
            [{**constant, "block_hashes": [2**63 + 5, 2**63 + 6], "parent_block_hash": None, "token_ids": [*range(32)]}],
            [{**constant, "block_hashes": [7], "parent_block_hash": 2**63 + 6, "token_ids": [*range(16)]}],
            [{"type": "BlockRemoved", "block_hashes": [7, 2**63 + 6], "medium": "GPU", "group_idx": 0}],
            [{"type": "AllBlocksCleared"}]])

    def test_events_are_tagged_arrays_and_hashes_bytes_where_that_is_asked_for(self):
        publisher, subscriber = self.start("arrays", "bytes")
        publisher.say("stored", self.first, 5, 4, *range(16))
        publisher.say("removed", self.first + 1, 5)
        stored, removed = [subscriber.next()[1][1] for _ in range(2)]
        hash_of = lambda word: struct.pack("<4Q", word, ~word & (1 << 64) - 1, 0, 0)
        self.assertEqual(stored, [["BlockStored", [hash_of(5)], hash_of(4), [*range(16)], 16, None, "GPU", None, None,
                                   0, "full_attention", None]])
        self.assertEqual(removed, [["BlockRemoved", [hash_of(5)], "GPU", 0]])

    def test_a_subscriber_that_was_away_gets_what_it_has_missed(self):
        publisher, subscriber = self.start()
        publisher.say("removed", self.first, 1)
        self.assertEqual(subscriber.next()[0], self.first)
        subscriber.sub.disconnect(publisher.events)
        for number in range(self.first + 1, self.first + 6):
            publisher.say("removed", number, number)
        eventually("all are published", lambda: len(subscriber.missed_since(self.first + 1)) == 5)
        missed = subscriber.missed_since(self.first + 1)
        self.assertEqual([number for number, _ in missed], list(range(self.first + 1, self.first + 6)))
        self.assertEqual([batch[1][0]["block_hashes"] for _, batch in missed], [[number] for number, _ in missed])

    def test_a_request_of_a_req_socket_is_answered(self):
        publisher, subscriber = self.start()
        subscriber.req.send((2**62).to_bytes(8, "big"))
        self.assertEqual(subscriber.req.recv_multipart(), [END, b""])

    def test_a_lost_batch_is_a_missing_number(self):
        publisher, subscriber = self.start()
        publisher.say("cleared", self.first)
        publisher.say("cleared", self.first + 2)
        self.assertEqual([subscriber.next()[0] for _ in range(2)], [self.first, self.first + 2])
        self.assertEqual([number for number, _ in subscriber.missed_since(self.first)], [self.first, self.first + 2])

    def test_it_ends_cleanly_and_takes_its_socket_files_along(self):
        publisher, subscriber = self.start(scheme="ipc")
        files = [Path(endpoint.removeprefix("ipc://")) for endpoint in (publisher.events, publisher.replay)]
        self.assertTrue(all(file.exists() for file in files))
        self.assertEqual(publisher.end(), 0)
        self.assertFalse(any(file.exists() for file in files))

    def test_while_nothing_happens_no_thread_wakes(self):
        publisher, subscriber = self.start()

        def wakes():
            lines = [line for task in Path(f"/proc/{publisher.process.pid}/task").iterdir()
                     for line in (task / "status").read_text().splitlines()]
            return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

        for _ in range(PATIENCE):  # One quiet stretch is enough; what was under way at first may take a moment.
            before = wakes()
            time.sleep(0.5)
            if wakes() == before:
                return
        self.fail("it wakes again and again")


if __name__ == "__main__":
    main()
