#!/usr/bin/env python3
"""`troupe serve`: a client that goes away while its answer comes leaves nothing behind.

What is left behind shows as what others cannot get: the server has memory for a few of the answers only, and would take
minutes for one that nobody reads.
"""
import subprocess
import sys

from support import ROOT, TestCase, eventually, main, tiny

FOR_EVER = {"max_tokens": 60000, "ignore_eos": True}


class Vanishing:
    """`options` make a server that can hold only a few of the answers to `prompt`."""

    def setUp(self):
        self.server = self.serve(*tiny(context=65536), *self.options)
        self.other = self.client(self.server)
        self.right = self.ask().result()

    def ask(self):
        return self.other.complete(1, self.prompt, max_tokens=20)

    def begin(self):
        client = self.client(self.server)
        client.ask(1, self.prompt, **FOR_EVER)
        client.wait(1, tokens=3)
        return client

    def assert_all_is_free(self):
        self.assertEqual(self.ask().result(), self.right)
        clients = [self.begin() for _ in range(4)]
        for client in clients:
            client.send(type="cancel_request", id=1)
            self.assertEqual(client.wait(1).end["reason"], "cancelled")

    def test_clients_that_close_their_socket_leave_nothing(self):
        for _ in range(20):
            self.begin().close()
        self.assert_all_is_free()

    def test_clients_that_close_before_they_have_read_anything_leave_nothing(self):
        for _ in range(20):
            client = self.client(self.server)
            client.ask(1, self.prompt, **FOR_EVER)
            client.socket.close(linger=1000)
        self.assert_all_is_free()

    def test_clients_that_cancel_leave_nothing(self):
        for _ in range(20):
            client = self.begin()
            client.send(type="cancel_request", id=1)
            client.wait(1)
        self.assert_all_is_free()

    def test_processes_that_are_killed_leave_nothing(self):
        example = ROOT / "examples" / "zmq_client.py"
        for _ in range(5):
            process = subprocess.Popen([sys.executable, example, "--endpoint", self.server.endpoint, "--ignore-eos",
                                        "--max-tokens", "60000", "word " * 10], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)
            process.stdout.read(1)
            process.kill()
            process.wait()
            process.stdout.close()
        self.assert_all_is_free()

    def test_a_client_of_many_requests_leaves_nothing(self):
        client = self.client(self.server)
        for id in range(100):
            client.ask(id, self.prompt, **FOR_EVER)
        client.wait(0, tokens=3)
        client.close()
        self.assert_all_is_free()

    def test_their_sockets_are_closed(self):
        before = self.server.descriptors()
        for _ in range(20):
            self.begin().close()
        eventually("no more descriptors than before", lambda: self.server.descriptors() <= before)


class TheirPlacesAreFree(Vanishing, TestCase):
    """Four run at once, and each would run for minutes."""
    options = ["--max-num-seqs", "4", "--kv-tokens", "65536"]
    prompt = [5, 6, 7]


class TheirMemoryIsFree(Vanishing, TestCase):
    """Thirteen prompts fill the cache; nothing gives back what was lost."""
    options = ["--kv-tokens", "2048"]
    prompt = [5, 6, 7, 8] * 40


if __name__ == "__main__":
    main()
