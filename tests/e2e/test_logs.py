#!/usr/bin/env python3
"""What `troupe serve` says on stderr: in both formats, at its levels, and what it never says."""
import fcntl
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from support import PATIENCE, Client, Server, eventually, folder, main, run, serve_command, tiny, troupe
from test_http import HttpCase

SECRET = "zebra crossing"
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error): [^\x00-\x1f\x7f]+\n$")
JSON = ["--log-format", "json"]


class LogCase(HttpCase):
    def entries(self, server):
        """Of a server that says JSON; each has what all have."""
        entries = [json.loads(line) for line in server.log]
        for entry in entries:
            self.assertRegex(entry["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertIn(entry["level"], ("debug", "info", "warning", "error"))
            self.assertTrue(entry["event"] and entry["message"], entry)
        return entries

    def entry(self, server, event, **fields):
        """The one with these, once it is there."""
        def found():
            return [entry for entry in self.entries(server) if entry["event"] == event and fields.items() <= entry.items()]
        eventually(f"{event} {fields}", found)
        self.assertEqual(len(found()), 1)
        return found()[0]

    def ask_secretly(self, server):
        """The prompt in all its forms; and an answer that has it, for it is echoed."""
        for path, body in (("/v1/completions", {"prompt": SECRET, "echo": True}), ("/v1/completions", {"prompt": [SECRET], "stream": True}),
                           ("/v1/chat/completions", {"messages": [{"role": "user", "content": SECRET}]}),
                           ("/v1/responses", {"input": SECRET}),
                           ("/v1/messages", {"messages": [{"role": "user", "content": SECRET}]}),
                           ("/v1/completions", {"prompt": SECRET, "no such field": SECRET}), ("/tokenize", {"prompt": SECRET})):
            limit = {"max_output_tokens": 3} if "input" in body else {"max_tokens": 3} if path != "/tokenize" else {}
            self.assertIn(self.ask(server, path, body | limit)[0], (200, 400), path)
        client = self.client(server)
        client.complete(1, SECRET, max_tokens=3, echo=True)
        client.complete(2, messages=[{"role": "user", "content": SECRET}], max_tokens=3)
        client.complete(3, SECRET, max_tokens=3, stop=[SECRET], bad_words=[SECRET], cache_salt=SECRET, nonsense=SECRET)


class Formats(LogCase):
    def test_text_is_a_line_an_entry(self):
        server = self.serve(*tiny())
        self.ask(server, "/v1/completions", {"prompt": "x", "max_tokens": 2}, headers={"x-request-id": "mine-1"})
        self.assertEqual(server.stop(), 0)
        for line in server.log:
            self.assertRegex(line, LINE)
        ended, = [line for line in server.log if " request=mine-1 " in line]
        self.assertRegex(ended, r" info: request ended request=mine-1 reason=(stop|length) prompt_tokens=\d+ cached_prompt_tokens=0 "
                                r"completion_tokens=\d queue_ms=\d+\.\d prefill_ms=\d+\.\d decode_ms=\d+\.\d total_ms=\d+\.\d\n$")
        self.assertIn("the model is being loaded.", server.log[0])

    def test_json_has_events_for_programs(self):
        server = JsonServer(*tiny(), "--log-level", "debug")
        self.addCleanup(server.kill)
        self.ask(server, "/v1/completions", {"prompt": "x", "max_tokens": 2}, headers={"x-request-id": "mine"})
        client = self.client(server)
        client.complete(5, "x", max_tokens=2)
        client.complete(6, [999999])
        taken = self.entry(server, "request_taken", request="mine")
        self.assertEqual((taken["level"], taken["n"], taken["max_tokens"]), ("debug", 1, 2))
        ended = self.entry(server, "request_ended", request="mine")
        self.assertEqual((ended["level"], ended["prompt_tokens"] > 0, ended["completion_tokens"] > 0), ("info", True, True))
        self.assertGreaterEqual(ended["total_ms"], ended["queue_ms"])
        answered = self.entry(server, "http_answer", request="mine")
        self.assertEqual((answered["status"], answered["method"], answered["path"]), (200, "POST", "/v1/completions"))
        self.assertTrue(answered["client"].startswith("127.0.0.1:"))
        self.entry(server, "request_ended", request="zmq-1-5")
        self.assertEqual(self.entry(server, "request_refused", request="zmq-1-6")["error"], "invalid_argument")
        self.entry(server, "client_came", connection=1)
        self.assertEqual(server.stop(), 0)
        events = [entry["event"] for entry in self.entries(server)]
        self.assertEqual([event for event in events if event in ("start", "ready", "draining", "stop")],
                         ["start", "ready", "draining", "stop"])

    def test_a_level_says_that_and_what_is_worse(self):
        said = {}
        for level in ("debug", "info", "warning", "error"):
            endpoint = f"ipc://{folder}/level-{level}"
            process = subprocess.Popen([troupe(), *serve_command("--zmq", endpoint, *tiny(), *JSON, "--log-level", level)],
                                       stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.kill)
            client = Client(endpoint)  # Its hello waits for the server.
            self.addCleanup(client.close)
            client.complete(1, "x", max_tokens=2)
            process.send_signal(signal.SIGTERM)
            said[level] = {json.loads(line)["level"] for line in process.communicate(timeout=PATIENCE)[1].splitlines()}
            self.assertEqual(process.returncode, 0)
        self.assertEqual(said, {"debug": {"debug", "info"}, "info": {"info"}, "warning": set(), "error": set()})
        self.assertEqual(run(*serve_command(), *tiny(), "--log-level", "loud").returncode, 2)

    def test_a_start_that_fails_is_an_entry_too(self):
        result = run(*serve_command(), "--model", folder / "nothing", *JSON)
        self.assertEqual(result.returncode, 1)
        entries = [json.loads(line) for line in result.stderr.splitlines()]
        self.assertEqual((entries[-1]["level"], entries[-1]["event"]), ("error", "failed"))
        self.assertIn("nothing", entries[-1]["message"])


class JsonServer(Server):
    """Says JSON, with ZeroMQ."""
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, *JSON, **more)


class Secrets(LogCase):
    def test_prompts_and_answers_are_nowhere_however_much_is_said(self):
        trace = folder / "secret.json"
        for more in ([], JSON):
            server = Server(*tiny(context=4096), "--log-level", "debug", "--trace", trace, *more)
            self.addCleanup(server.kill)
            self.ask_secretly(server)
            self.assertEqual(server.stop(), 0)
            self.assertGreater(len(server.log), 20)
            for line in server.log + trace.read_text().splitlines():
                self.assertNotIn("zebra", line)

    def test_prompts_are_shown_where_that_is_wanted_at_debug_alone(self):
        refused = run(*serve_command(), *tiny(), "--log-prompts")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("--log-level debug", refused.stderr)
        server = JsonServer(*tiny(context=4096), "--log-level", "debug", "--log-prompts")
        self.addCleanup(server.kill)
        client = self.client(server)
        client.complete(1, f"{SECRET}\nand more", max_tokens=3)
        self.assertEqual(self.entry(server, "request_taken", request="zmq-1-1")["prompt"], f"{SECRET}\nand more")

    def test_what_a_client_calls_itself_writes_no_line_of_its_own(self):
        server = self.serve(*tiny(), "--log-level", "debug")
        evil = 'x" level=error info:{"event":"ready"}'
        for id in (evil.replace(" ", ""), evil, "y" * 200, "é"):
            head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nx-request-id: {id}\r\nContent-Type: application/json\r\n"
            body = b'{"prompt": "x", "max_tokens": 1}'
            client = self.raw(server, head.encode() + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            while client.recv(4096):
                pass
        self.raw(server, b"GET /\x1b[2J\r\nx HTTP/1.1\r\n\r\n").recv(4096)
        self.assertEqual(server.stop(), 0)
        for line in server.log:
            self.assertRegex(line, LINE)
        ends = [line for line in server.log if " request ended " in line]
        self.assertEqual(len(ends), 4)
        for line in ends:
            self.assertRegex(line, r" request=req_[0-9a-f]{32} ")


class Events(LogCase):
    def test_who_may_not_come_in_is_told(self):
        server = JsonServer(*tiny(), environment={"TROUPE_API_KEY": "the-key"})
        self.addCleanup(server.kill)
        self.assertEqual(self.ask(server, "/v1/models", headers={"Authorization": "Bearer wrong-key"})[0], 401)
        refused = self.entry(server, "client_refused")
        self.assertEqual((refused["status"], refused["path"]), (401, "/v1/models"))
        self.assertNotIn("-key", "".join(server.log))

    def test_a_client_that_does_not_read_is_told_of_when_it_is_cut(self):
        server = JsonServer(*tiny("cpu", context=65536), "--client-timeout", "1")
        self.addCleanup(server.kill)
        self.raw(server, self.post_bytes(self.endless(logprobs=5, n=16)), receive_bytes=4096)
        cut = self.entry(server, "client_cut")
        self.assertGreater(cut["unsent_bytes"], 0)
        self.assertEqual(cut["path"], "/v1/completions")

    def test_workers_that_die_and_others_that_begin_are_told(self):
        server = JsonServer(*tiny(context=65536), "--workers", "process")
        self.addCleanup(server.kill)
        client = self.client(server)
        client.ask(1, "on and on", max_tokens=60000, ignore_eos=True)
        client.wait(1, tokens=5)
        workers = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True).stdout.split()
        os.kill(int(workers[0]), signal.SIGKILL)
        self.assertEqual(self.entry(server, "workers_lost")["level"], "warning")
        self.assertIn("are ready after", self.entry(server, "workers_ready")["message"])

    def test_lines_that_nobody_reads_hold_up_no_request(self):
        """Standard error is a pipe that is full: requests are answered all the same, and a line says what was lost."""
        reading, writing = os.pipe()
        process = subprocess.Popen([troupe(), *serve_command(*tiny(), *JSON, "--log-level", "debug")], stderr=writing)
        os.close(writing)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        seen = b""
        while b'"ready"' not in seen:
            seen += os.read(reading, 1 << 16)
        server = Server.__new__(Server)
        server.url = re.search(rb"http://[0-9.:]+", seen)[0].decode().rstrip(".")
        connection = self.connect(server)
        for _ in range(9500):
            self.assertEqual(self.ask(server, "/live", connection=connection)[0], 200)
        rest = bytearray()
        while b"log_lost" not in rest:
            self.ask(server, "/live", connection=connection)
            rest += os.read(reading, 1 << 20)
        os.close(reading)
        lost, = [json.loads(line) for line in rest.decode().splitlines()[1:-1] if "log_lost" in line][:1]
        self.assertGreater(lost["lines"], 0)


    def test_lines_that_nobody_reads_do_not_keep_it_from_ending(self):
        for impatient in (False, True):
            with self.subTest(impatient=impatient):
                reading, writing = os.pipe()
                process = subprocess.Popen([troupe(), *serve_command(*tiny(), *JSON, "--log-level", "debug")], stderr=writing)
                os.close(writing)
                self.addCleanup(os.close, reading)
                self.addCleanup(process.wait)
                self.addCleanup(process.kill)
                seen = b""
                while b'"ready"' not in seen:
                    seen += os.read(reading, 1 << 16)
                fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
                server = Server.__new__(Server)
                server.url = re.search(rb"http://[0-9.:]+", seen)[0].decode().rstrip(".")
                connection = self.connect(server)
                for _ in range(100):
                    self.assertEqual(self.ask(server, "/live", connection=connection)[0], 200)
                connection.close()
                process.send_signal(signal.SIGTERM)
                while impatient and process.poll() is None:  # The engine takes some; the next one ends what waits for the log.
                    process.send_signal(signal.SIGTERM)
                    time.sleep(0.05)
                self.assertEqual(process.wait(PATIENCE), -signal.SIGTERM if impatient else 0)


class Signals(LogCase):
    def test_a_signal_in_the_first_moments_ends_it_in_order(self):
        """From the moment on in which the process can say anything about signals at all."""
        def blocked(process):
            mask = re.search(r"^SigBlk:\s*([0-9a-f]+)", Path(f"/proc/{process.pid}/status").read_text(), re.M)
            return int(mask[1], 16) >> (signal.SIGTERM - 1) & 1
        for delay in [0] * 10 + [0.001, 0.002, 0.005, 0.01, 0.02, 0.05]:
            process = subprocess.Popen([troupe(), *serve_command(*tiny(layers=6, width=256))], stderr=subprocess.PIPE, text=True)
            eventually("signals are watched", lambda: blocked(process) or process.poll() is not None)
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, said)
            self.assertRegex(said.splitlines()[-1], r"Z info: stopping( before the model is loaded)?\.$")


if __name__ == "__main__":
    main()
