#!/usr/bin/env python3
"""ZeroMQ with keys: who has a known one is served, and nobody else; beyond this machine there is no other way."""
import itertools
import os
import resource
import signal
import stat
import subprocess
import sys

import zmq

from support import PATIENCE, ROOT, Client, Server, TestCase, eventually, folder, main, run, serve_command, tiny, troupe

names = itertools.count()
OPEN_ENDPOINTS = ("tcp://0.0.0.0:*", "tcp://*:0", "tcp://[::]:*")
NOTHING_MS = 1000  # So long nothing comes where nothing will.


def new_pair():
    """Files of a secret key and of its public one."""
    name = folder / f"key-{next(names)}"
    made = run("keygen", name)
    assert made.returncode == 0, made.stderr
    return name.with_name(name.name + ".key"), name.with_name(name.name + ".pub")


def key_of(file):
    return file.read_bytes().split()[0]


class CurveCase(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server_secret, cls.server_public = new_pair()
        cls.friend, friends = new_pair()
        cls.stranger, _ = new_pair()
        cls.clients = folder / f"clients-{next(names)}"
        cls.clients.write_text(f"\n{key_of(new_pair()[1]).decode()}\n  {key_of(friends).decode()} a friend\n")
        cls.options = ["--zmq-curve-server-key", cls.server_secret, "--zmq-curve-client-keys", cls.clients]

    def keyed(self, *arguments, **more):
        server = Server(*tiny(context=65536), *self.options, *arguments, **more)
        self.addCleanup(server.kill)
        return server

    def come(self, server, secret=None, public=None, hello=True):
        client = Client(server.endpoint, hello, *([key_of(secret), key_of(public or self.server_public)] if secret else []))
        self.addCleanup(client.close)
        return client

    def status(self, server, *arguments):
        return run("status", "--zmq", server.endpoint, "--timeout-ms", str(NOTHING_MS), *arguments)

    def friendly(self):
        return ["--zmq-curve-key", self.friend, "--zmq-curve-server", self.server_public]


class Keys(TestCase):
    def test_a_pair_is_made_for_its_owner_alone_and_never_in_place_of_another(self):
        secret, public = new_pair()
        for file in (secret, public):
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
            self.assertEqual(len(key_of(file)), 40)
        self.assertEqual(zmq.curve_public(key_of(secret)), key_of(public))
        before = secret.read_bytes()
        self.assert_refused(run("keygen", str(secret).removesuffix(".key")), "exists")
        self.assertEqual(secret.read_bytes(), before)
        secret.unlink()
        self.assert_refused(run("keygen", str(secret).removesuffix(".key")), str(public), "exists")
        self.assertFalse(secret.exists())

    def test_on_a_full_disk_there_is_no_pair(self):
        def full():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
        name = folder / f"key-{next(names)}"
        made = subprocess.run([troupe(), "keygen", name], capture_output=True, preexec_fn=full, timeout=PATIENCE)
        self.assertEqual(made.returncode, 1, made.stderr)
        self.assertEqual([name.with_name(name.name + end).exists() for end in (".key", ".pub")], [False, False])

    def test_the_secret_is_said_nowhere(self):
        name = folder / f"key-{next(names)}"
        said = run("keygen", name)
        self.assertNotIn(key_of(name.with_name(name.name + ".key")).decode(), said.stdout + said.stderr)


class Files(CurveCase):
    def refused(self, secret, clients, *words):
        result = run(*serve_command("--zmq", f"ipc://{folder}/none"), *tiny(), "--zmq-curve-server-key", secret,
                     "--zmq-curve-client-keys", clients)
        self.assert_refused(result, *words)

    def test_what_is_no_key_is_refused_and_not_repeated(self):
        readable = folder / "readable.key"
        readable.write_bytes(self.server_secret.read_bytes())
        readable.chmod(0o640)
        broken = folder / "broken.key"
        broken.write_bytes(key_of(self.server_secret)[:-1])
        broken.chmod(0o600)
        empty = folder / "empty.pub"
        empty.write_text("\n \n")
        self.refused(readable, self.clients, "chmod 600", "--zmq-curve-server-key")
        self.refused(broken, self.clients, "40 characters")
        self.refused(self.server_secret, empty, "--zmq-curve-client-keys", "has no key")
        self.refused(self.server_secret, folder / "nowhere", "--zmq-curve-client-keys")
        result = run(*serve_command("--zmq", f"ipc://{folder}/none"), *tiny(), "--zmq-curve-server-key", broken,
                     "--zmq-curve-client-keys", self.clients)
        self.assertNotIn(broken.read_text(), result.stderr)

    def test_one_option_needs_the_other(self):
        for options in (self.options[:2], self.options[2:]):
            self.assertEqual(run(*serve_command(), *tiny(), *options).returncode, 2)


class Access(CurveCase):
    def test_who_has_a_known_key_is_served(self):
        for endpoint in (None, "tcp://127.0.0.1:*"):
            server = self.keyed(endpoint=endpoint)
            client = self.come(server, self.friend)
            self.assertTrue(client.complete(1, "hello", max_tokens=5, ignore_eos=True).tokens)
            checked = self.status(server, "--check", *self.friendly())
            self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_nobody_else_gets_anything_and_the_server_lives(self):
        server = self.keyed("--log-level", "debug")
        friend = self.come(server, self.friend)
        strangers = [self.come(server, hello=False), self.come(server, self.stranger, hello=False),
                     self.come(server, self.friend, self.clients.parent / self.friend.name.replace(".key", ".pub"), hello=False)]
        for stranger in strangers:
            stranger.send(type="hello", version=2)
        poller = zmq.Poller()
        for stranger in strangers:
            poller.register(stranger.socket, zmq.POLLIN)
        self.assertEqual(poller.poll(NOTHING_MS), [])
        self.assertTrue(friend.complete(1, "still there", max_tokens=5, ignore_eos=True).tokens)
        self.assertTrue(self.come(server, self.friend).complete(1, "and for others", max_tokens=5, ignore_eos=True).tokens)
        self.assert_refused(self.status(server, "--check"), "--zmq-curve-key")
        self.assert_refused(self.status(server, "--check", "--zmq-curve-key", self.stranger, "--zmq-curve-server", self.server_public),
                            "No answer")
        eventually("it is told", lambda: any("a ZeroMQ client has no key that is known" in line for line in server.log))
        self.assertNotIn("hello version", "".join(server.log))

    def test_many_strangers_at_once_hold_up_nobody(self):
        server = self.keyed()
        friend = self.come(server, self.friend)
        strangers = [self.come(server, self.stranger, hello=False) for _ in range(64)]
        for stranger in strangers:
            stranger.send(type="hello", version=2)
        for id in range(1, 20):
            self.assertTrue(friend.complete(id, "hello", max_tokens=5, ignore_eos=True).tokens)
        for stranger in strangers:
            self.assertEqual(stranger.socket.poll(0), 0)

    def test_commands_and_block_events_have_the_same_keys(self):
        admin, events, replay = (f"ipc://{folder}/{kind}-{next(names)}" for kind in ("admin", "events", "replay"))
        server = self.keyed("--admin-zmq", admin, "--kv-events", events, "--kv-events-replay", replay)
        self.assertEqual(run("status", "--zmq", admin, *self.friendly()).returncode, 0)
        self.assert_refused(run("status", "--zmq", admin, "--timeout-ms", str(NOTHING_MS)), "No answer")
        subscribers = []
        for secret in (self.friend, self.stranger, None):
            subscriber = zmq.Context.instance().socket(zmq.SUB)
            self.addCleanup(subscriber.close, 0)
            if secret:
                subscriber.curve_secretkey, subscriber.curve_publickey = key_of(secret), zmq.curve_public(key_of(secret))
                subscriber.curve_serverkey = key_of(self.server_public)
            subscriber.setsockopt(zmq.SUBSCRIBE, b"")
            subscriber.connect(events)
            subscribers.append(subscriber)
        client, ids = self.come(server, self.friend), itertools.count(1)

        def heard():
            id = next(ids)
            client.complete(id, f"{id} is a number that nobody has said before, at such a length", max_tokens=1)
            return subscribers[0].poll(50)
        eventually("a subscriber with a key hears of blocks", heard)
        for other in subscribers[1:]:
            self.assertEqual(other.poll(NOTHING_MS // 2), 0)

    def test_the_examples_take_keys(self):
        server = self.keyed(endpoint="tcp://127.0.0.1:*")
        ran = self.run_json("What is this?", "--max-tokens", "9", *tiny(context=65536))
        arguments = ["--endpoint", server.endpoint, "--key", self.friend, "--server-key", self.server_public, "What is this?",
                     "--max-tokens", "9"]
        for command in ([sys.executable, ROOT / "examples" / "zmq_client.py"],
                        [os.path.join(os.path.dirname(troupe()), "..", "examples", "zmq_client")]):
            result = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((result.returncode, result.stdout), (0, ran["text"] + "\n"), result.stderr)


class OtherMachines(CurveCase):
    """All of these end before anything is bound."""

    def test_without_keys_nothing_listens_where_other_machines_can_come(self):
        ours = ["--zmq", f"ipc://{folder}/front-{next(names)}"]
        for endpoint in OPEN_ENDPOINTS:
            for options in (["--zmq", endpoint], [*ours, "--admin-zmq", endpoint], ["--kv-events", endpoint],
                            ["--kv-events", f"ipc://{folder}/events", "--kv-events-replay", endpoint]):
                with self.subTest(options=options):
                    self.assert_refused(run(*serve_command(*options), *tiny()), options[-2], endpoint, "--zmq-curve-server-key",
                                        "troupe keygen", "--allow-open-access")
        self.assert_refused(run("run", "hi", *tiny(), "--kv-events", OPEN_ENDPOINTS[0]), "--kv-events", "`troupe serve` takes others with keys")

    def test_consent_is_enough(self):
        """A name may be any machine's; this one is the loopback's."""
        server = self.serve(*tiny(), "--allow-open-access", endpoint="tcp://lo:*")
        self.assertTrue(self.client(server).complete(1, "hello", max_tokens=5, ignore_eos=True).tokens)
        self.assert_refused(run(*serve_command("--zmq", "tcp://lo:*"), *tiny()), "--allow-open-access")
        server = self.keyed(endpoint="tcp://lo:*")
        self.assertTrue(self.come(server, self.friend).complete(1, "hello", max_tokens=5, ignore_eos=True).tokens)


if __name__ == "__main__":
    main()
