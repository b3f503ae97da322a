#!/usr/bin/env python3
"""`troupe status`: what an operator asks of a server that is running."""
import json
import os

from support import TestCase, folder, main, run, serve_command, tiny

COUNTS = ["open_requests", "waiting", "running", "paused", "refused", "kv_blocks", "kv_free", "kv_cached", "kv_leased",
          "kv_owned", "prefix_queries", "prefix_query_tokens", "prefix_hit_tokens", "preemptions", "steps", "draining",
          "engines", "restarts", "lost_steps", "last_recovery_ms",
          "tier_hit_tokens", "tiers"]


class Status(TestCase):
    def setUp(self):
        self.server = self.serve(*tiny(context=65536))

    def status(self, *arguments):
        return run("status", "--zmq", self.server.endpoint, *arguments)

    def counts(self):
        result = self.status("--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_an_idle_server_has_all_counts_and_nothing_open(self):
        counts = self.counts()
        self.assertEqual(list(counts), COUNTS)
        self.assertEqual((counts["open_requests"], counts["running"], counts["draining"]), (0, 0, False))
        self.assertEqual(counts["kv_blocks"], sum(counts[f"kv_{kind}"] for kind in ("free", "cached", "leased", "owned")))
        lines = self.status().stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], COUNTS[:-1])  # There is no tier.

    def test_a_request_that_runs_is_counted_and_its_steps_too(self):
        client = self.client(self.server)
        client.ask(1, "for ever", max_tokens=60000, ignore_eos=True)
        client.wait(1, tokens=3)
        counts = self.counts()
        self.assertEqual((counts["open_requests"], counts["running"]), (1, 1))
        self.assertGreaterEqual(counts["steps"], 3)
        client.send(type="cancel_request", id=1)
        client.wait(1)

    def test_a_check_of_a_server_at_work_finds_nothing_wrong(self):
        client = self.client(self.server)
        client.ask(1, "for ever", max_tokens=60000, ignore_eos=True)
        client.wait(1, tokens=3)
        result = self.status("--check")
        self.assertEqual((result.returncode, result.stdout.split()), (0, ["check", "ok"]), result.stderr)
        client.send(type="cancel_request", id=1)
        client.wait(1)

    def test_an_answer_to_an_operator_comes_to_any_client_with_its_nonce(self):
        client = self.client(self.server)
        client.send(type="admin_request", nonce=2**64 - 1, command="check")
        self.assertEqual(client.next(), {"type": "admin_reply", "nonce": 2**64 - 1, "ok": True})
        client.send(type="admin_request", nonce=5, command="reboot")
        self.assertEqual(client.next()["code"], 1)


class Commands(TestCase):
    def ask(self, endpoint, *arguments):
        return run("status", "--zmq", endpoint, "--json", *arguments)

    def test_an_endpoint_for_commands_alone_takes_them_and_the_other_one_does_not(self):
        admin = f"ipc://{folder}/admin"
        server = self.serve(*tiny(), "--admin-zmq", admin)
        for command in ([], ["--check"], ["--reset-prefix-cache"], ["--drain"]):
            self.assert_refused(self.ask(server.endpoint, *command), "--admin-zmq")
        self.client(server).complete(1, "It serves all the same.", max_tokens=2)
        for command in ([], ["--check"], ["--reset-prefix-cache"], ["--drain"]):
            self.assertEqual(self.ask(admin, *command).returncode, 0, command)

    def test_an_endpoint_that_other_machines_can_reach_takes_no_commands(self):
        """An address that is written as a name may be anybody's; this one is of the loopback, so that nobody can."""
        server = self.serve(*tiny(), "--allow-open-access", endpoint="tcp://lo:*")
        self.assert_refused(self.ask(server.endpoint, "--drain"), "--admin-zmq")
        server = self.serve(*tiny(), endpoint="tcp://127.0.0.1:*")
        self.assertEqual(self.ask(server.endpoint, "--drain").returncode, 0)

    def test_an_endpoint_for_commands_that_cannot_be_had_is_refused_by_its_option(self):
        self.assert_refused(run(*serve_command(), *tiny(), "--zmq", f"ipc://{folder}/front", "--admin-zmq", "tcp://127.0.0.1:99999"),
                            "--admin-zmq", "99999")


class OverHttp(TestCase):
    def ask(self, server, *arguments, **more):
        return run("status", "--url", server.url, *arguments, **more)

    def test_its_counts_come_over_http_too(self):
        server = self.serve(*tiny())
        counts = json.loads(self.ask(server, "--json").stdout)
        self.assertEqual([name for name in counts if name not in ("kv_usage", "server_load")], COUNTS)
        self.assertIn("kv_usage", self.ask(server).stdout)

    def test_commands_need_zeromq_and_say_so(self):
        server = self.serve(*tiny())
        for command in ("--check", "--drain", "--reset-prefix-cache"):
            self.assert_refused(self.ask(server, command), "--zmq")

    def test_a_key_is_sent_where_one_is_needed(self):
        server = self.serve(*tiny(), environment={"TROUPE_API_KEY": "right,other"})
        self.assertEqual(self.ask(server, env={**os.environ, "TROUPE_API_KEY": "right"}).returncode, 0)
        self.assert_refused(self.ask(server, env={**os.environ, "TROUPE_API_KEY": "wrong"}), "API key")


class NoServer(TestCase):
    def test_where_nobody_listens_status_says_so(self):
        # Port 1 is privileged and has no server.
        self.assert_refused(run("status", "--zmq", "tcp://127.0.0.1:1", "--timeout-ms", "200"), "troupe serve")
        self.assert_refused(run("status", "--zmq", "nonsense"), "--zmq")
        self.assert_refused(run("status", "--url", "http://127.0.0.1:1", "--timeout-ms", "200"), "troupe serve", "--url")
        self.assert_refused(run("status", "--url", "nonsense"), "--url")


if __name__ == "__main__":
    main()
