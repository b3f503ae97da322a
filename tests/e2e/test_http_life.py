#!/usr/bin/env python3
"""A server's start and end as they are seen over HTTP: ports, probes, and signals."""
import json
import re
import signal
import socket
import subprocess
import time

from support import PATIENCE, Server, eventually, main, run, serve_command, tiny, troupe
from test_http import HttpCase, events_of


class Start(HttpCase):
    def test_a_taken_port_is_an_error_with_its_number_and_its_owner_goes_on(self):
        server = self.serve(*tiny())
        self.assert_refused(run("serve", "--port", str(server.port), *tiny()), str(server.port), "--port")
        self.assertEqual(self.ask(server, "/live")[0], 200)

    def test_two_servers_on_one_machine_do_not_clash(self):
        servers = [self.serve(*tiny()) for _ in range(2)]
        self.assertNotEqual(servers[0].port, servers[1].port)
        for server in servers:
            self.assertEqual(self.ask(server, "/v1/completions", {"prompt": "x", "max_tokens": 2})[0], 200)

    def test_a_host_that_is_not_here_is_an_error(self):
        self.assert_refused(run("serve", "--host", "192.0.2.1", "--port", "0", "--allow-open-access", *tiny()), "--host")

    def test_the_model_may_be_an_argument_and_zeromq_is_off(self):
        model = tiny()[1]
        process = subprocess.Popen([troupe(), "serve", model, "--port", "0", "--backend", "reference"], stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        lines = [process.stderr.readline() for _ in range(2)]
        self.assertRegex(lines[1], r"Listening on http://127\.0\.0\.1:\d+\. Ctrl-C stops\.\n$")
        self.assertEqual(run("serve", model, "--model", model).returncode, 2)

    def test_it_lives_before_it_is_ready(self):
        process = subprocess.Popen([troupe(), *serve_command(*tiny(layers=6, width=256))], stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        server = Server.__new__(Server)
        server.url = re.search(r"http\S+", process.stderr.readline())[0]
        self.assertEqual(self.ask(server, "/live")[0], 200)
        self.assertIn(self.ask(server, "/ready")[0], (200, 503))
        eventually("it is ready", lambda: self.ask(server, "/ready")[0] == 200)
        self.assertEqual(self.ask(server, "/health")[0], 200)

    def test_probes_say_what_it_is(self):
        server = self.serve(*tiny(context=4096), "--served-model-name", "little")
        self.assertRegex(self.ask(server, "/version")[1]["version"], r"^\d+\.\d+")
        models = self.ask(server, "/v1/models")[1]
        self.assertEqual([models["object"], models["data"][0]["id"], models["data"][0]["max_model_len"]], ["list", "little", 4096])
        in_file = models["data"][1]["id"]  # What the file says is taken, too.
        for name, status in (("little", 200), (in_file, 200), ("other", 404)):
            self.assertEqual(self.ask(server, "/v1/completions", {"model": name, "prompt": "a", "max_tokens": 1})[0], status)
        self.assertEqual(self.ask(server, "/health")[0], 200)
        load = self.load(server)
        self.assertEqual((load["running"], load["waiting"], load["kv_usage"]), (0, 0, 0.0))


class Overload(HttpCase):
    def test_one_request_too_many_is_429_with_a_time_to_come_back(self):
        server = self.serve(*tiny(context=65536), "--max-queued-requests", "1")
        self.raw(server, self.post_bytes(self.endless())).recv(100)
        connection = self.connect(server)
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "x"}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        self.assertEqual(response.status, 429)
        self.assertGreaterEqual(int(response.headers["Retry-After"]), 1)
        self.assertIn("error", json.loads(response.read()))


class End(HttpCase):
    def start_stream(self, server, **fields):
        client = self.raw(server, self.post_bytes(self.endless(**fields)))
        return client, client.recv(100)

    def rest(self, client):
        content = b""
        while part := client.recv(1 << 16):
            content += part
        return content

    def test_a_signal_lets_open_requests_finish_and_takes_no_more(self):
        server = self.serve(*tiny("cpu", context=65536))
        client = self.raw(server, self.post_bytes(self.endless(logprobs=5, n=16, max_tokens=500)), receive_bytes=4096)
        eventually("it waits for its client", lambda: self.load(server)["paused"] == 16)
        self.assertEqual(self.ask(server, "/ready")[0], 200)
        server.process.send_signal(signal.SIGTERM)
        since = time.monotonic()
        while self.ask(server, "/ready")[0] == 200:
            pass
        self.assertLess(time.monotonic() - since, 0.1)
        self.assertEqual(self.ask(server, "/v1/completions", {"prompt": "late"})[0], 503)
        self.assertEqual(self.ask(server, "/live")[0], 200)
        events = events_of(self.rest(client).decode())
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(server.process.wait(PATIENCE), 0)
        server.reader.join()
        self.assertRegex(server.log[-1], r"Z info: stopping\.\n$")

    def test_requests_over_zeromq_finish_too(self):
        server = self.serve(*tiny(context=65536))
        client = self.client(server)
        client.ask(1, "hello", max_tokens=50, ignore_eos=True, credit=2)
        client.wait(1, tokens=2)
        server.process.send_signal(signal.SIGTERM)
        eventually("it drains", lambda: self.ask(server, "/ready")[0] == 503)
        client.send(type="credit_grant", id=1, tokens=50)
        self.assertEqual(len(client.wait(1).tokens), 50)
        self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_a_second_signal_stops_at_once(self):
        server = self.serve(*tiny(context=65536))
        client, _ = self.start_stream(server)
        server.process.send_signal(signal.SIGTERM)
        eventually("it drains", lambda: self.ask(server, "/ready")[0] == 503)
        self.assertIsNone(server.process.poll())
        since = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - since, 5)
        self.assertNotIn(b"[DONE]", self.rest(client))

    def test_requests_that_do_not_finish_in_time_are_cut(self):
        server = self.serve(*tiny(context=65536), "--shutdown-timeout", "1")
        client, _ = self.start_stream(server)
        since = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - since, 8)

    def test_an_idle_server_stops_at_once_whatever_connections_there_are(self):
        server = self.serve(*tiny())
        connections = [self.raw(server, b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(20)]
        for connection in connections:
            connection.recv(1000)
        since = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - since, 5)

    def test_idle_connections_use_no_processor(self):
        server = self.serve(*tiny())
        for _ in range(100):
            self.raw(server, b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").recv(1000)
        before = server.cpu_seconds()
        time.sleep(1)
        self.assertLessEqual(server.cpu_seconds() - before, 0.03)


if __name__ == "__main__":
    main()
