#!/usr/bin/env python3
"""HTTP as its clients and their enemies meet it: whole answers and streams, limits, keys, TLS, clients that vanish."""
import http.client
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import urllib.request

from support import PATIENCE, TestCase, eventually, folder, main, run, serve_command, tiny

PROBES = {"/", "/live", "/ready", "/health"}


class HttpCase(TestCase):
    def connect(self, server):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def ask(self, server, path, body=None, connection=None, headers={}):
        """The status, and the body as JSON."""
        own = None if connection else self.connect(server)
        connection = connection or own
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"} | headers)
        response = connection.getresponse()
        content = response.read()
        if own:
            own.close()
        return response.status, json.loads(content) if "json" in response.headers["Content-Type"] else content

    def load(self, server, headers={}):
        status, load = self.ask(server, "/load", headers=headers)
        self.assertEqual(status, 200, load)
        return load

    def raw(self, server, content=b"", receive_bytes=None):
        client = socket.socket()
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect(("127.0.0.1", server.port))
        client.sendall(content)
        return client

    def post_bytes(self, body, path="/v1/completions"):
        content = json.dumps(body).encode()
        return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\n\r\n").encode() + content

    def endless(self, **fields):
        return {"prompt": "for ever", "max_tokens": 60000, "ignore_eos": True, "temperature": 0, "stream": True} | fields

    def no_request_is_left(self, server, headers={}):
        def is_so():
            load = self.load(server, headers)
            return (load["open_requests"], load["running"], load["waiting"], load["kv_owned"]) == (0, 0, 0, 0)
        eventually("every request has ended and every block is back", is_so)


def events_of(text):
    """The data of server-sent events."""
    return [line[6:] for line in text.split("\n") if line.startswith("data: ")]


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Answers(HttpCase):
    @classmethod
    def setUpClass(cls):
        from support import Server
        cls.server = Server(*tiny(context=65536))

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), self.server.log)
        self.no_request_is_left(self.server)

    def test_many_requests_share_a_connection_and_a_stream_says_what_the_whole_does(self):
        connection = self.connect(self.server)
        body = {"prompt": "hello", "max_tokens": 20, "temperature": 0}
        status, whole = self.ask(self.server, "/v1/completions", body, connection)
        self.assertEqual(status, 200, whole)
        socket_before = connection.sock
        for _ in range(3):
            connection.request("POST", "/v1/completions", json.dumps(body | {"stream": True}),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            self.assertEqual(response.headers["Content-Type"].split(";")[0], "text/event-stream")
            self.assertEqual(response.headers["Cache-Control"], "no-cache")
            events = events_of(response.read().decode())
            self.assertEqual(events.pop(), "[DONE]")
            text = "".join(choice["text"] for event in events for choice in json.loads(event)["choices"])
            self.assertEqual(text, whole["choices"][0]["text"])
        self.assertIs(connection.sock, socket_before)

    def test_many_clients_at_once_each_get_their_own(self):
        clients = [self.raw(self.server, self.post_bytes({"prompt": f"number {n}", "max_tokens": 8, "temperature": 0}))
                   for n in range(64)]
        texts = []
        for client in clients:
            response = http.client.HTTPResponse(client)
            response.begin()
            texts.append(json.loads(response.read())["choices"][0]["text"])
        for n in (0, 63):
            body = {"prompt": f"number {n}", "max_tokens": 8, "temperature": 0}
            self.assertEqual(self.ask(self.server, "/v1/completions", body)[1]["choices"][0]["text"], texts[n])

    def test_paths_and_methods_that_are_not_there(self):
        self.assertEqual(self.ask(self.server, "/v2/completions")[0], 404)
        connection = self.connect(self.server)
        connection.request("DELETE", "/v1/completions")
        response = connection.getresponse()
        self.assertEqual((response.status, response.headers["Allow"]), (405, "POST, OPTIONS"))

    def test_what_is_too_large_is_refused_by_its_status(self):
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for content, status in ((head + b"Content-Length: 33554433\r\n\r\n", 413),
                                (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
                                (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 130 + b"\r\n", 431),
                                (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414)):
            response = http.client.HTTPResponse(self.raw(self.server, content))
            response.begin()
            self.assertEqual(response.status, status)
            self.assertIn("message", json.loads(response.read())["error"])

    def test_malformed_requests_never_crash_it_and_are_never_its_fault(self):
        shuffled = random.Random(11)
        good = self.post_bytes({"prompt": "hello", "max_tokens": 2})
        pieces = [b"\r\n", b"\n", b"\0", b"\xff", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"{", b"\"", b"9" * 30]
        for _ in range(int(os.environ.get("TROUPE_FUZZ_CASES", 500)) // 10):
            clients = []
            for _ in range(10):
                content = bytearray(good)
                for _ in range(shuffled.randint(1, 5)):
                    at = shuffled.randrange(len(content) + 1)
                    if shuffled.random() < 0.5:
                        content[at:at] = shuffled.choice(pieces)
                    else:
                        del content[at:at + shuffled.randrange(6)]
                clients.append((bytes(content), self.raw(self.server, bytes(content) + b"\r\n\r\n")))
            for content, client in clients:
                client.settimeout(0.05)  # Of some the rest is still awaited.
                try:
                    answer = client.recv(4096)
                except (TimeoutError, ConnectionResetError):
                    answer = b""
                self.assertRegex(answer, rb"^(HTTP/1\.1 [1234]|$)", content)
                client.close()

    def test_a_client_that_vanishes_in_its_prefill_or_while_it_decodes_is_cancelled(self):
        for prompt in ("x" * 30000, "short"):
            for stream in (True, False):
                for leave in (reset, socket.socket.close):
                    client = self.raw(self.server, self.post_bytes(self.endless(prompt=prompt, stream=stream)))
                    eventually("it is there", lambda: self.load(self.server)["open_requests"] == 1)
                    if prompt == "short" and stream:
                        self.assertIn(b"200 OK", client.recv(4096))
                    leave(client)
                    self.no_request_is_left(self.server)

    def test_hundreds_of_vanishing_clients_leave_no_descriptor_and_no_block(self):
        shuffled = random.Random(5)
        self.ask(self.server, "/v1/completions", {"prompt": "x", "max_tokens": 2})
        self.no_request_is_left(self.server)
        before = self.server.descriptors()
        for _ in range(30):
            clients = []
            for _ in range(10):
                content = self.post_bytes(self.endless(prompt="x" * shuffled.randrange(1, 3000), n=shuffled.randint(1, 3)))
                clients.append(self.raw(self.server, content[:shuffled.randrange(len(content)) if shuffled.random() < 0.3 else None]))
            for client in clients:
                if shuffled.random() < 0.5:
                    client.settimeout(shuffled.random() / 20)
                    try:
                        client.recv(shuffled.randrange(1, 5000))
                    except OSError:
                        pass
                shuffled.choice((reset, socket.socket.close))(client)
        self.no_request_is_left(self.server)
        eventually("their descriptors are closed", lambda: self.server.descriptors() <= before + 1)


class SlowClients(HttpCase):
    def test_a_client_that_takes_nothing_is_cut_and_others_go_on(self):
        server = self.serve(*tiny("cpu", context=65536), "--client-timeout", "1")
        slow = self.raw(server, self.post_bytes(self.endless(logprobs=5, n=16)), receive_bytes=4096)
        eventually("it runs", lambda: self.load(server)["running"] == 16)
        self.assertEqual(self.ask(server, "/v1/completions", {"prompt": "other", "max_tokens": 20})[0], 200)
        self.no_request_is_left(server)
        try:
            while slow.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass

    def test_a_client_that_does_not_read_is_paused_and_gets_everything_when_it_does(self):
        server = self.serve(*tiny("cpu", context=65536))
        slow = self.raw(server, self.post_bytes(self.endless(logprobs=5, n=16, max_tokens=500)), receive_bytes=4096)
        eventually("it is paused", lambda: self.load(server)["paused"] == 16)
        response = http.client.HTTPResponse(slow)
        response.begin()
        events = events_of(response.read().decode())
        self.assertEqual(events.pop(), "[DONE]")
        tokens = sum(len(choice["logprobs"]["tokens"]) for event in events for choice in json.loads(event)["choices"]
                     if choice.get("logprobs"))
        self.assertEqual(tokens, 16 * 500)


class Access(HttpCase):
    def test_every_route_but_probes_and_the_page_needs_a_key(self):
        keys = folder / "keys"
        keys.write_text("from-a-file\n\nanother\n")
        server = self.serve(*tiny(), "--api-key-file", str(keys), environment={"TROUPE_API_KEY": "one, two"})
        status, document = self.ask(server, "/openapi.json", headers={"x-api-key": "one"})
        self.assertEqual(status, 200, document)
        self.assertLess(PROBES | {"/v1/embeddings", "/detokenize"}, set(document["paths"]))
        for path, methods in document["paths"].items():
            body = {} if "post" in methods else None
            path = path.replace("{model}", "x")
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": "one,two"}, {"Authorization": "one"}):
                status = self.ask(server, path, body, headers=headers)[0]
                self.assertEqual(status == 401, path not in PROBES, (path, headers))
            for headers in ({"Authorization": "Bearer one"}, {"x-api-key": "two"}, {"x-api-key": "from-a-file"},
                            {"Authorization": "bearer another"}):
                self.assertNotEqual(self.ask(server, path, body, headers=headers)[0], 401, (path, headers))

    def test_without_keys_any_bearer_passes(self):
        server = self.serve(*tiny())
        self.assertEqual(self.ask(server, "/version", headers={"Authorization": "Bearer anything"})[0], 200)

    def test_other_machines_are_let_in_by_consent_or_with_a_key(self):
        self.assert_refused(run(*serve_command("--host", "0.0.0.0"), *tiny()), "--allow-open-access", "--api-key-file")
        for more, environment in ((["--allow-open-access"], {}), ([], {"TROUPE_API_KEY": "x"})):
            server = self.serve(*tiny(), "--host", "0.0.0.0", *more, environment=environment)
            self.assertEqual(self.ask(server, "/live")[0], 200)

    def test_a_source_of_keys_without_any_is_an_error(self):
        empty = folder / "empty-keys"
        empty.write_text("\n")
        self.assert_refused(run(*serve_command("--api-key-file", empty), *tiny()), "empty-keys")
        self.assert_refused(run(*serve_command("--api-key-file", folder / "none"), *tiny()), "--api-key-file")
        self.assert_refused(run(*serve_command(), *tiny(), env=os.environ | {"TROUPE_API_KEY": ""}), "TROUPE_API_KEY")

    def test_an_origin_that_was_named_may_read(self):
        server = self.serve(*tiny(), "--cors-origin", "https://a.example", "--cors-origin", "https://b.example")
        for origin, allowed in (("https://b.example", "https://b.example"), ("https://c.example", None)):
            connection = self.connect(server)
            connection.request("GET", "/version", headers={"Origin": origin})
            self.assertEqual(connection.getresponse().headers["Access-Control-Allow-Origin"], allowed)


class Tls(HttpCase):
    def test_it_serves_over_tls_and_over_nothing_else_there(self):
        certificate, key = folder / "cert.pem", folder / "key.pem"
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                               "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True)
        if made.returncode:
            self.skipTest("there is no openssl command")
        self.assert_refused(run(*serve_command("--tls-cert", certificate), *tiny()), "--tls-key")
        self.assert_refused(run(*serve_command("--tls-cert", key, "--tls-key", key), *tiny()), "--tls-cert")
        server = self.serve(*tiny(context=65536), "--tls-cert", str(certificate), "--tls-key", str(key))
        self.assertTrue(server.url.startswith("https://"))
        context = ssl.create_default_context(cafile=certificate)
        request = urllib.request.Request(server.url + "/v1/completions", json.dumps({"prompt": "hello", "max_tokens": 4}).encode(),
                                         {"Content-Type": "application/json"})
        self.assertEqual(len(json.loads(urllib.request.urlopen(request, context=context).read())["choices"]), 1)
        encrypted = context.wrap_socket(self.raw(server), server_hostname="127.0.0.1")
        encrypted.sendall(self.post_bytes(self.endless()))
        self.assertIn(b"200 OK", encrypted.recv(4096))
        encrypted.close()  # In the middle of a stream.
        eventually("it is cancelled", lambda: json.loads(
            urllib.request.urlopen(server.url + "/load", context=context).read())["open_requests"] == 0)
        self.raw(server, b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").recv(100)  # Nothing of HTTP comes back.
        with self.assertRaises(OSError):
            urllib.request.urlopen(server.url.replace("https", "http") + "/live")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.minimum_version = context.maximum_version = version
            self.assertEqual(urllib.request.urlopen(server.url + "/live", context=context).status, 200)


if __name__ == "__main__":
    main()
