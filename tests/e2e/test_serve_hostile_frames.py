#!/usr/bin/env python3
"""`troupe serve`: whatever comes over the socket, the server stays up and serves."""
import os
import random
import socket
import struct

import msgpack
import zmq

from support import Client, TestCase, eventually, main, tiny

COUNT = int(os.environ.get("TROUPE_FUZZ_COUNT", 10_000))
VALID = [msgpack.packb(message) for message in (
    {"type": "hello", "version": 2},
    {"type": "ping", "nonce": 5},
    {"type": "cancel_request", "id": 3},
    {"type": "credit_grant", "id": 3, "tokens": 9},
    {"type": "pause_request", "id": 3},
    {"type": "resume_request", "id": 3},
    {"type": "admin_request", "nonce": 1, "command": "status"},
    {"type": "admin_request", "nonce": 1, "command": "check"},
    {"type": "generate_request", "id": 3, "prompt": "hello", "max_tokens": 2},
    {"type": "generate_request", "id": 4, "tokens": [5, 6, 7], "temperature": 0.5, "seed": 1, "max_tokens": 2},
    {"type": "generate_request", "id": 5, "messages": [{"role": "user", "content": "hi"}], "stop": ["x"], "max_tokens": 2},
    {"type": "generate_request", "id": 6, "prompt": "x", "temperature": 1, "top_k": 4, "top_p": 0.5, "min_p": 0.1, "n": 2,
     "logit_bias": [{"token": 5, "bias": -1.5}], "bad_words": ["x"], "stop_tokens": [5], "logprobs": 2, "best_of": 2,
     "cache_salt": "s", "echo": True, "max_tokens": 2})]


def nested(depth, opener):
    return b"\x82\xa4type\xa4ping\xa5nonce" + opener * depth


def claim(random_source):
    """A header that claims far more than there is: strings, binaries, arrays, maps, extensions of up to 4 GiB."""
    header = random_source.choice((b"\xdb", b"\xc6", b"\xdd", b"\xdf", b"\xc9"))
    frame = header + struct.pack(">I", random_source.choice((2**32 - 1, 2**31, 2**26 + 1)))
    return random_source.choice((b"", b"\x81", b"\x82\xa4type\xa4ping\xa5nonce")) + frame


def mutated(random_source):
    frame = bytearray(random_source.choice(VALID))
    for _ in range(random_source.randint(1, 4)):
        at = random_source.randrange(len(frame))
        change = random_source.randrange(4)
        if change == 0:
            frame[at] = random_source.randrange(256)
        elif change == 1:
            frame[at] ^= 1 << random_source.randrange(8)
        elif change == 2 and len(frame) > 1:
            del frame[at]
        else:
            frame.insert(at, random_source.randrange(256))
    return bytes(frame)


def hostile_message(random_source):
    """The frames of one message."""
    kind = random_source.randrange(10)
    if kind < 3:
        return [random_source.randbytes(random_source.choice((0, 1, 2, 10, 100, 1000)))]
    if kind < 7:
        return [mutated(random_source)]
    if kind == 7:
        return [claim(random_source)]
    if kind == 8:
        depth = random_source.choice((63, 64, 65, 1000, 100000))
        return [nested(depth, random_source.choice((b"\x91", b"\x81\xa1a", b"\xdd\0\0\0\1")))]
    return [random_source.choice([b"", *VALID]) for _ in range(random_source.randint(2, 5))]


class Hostile(TestCase):
    def setUp(self):
        self.server = self.serve(*tiny())
        self.good = self.client(self.server)
        self.right = self.ask().result()
        self.size = self.server.resident_bytes()

    def ask(self):
        return self.good.complete(1, "is it still there?", max_tokens=10)

    def assert_well(self):
        self.assertIsNone(self.server.process.poll(), self.server.log)
        self.assertEqual(self.ask().result(), self.right)
        self.assertEqual(self.good.others, [])
        fresh = self.client(self.server)
        self.assertEqual(fresh.complete(1, "is it still there?", max_tokens=10).result(), self.right)

    def drain(self, client):
        while client.socket.poll(0):
            client.socket.recv_multipart()

    def test_thousands_of_malformed_messages(self):
        random_source = random.Random(4)
        clients = [self.client(self.server), self.client(self.server, hello=False)]
        for number in range(COUNT):
            client = clients[number % 2]
            client.socket.send_multipart(hostile_message(random_source))
            self.drain(client)
            if number % 1000 == 999:
                clients.append(self.client(self.server, hello=False))
                clients.pop(0).close()
        for client in clients:  # All has been looked at when the answer to the last is there.
            client.send(type="hello", version=2)
            client.send(type="ping", nonce=987654321)
            while client.next() != {"type": "pong", "nonce": 987654321}:
                pass
        self.assert_well()
        self.assertLess(self.server.resident_bytes(), self.size + (64 << 20))

    def test_each_frame_that_names_no_request_gets_one_protocol_error(self):
        client = self.client(self.server)
        frames = (b"", b"\xc1", b"\x80", b"\x93\1\2\3", b"\xc0", b"\x81\xa4type\xa5nonse", VALID[1] + b"\0", VALID[1][:-1],
                  nested(70, b"\x91"), nested(100000, b"\x91"), b"\x81\xa4type\xdb\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
                  b"\x82\xa4type\xa4ping\xa5nonce\xcb\x3f\xf0\0\0\0\0\0\0",
                  b"\x83\xa4type\xa4ping\xa5nonce\1\xa5nonce\1", b"\x82\xa4type\xa4ping\xa5nonce\xa2\xff\xfe")
        for frame in frames:
            with self.subTest(frame=frame[:40]):
                client.socket.send(frame)
                answer = client.next()
                self.assertEqual(answer["type"], "protocol_error", answer)
                self.assertTrue(answer["message"].endswith("."), answer)
        client.socket.send_multipart([VALID[1], VALID[1]])
        self.assertIn("one frame", client.next()["message"])
        client.socket.send_multipart([b"", VALID[1]])  # What a REQ socket would send.
        self.assertIn("one frame", client.next()["message"])
        client.round_trip()
        self.assertEqual(client.others, [])

    def test_a_hello_of_another_version_is_refused_and_the_right_one_may_follow(self):
        client = self.client(self.server, hello=False)
        for version in (0, 1, 3, 4294967295):
            client.send(type="hello", version=version, future="field")
            answer = client.next()
            self.assertEqual((answer["type"], answer["code"]), ("protocol_error", 8), answer)
        welcome = client.hello()
        self.assertEqual((welcome["version"], welcome["context_length"]), (2, 512))
        self.assertEqual(client.hello(), welcome)

    def test_what_comes_before_hello_is_not_taken(self):
        client = self.client(self.server, hello=False)
        for frame in VALID[1:]:
            client.socket.send(frame)
            answer = client.next()
            self.assertEqual((answer["type"], answer["code"]), ("protocol_error", 9), answer)
        client.hello()
        self.assertEqual(client.complete(3, "hello", max_tokens=2).end["reason"], "length")

    def test_a_request_may_follow_hello_without_waiting_for_the_welcome(self):
        client = self.client(self.server, hello=False)
        client.send(type="hello", version=2)
        client.ask(1, "is it still there?", max_tokens=10)
        self.assertEqual(client.next()["type"], "welcome")
        self.assertEqual(client.wait(1).result(), self.right)

    def test_one_request_more_than_a_connection_may_have_is_refused(self):
        client = self.client(self.server)
        for id in range(1025):
            client.ask(id, "x", max_tokens=3, credit=0)
        answer = client.wait(1024)
        self.assertEqual((answer.end["reason"], answer.end["code"]), ("error", 7))
        self.assert_well()

    def test_a_client_that_asks_and_never_reads_is_cut_off_and_costs_little(self):
        silent = self.client(self.server)
        silent.socket.rcvhwm = 1
        silent.socket.disconnect(self.server.endpoint)
        silent.socket.connect(self.server.endpoint)  # Options hold for what is connected after them.
        silent.hello()
        refused = msgpack.packb({"type": "generate_request", "id": 1, "prompt": "x", "x" * 200: 1})
        for _ in range(200_000):  # Each is answered by some 200 bytes; the kernel's buffers hold a few megabytes.
            silent.socket.send(refused)
        self.assert_well()
        frames, last = 0, None
        while silent.socket.poll(2000) and (last := msgpack.unpackb(silent.socket.recv())).get("code") != 9:
            frames += 1
        self.assertLess(frames, 200_000)
        silent.send(type="ping", nonce=1)
        self.assertEqual(last["code"] if last["code"] == 9 else silent.next()["code"], 9)
        self.assertLess(self.server.resident_bytes(), self.size + (64 << 20))

    def test_a_frame_over_the_limit_costs_its_sender_the_connection_and_nobody_else(self):
        client = self.client(self.server)
        client.socket.send(bytes(65 << 20))
        self.assert_well()
        client.send(type="ping", nonce=1)  # ZeroMQ has connected again: a connection that has not said hello.
        self.assertEqual(client.next()["code"], 9)
        client.hello()
        self.assertLess(self.server.resident_bytes(), self.size + (64 << 20))

    def test_the_largest_frame_there_may_be_is_read_and_refused_by_its_field(self):
        client = self.client(self.server)
        answer = client.complete(1, "x" * ((32 << 20) + 1))
        self.assertEqual((answer.end["reason"], answer.end["code"]), ("error", 7))
        answer = client.complete(1, tokens=[1] * ((4 << 20) + 1))
        self.assertEqual((answer.end["reason"], answer.end["code"]), ("error", 7))
        answer = client.complete(1, tokens=[5] * (1 << 20))
        self.assertEqual((answer.end["reason"], answer.end["code"]), ("error", 3))
        self.assert_well()

    def test_sockets_of_another_kind_and_bytes_that_are_not_zeromq_do_no_harm(self):
        server = self.serve(*tiny(), endpoint="tcp://127.0.0.1:*")
        host, port = server.endpoint.removeprefix("tcp://").split(":")
        random_source = random.Random(5)
        before = server.descriptors()
        greeting = b"\xff" + bytes(8) + b"\x7f\3\0NULL" + bytes(48)
        for number in range(100):
            with socket.create_connection((host, int(port))) as connection:
                start = (b"", b"GET / HTTP/1.1\r\n\r\n", greeting, greeting + b"\4\x29\5READY")[number % 4]
                connection.sendall(start + random_source.randbytes(number))
        for kind, message in ((zmq.REQ, b"x"), (zmq.PUB, b"x"), (zmq.ROUTER, None)):
            with Client.context.socket(kind) as other:
                other.linger = 0
                other.connect(server.endpoint)
                if message is not None:
                    other.send(message)
        client = self.client(server)
        self.assertEqual(client.complete(1, "is it still there?", max_tokens=10).result(), self.right)
        client.close()
        eventually("their descriptors are closed", lambda: server.descriptors() <= before)


if __name__ == "__main__":
    main()
