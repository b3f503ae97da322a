#!/usr/bin/env python3
"""`troupe serve`: its start, its end, what it costs while it idles and what is left after many requests."""
import os
import signal
import subprocess
import time

from support import PATIENCE, Server, TestCase, eventually, folder, main, run, serve_command, tiny, troupe


class StartAndEnd(TestCase):
    def test_signals_stop_it_cleanly(self):
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            server = self.serve(*tiny())
            self.client(server).complete(1, "hello", max_tokens=5)
            self.assertTrue(server.socket_file.exists())
            self.assertEqual(server.stop(signal_number), 0)
            self.assertFalse(server.socket_file.exists(), "the socket's file is left")
            server.reader.join()
            self.assertRegex(server.log[-1], r"Z info: stopping\.\n$")
            self.assertEqual(server.process.stdout.read(), "")

    def test_it_stops_while_it_answers_and_every_request_gets_its_end(self):
        server = self.serve(*tiny(context=65536), "--shutdown-timeout", "0")
        clients = [self.client(server) for _ in range(10)]
        for client in clients:
            client.ask(1, "for ever", max_tokens=60000, ignore_eos=True)
        for client in clients:
            client.wait(1, tokens=2)
        self.assertEqual(server.stop(), 0)
        for client in clients:
            end = client.wait(1).end
            self.assertEqual((end["reason"], end["code"]), ("error", 13), end)

    def test_a_signal_before_it_is_ready_stops_it_too(self):
        for wait in (0, 0.005, 0.02):
            process = subprocess.Popen([troupe(), *serve_command("--zmq", f"ipc://{folder}/early"), *tiny(layers=6, width=256)],
                                       stderr=subprocess.DEVNULL)
            time.sleep(wait)  # Any moment will do.
            process.send_signal(signal.SIGTERM)
            self.assertIn(process.wait(PATIENCE), (0, -signal.SIGTERM))
            self.assertFalse((folder / "early").exists())

    def test_a_taken_endpoint_is_an_error_and_its_owner_goes_on(self):
        for endpoint in ("tcp://127.0.0.1:*", None):
            server = self.serve(*tiny(), endpoint=endpoint)
            result = run(*serve_command("--zmq", server.endpoint), *tiny())
            self.assert_refused(result, server.endpoint, "--zmq")
            self.client(server).complete(1, "still there", max_tokens=3)
            self.assertEqual(server.stop(), 0)

    def test_the_file_of_a_server_that_was_killed_does_not_stop_the_next_one(self):
        server = self.serve(*tiny())
        server.kill()
        self.assertTrue(server.socket_file.exists())
        self.client(self.serve(*tiny(), endpoint=server.endpoint)).complete(1, "hello", max_tokens=3)

    def test_a_file_that_is_no_socket_is_not_deleted(self):
        precious = folder / "precious"
        precious.write_text("my diary")
        self.assert_refused(run(*serve_command("--zmq", f"ipc://{precious}"), *tiny()), "precious", "--zmq")
        self.assertEqual(precious.read_text(), "my diary")

    def test_an_endpoint_that_is_none_is_an_error(self):
        for endpoint in ("nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://256.1.1.1:5", "",
                         "http://127.0.0.1:80", f"ipc://{folder}/no/such/folder", "ipc://" + "x" * 200):
            with self.subTest(endpoint=endpoint):
                self.assert_refused(run(*serve_command("--zmq", endpoint), *tiny()), "--zmq")

    def test_a_server_that_was_stopped_and_continued_serves_on(self):
        server = self.serve(*tiny(context=65536))
        client = self.client(server)
        client.ask(1, "for ever", max_tokens=60000, ignore_eos=True)
        client.wait(1, tokens=5)
        server.process.send_signal(signal.SIGSTOP)
        eventually("it is stopped", lambda: server.stat()[0] == "T")
        server.process.send_signal(signal.SIGCONT)
        client.wait(1, tokens=len(client.answers[1].tokens) + 200)
        client.send(type="cancel_request", id=1)
        client.wait(1)

    def test_it_serves_with_standard_descriptors_closed(self):
        def close_all():
            for descriptor in (0, 1, 2):
                os.close(descriptor)
        path = folder / "bare"
        process = subprocess.Popen([troupe(), *serve_command("--zmq", f"ipc://{path}"), *tiny()], preexec_fn=close_all)
        eventually("it listens", path.exists)
        server = Server.__new__(Server)
        server.endpoint = f"ipc://{path}"
        self.client(server).complete(1, "hello", max_tokens=3)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)


class Costs(TestCase):
    def test_an_idle_server_uses_no_processor(self):
        server = self.serve(*tiny())
        clients = [self.client(server) for _ in range(8)]
        for client in clients:
            client.complete(1, "hello", max_tokens=20)
        clients[0].ask(2, "paused", max_tokens=20, credit=2)
        clients[0].wait(2, tokens=2)
        before = server.cpu_seconds()
        time.sleep(1)
        self.assertLessEqual(server.cpu_seconds() - before, 0.02)  # Two ticks; one thread that polls takes a hundred.

    def test_a_thousand_requests_leak_no_descriptor_and_no_memory(self):
        server = self.serve(*tiny(), "--kv-tokens", "512")  # Few, so that 200 requests touch all the memory of the cache.
        client = self.client(server)
        sizes = {}
        for number in range(1, 1001):
            fields = {"prompt": f"request {number} ", "max_tokens": 4, "temperature": number % 2 / 1, "seed": number}
            client.complete(number, **fields)
            del client.answers[number]
            if number in (200, 1000):
                sizes[number] = (server.resident_bytes(), server.descriptors())
        self.assertEqual(sizes[1000][1], sizes[200][1])
        self.assertLess(sizes[1000][0] - sizes[200][0], 1 << 20)
        self.assertEqual(client.others, [])

    def test_hundreds_of_connections_leak_no_descriptor(self):
        server = self.serve(*tiny())
        self.client(server).complete(1, "hello", max_tokens=2)
        before = server.descriptors()
        for number in range(300):
            client = self.client(server)
            client.complete(1, "hello", max_tokens=2)
            client.close()
        eventually("their descriptors are closed", lambda: server.descriptors() <= before)


if __name__ == "__main__":
    main()
