#!/usr/bin/env python3
"""What was computed once is not computed again: while a server runs, after it was restarted, and never wrongly."""
import json
import struct

from support import TestCase, eventually, folder, main, run, tiny

import msgpack
import zmq

PROMPT = "What was computed once is not computed again, as long as somebody remembers it. " * 4


class PrefixCache(TestCase):
    count = 0

    def ask(self, server, prompt=PROMPT, **more):
        """The answer to the prompt, and how many of its tokens were not computed."""
        client = self.client(server)
        client.ask(1, prompt, max_tokens=12, ignore_eos=True, **more)
        answer = client.wait(1)
        return answer.tokens, answer.end.get("cached_prompt_tokens", 0)

    def new_folder(self):
        PrefixCache.count += 1
        return folder / f"blocks-{PrefixCache.count}"

    def blocks(self, where):
        return [path for path in where.rglob("*") if path.is_file() and ".tmp" not in path.name]

    def serve_from(self, where, *more):
        return self.serve(*tiny(context=4096), "--kv-disk", where, *more)

    def test_a_prompt_that_comes_again_is_hit_and_gets_the_same_tokens(self):
        server = self.serve(*tiny(context=4096))
        first, cached = self.ask(server)
        self.assertEqual(cached, 0)
        again, cached = self.ask(server)
        self.assertEqual(again, first)
        self.assertGreaterEqual(cached, 16)
        self.assertEqual(cached % 16, 0)
        salted, cached = self.ask(server, cache_salt="another tenant")
        self.assertEqual((salted, cached), (first, 0))

    def test_without_prefix_caching_nothing_is_hit(self):
        server = self.serve(*tiny(context=4096), "--no-prefix-caching")
        first, _ = self.ask(server)
        again, cached = self.ask(server)
        self.assertEqual((again, cached), (first, 0))

    def test_prefixes_on_a_disk_survive_a_restart_of_the_server(self):
        where = self.new_folder()
        server = self.serve_from(where)
        first, _ = self.ask(server)
        eventually("blocks are written", lambda: len(self.blocks(where)) >= 3)
        self.assertEqual(server.stop(), 0)
        again, cached = self.ask(self.serve_from(where))
        self.assertEqual(again, first)
        self.assertGreaterEqual(cached, 48)

    def test_prefixes_on_a_disk_are_not_taken_for_keys_and_values_of_another_type(self):
        where = self.new_folder()
        model = tiny("cpu", context=4096)
        answers = {}
        for dtype in ("bf16", "int8"):
            server = self.serve(*model, "--kv-disk", where, "--kv-cache-dtype", dtype)
            before = len(self.blocks(where))
            answers[dtype], cached = self.ask(server)
            self.assertEqual(cached, 0)
            eventually("blocks are written", lambda: len(self.blocks(where)) >= before + 3)
            self.assertEqual(server.stop(), 0)
        for dtype in ("bf16", "int8"):
            server = self.serve(*model, "--kv-disk", where, "--kv-cache-dtype", dtype)
            again, cached = self.ask(server)
            self.assertEqual(again, answers[dtype])
            self.assertGreaterEqual(cached, 48)
            self.assertEqual(server.stop(), 0)

    def test_several_workers_keep_their_parts_of_blocks_on_one_disk(self):
        for several in (["--tensor-parallel-size", "2"], ["--pipeline-parallel-size", "2"]):
            where = self.new_folder()
            options = [*tiny("cpu", context=4096), "--kv-disk", where, *several]
            server = self.serve(*options)
            first, _ = self.ask(server)
            eventually("blocks are written", lambda: len(self.blocks(where)) >= 3)
            self.assertEqual(server.stop(), 0)
            again, cached = self.ask(self.serve(*options, "--workers", "process"))
            self.assertEqual(again, first)
            self.assertGreaterEqual(cached, 48)

    def test_several_engines_keep_their_prefixes_in_one_folder(self):
        where = self.new_folder()
        options = [*tiny("cpu", context=4096), "--kv-disk", where, "--data-parallel-size", "2"]
        server = self.serve(*options)
        prompts = [f"Conversation {i}. " + PROMPT for i in range(8)]
        client = self.client(server)
        for i, prompt in enumerate(prompts):  # All at once, so that both engines have some.
            client.ask(i, prompt, max_tokens=12, ignore_eos=True)
        first = [client.wait(i).tokens for i in range(8)]
        eventually("blocks are written", lambda: len(self.blocks(where)) >= 8 * 3)
        self.assertEqual(server.stop(), 0)
        server = self.serve(*options)
        for prompt, tokens in zip(prompts, first):
            again, cached = self.ask(server, prompt)
            self.assertEqual(again, tokens)
            self.assertGreaterEqual(cached, 48)
        tiers = json.loads(run("status", "--zmq", server.endpoint, "--json").stdout)["tiers"]
        self.assertEqual([tier["name"] for tier in tiers], ["disk"])  # One folder is one tier, whoever uses it.
        self.assertGreaterEqual(tiers[0]["loaded"], 8 * 3)

    def test_what_ran_when_the_server_was_stopped_is_there_after_a_restart(self):
        where = self.new_folder()
        server = self.serve_from(where)
        client = self.client(server)
        client.ask(1, PROMPT, max_tokens=3000, ignore_eos=True)
        eventually("it answers", lambda: client.take() and len(client.answers[1].tokens) > 40)
        self.assertEqual(server.stop(), 0)
        answer = client.answers[1].tokens
        self.assertGreaterEqual(len(self.blocks(where)), 5)
        again, cached = self.ask(self.serve_from(where))
        self.assertEqual(again, answer[:12])
        self.assertGreaterEqual(cached, 48)

    def test_a_conversation_that_ends_is_there_when_the_next_one_begins(self):
        where = self.new_folder()
        arguments = ["chat", *tiny(context=4096), "--kv-disk", where, "--max-tokens", "4"]
        self.assertEqual(run(*arguments, stdin=PROMPT + "\n").returncode, 0)
        self.assertGreaterEqual(len(self.blocks(where)), 5)  # And nobody had to wait for them.

    def test_what_another_arithmetic_computed_is_not_found(self):
        where = self.new_folder()
        for arithmetic, wanted in (("int8", 0), ("bf16", 0), ("int8", 48), ("bf16", 48)):
            with self.subTest(arithmetic=arithmetic, wanted=wanted):
                before = len(self.blocks(where)) if wanted == 0 else -3
                server = self.serve(*tiny("cpu", context=4096), "--kv-disk", where, "--cpu-arithmetic", arithmetic)
                _, cached = self.ask(server)
                self.assertGreaterEqual(cached, wanted)
                self.assertTrue(cached == 0 or wanted > 0)
                eventually("blocks are written", lambda: len(self.blocks(where)) >= before + 3)
                self.assertEqual(server.stop(), 0)

    def tiers(self, server):
        result = run("status", "--zmq", server.endpoint, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        counts = json.loads(result.stdout)
        return {tier["name"]: tier for tier in counts["tiers"]}, counts["tier_hit_tokens"]

    def ask_again_when_it_was_evicted(self, server):
        """The document's first and second answer, and how much of it was cached the second time."""
        first, _ = self.ask(server)
        eventually("its blocks are saved", lambda: all(t["blocks"] >= 5 for t in self.tiers(server)[0].values()))
        for other in range(4):  # More than the memory has room for.
            self.ask(server, f"Another document, of number {other}. " * 16)
        return first, *self.ask(server)

    def test_what_memory_had_no_room_for_is_found_in_the_hosts_memory(self):
        server = self.serve(*tiny(context=4096), "--threads", "1", "--kv-tokens", "1024", "--kv-host-gib", "1")
        first, again, cached = self.ask_again_when_it_was_evicted(server)
        self.assertEqual(again, first)
        self.assertGreaterEqual(cached, 48)
        tiers, hit_tokens = self.tiers(server)
        self.assertEqual(list(tiers), ["host"])
        self.assertGreaterEqual(hit_tokens, 48)
        self.assertGreaterEqual(tiers["host"]["loaded"], 3)
        self.assertEqual(tiers["host"]["capacity"], 1 << 30)
        self.assertEqual(run("status", "--zmq", server.endpoint, "--check").returncode, 0)
        lines = run("status", "--zmq", server.endpoint).stdout
        self.assertIn("host_loaded", lines)

    def test_memory_is_asked_before_the_disk_and_the_disk_after_a_restart(self):
        where = self.new_folder()
        arguments = ["--threads", "1", "--kv-tokens", "1024", "--kv-host-gib", "1"]
        server = self.serve_from(where, *arguments)
        first, again, cached = self.ask_again_when_it_was_evicted(server)
        self.assertEqual(again, first)
        tiers, _ = self.tiers(server)
        self.assertEqual(list(tiers), ["host", "disk"])
        self.assertGreaterEqual(tiers["host"]["loaded"], 3)
        self.assertEqual(tiers["disk"]["loaded"], 0)
        self.assertEqual(server.stop(), 0)
        server = self.serve_from(where, *arguments)
        again, cached = self.ask(server)
        self.assertEqual(again, first)
        self.assertGreaterEqual(cached, 48)
        tiers, _ = self.tiers(server)
        self.assertGreaterEqual(tiers["disk"]["loaded"], 3)
        self.assertEqual(tiers["host"]["blocks"], tiers["disk"]["loaded"])  # They are in memory now.

    def test_where_the_disk_cannot_be_had_memory_serves_alone_and_it_is_said(self):
        nowhere = self.new_folder()
        nowhere.write_text("no folder")
        server = self.serve_from(nowhere, "--kv-host-gib", "1")
        self.ask(server)
        self.assertEqual(list(self.tiers(server)[0]), ["host"])
        self.assertTrue(any(str(nowhere) in line for line in server.log), server.log)

    def test_tiers_without_prefix_caching_are_refused_by_name(self):
        self.assert_refused(run("run", *tiny(), "--no-prefix-caching", "--kv-host-gib", "1", "hi"), "--kv-host-gib")
        self.assert_refused(run("run", *tiny(), "--no-prefix-caching", "--kv-disk", self.new_folder(), "hi"), "--kv-disk")

    def test_a_damaged_block_is_computed_again(self):
        where = self.new_folder()
        server = self.serve_from(where)
        first, _ = self.ask(server)
        eventually("blocks are written", lambda: len(self.blocks(where)) >= 3)
        self.assertEqual(server.stop(), 0)
        for path in self.blocks(where):
            contents = bytearray(path.read_bytes())
            contents[-1] ^= 1
            path.write_bytes(contents)
        again, cached = self.ask(self.serve_from(where))
        self.assertEqual((again, cached), (first, 0))

    def test_events_that_cannot_be_published_are_refused_with_the_reason(self):
        self.assert_refused(run("run", *tiny(), "--kv-events", "tcp://127.0.0.1:99999", "hi"), "99999", "port",
                            "--kv-events.")
        for replay in ("tcp://127.0.0.1:5558", "tcp://127.0.0.1:5556"):  # One engine's would be the other's.
            self.assert_refused(run("run", *tiny(), "--data-parallel-size", "2", "--kv-events", "tcp://127.0.0.1:5557",
                                    "--kv-events-replay", replay, "hi"), "--kv-events ", "--kv-events-replay", "port", "2 or more apart")
        self.assert_refused(run("run", *tiny(), "--kv-events", "tcp://127.0.0.1:*", "--kv-events-replay", "tcp://127.0.0.1:99999",
                                "hi"), "99999", "port", "--kv-events-replay.")

    def test_block_events_are_published_where_the_server_was_told_to(self):
        endpoint = f"ipc://{folder}/block-events"
        server = self.serve(*tiny(context=4096), "--kv-events", endpoint)
        subscriber = zmq.Context.instance().socket(zmq.SUB)
        self.addCleanup(subscriber.close, 0)
        subscriber.setsockopt(zmq.RCVTIMEO, 200)
        subscriber.subscribe(b"")
        subscriber.connect(endpoint)
        events = []

        def stored():
            self.ask(server, PROMPT + str(len(events)) * 40)  # A subscription takes a moment: ask until one is heard.
            try:
                _, number, payload = subscriber.recv_multipart()
            except zmq.Again:
                events.append(None)
                return False
            self.assertEqual(len(number), 8)
            self.assertGreaterEqual(struct.unpack(">Q", number)[0], 0)
            found = [event for event in msgpack.unpackb(payload)[1] if event["type"] == "BlockStored"]
            self.assertTrue(all(len(event["token_ids"]) == 16 * len(event["block_hashes"]) for event in found))
            return bool(found)

        eventually("a stored block is told", stored)

    def test_several_engines_publish_their_blocks_each_with_its_rank(self):
        endpoint = f"ipc://{folder}/block-events-of-two"
        server = self.serve(*tiny(context=4096), "--kv-events", endpoint, "--data-parallel-size", "2")
        heard = {}
        subscribers = []
        for place in (endpoint, endpoint + "_dp1"):
            subscriber = zmq.Context.instance().socket(zmq.SUB)
            self.addCleanup(subscriber.close, 0)
            subscriber.setsockopt(zmq.RCVTIMEO, 100)
            subscriber.subscribe(b"")
            subscriber.connect(place)
            subscribers.append(subscriber)
        client = self.client(server)
        asked = 0

        def both_are_heard():
            nonlocal asked
            for _ in range(4):
                asked += 1
                client.ask(asked, f"Conversation {asked}. " + PROMPT, max_tokens=4, ignore_eos=True)
            for i in range(asked - 3, asked + 1):
                client.wait(i)
            for place, subscriber in enumerate(subscribers):
                try:
                    _, events, rank = msgpack.unpackb(subscriber.recv_multipart()[2])
                    heard.setdefault(place, set()).add(rank)
                except zmq.Again:
                    pass
            return len(heard) == 2

        eventually("both engines' blocks are told", both_are_heard)
        self.assertEqual(heard, {0: {0}, 1: {1}})


if __name__ == "__main__":
    main()
