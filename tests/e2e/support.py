"""What the end-to-end tests share: the binary, small models to run, a server and its clients.

A test is called as `test_X.py TROUPE WRITE_TINY_MODEL`. The Python needs pyzmq and msgpack: where the one that runs it
lacks them, the one named in TROUPE_PYTHON is taken instead; where that lacks them too, the test is skipped (77).
"""
import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

try:
    import msgpack
    import zmq
except ImportError as missing:
    other = os.environ.get("TROUPE_PYTHON")
    if other and "TROUPE_E2E_AGAIN" not in os.environ:
        os.environ["TROUPE_E2E_AGAIN"] = "1"
        os.execv(other, [other, *sys.argv])
    print(f"skipped: {missing} (pip install pyzmq msgpack)")
    sys.exit(77)

ROOT = Path(__file__).resolve().parent.parent.parent
REAL_MODEL = Path(os.environ.get("TROUPE_TEST_MODEL")
                  or Path.home() / ".cache/troupe/models/SmolLM2-135M-Instruct.Q4_1.gguf")
PATIENCE = int(os.environ.get("TROUPE_TEST_PATIENCE", 60))  # Seconds after which what has not come will not come, on the slowest machine.
END_TOKENS = {0, 2}  # Of the tiny model: <|endoftext|> and <|im_end|>.
folder = Path(tempfile.mkdtemp(prefix="troupe-e2e-"))
atexit.register(shutil.rmtree, folder, ignore_errors=True)


def troupe():
    return sys.argv[1]


def needs_real_model(test):
    return unittest.skipUnless(REAL_MODEL.exists(), f"there is no model at {REAL_MODEL} (run tools/fetch-model)")(test)


def tiny_model(**options):
    """The path of a model of 100 KB that talks nonsense; the options are those of write_tiny_model."""
    name = "-".join(["tiny", *(f"{key}-{value}" for key, value in options.items())]) + ".gguf"
    path = folder / name
    if not path.exists():
        arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        subprocess.run([sys.argv[2], path, *arguments], check=True)
    return path


def tiny(backend="reference", **options):
    """Options of troupe that make it run a tiny model, by default on the backend that is the oracle of the others."""
    return ["--model", str(tiny_model(**options)), "--backend", backend]


def serve_command(*arguments):
    """Of a server on a free port; without ZeroMQ, unless the arguments say so."""
    return ["serve", "--port", "0", *arguments]


def run(*arguments, stdin=subprocess.DEVNULL, text=True, **more):
    """Runs troupe. `stdin` is a file or what is to be read from it."""
    given = {"stdin": stdin} if isinstance(stdin, int) or hasattr(stdin, "fileno") else {"input": stdin}
    return subprocess.run([troupe(), *map(os.fspath, arguments)], capture_output="stdout" not in more, text=text,
                          timeout=PATIENCE, **given, **more)


def eventually(what, is_so):
    """Waits until it is so. Only for what has no message to wait for."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"not in {PATIENCE} s: {what}")
        time.sleep(0.01)


class TestCase(unittest.TestCase):
    def assert_refused(self, result, *words, code=1):
        """It ended with a sentence on stderr, and nothing on stdout; a server may have listened already."""
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertFalse(result.stdout)
        lines = [line for line in result.stderr.strip().splitlines() if "the model is being loaded." not in line]
        last = lines[-1]
        self.assertRegex(last, r"^(troupe|\S+Z error): [A-Z/-].*\.$")
        self.assertEqual(len(lines), 1, result.stderr)
        for word in words:
            self.assertIn(word, last)

    def run_json(self, *arguments, **more):
        result = run("run", "--json", *arguments, **more)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def serve(self, *arguments, **more):
        server = Server(*arguments, **more)
        self.addCleanup(self.check_and_kill, server)
        return server

    def check_and_kill(self, server):
        """Whatever a test has done to a server, what must always be true of its engine still is."""
        try:
            if server.process.poll() is None:
                checked = run("status", "--zmq", server.endpoint, "--check")
                if "--admin-zmq" not in checked.stderr:  # It does not take commands there.
                    self.assertEqual(checked.returncode, 0, checked.stderr)
        finally:
            server.kill()

    def client(self, server, hello=True):
        client = Client(server.endpoint, hello)
        self.addCleanup(client.close)
        return client


class Server:
    """A `troupe serve`, ready for clients: at `url` over HTTP, at `endpoint` over ZeroMQ. program: what runs it instead of the
    binary, which keeps its process id."""
    count = 0

    def __init__(self, *arguments, endpoint=None, environment=None, program=None):
        Server.count += 1
        self.socket_file = folder / f"server-{Server.count}"
        command = serve_command("--zmq", endpoint or f"ipc://{self.socket_file}", *arguments)
        self.process = subprocess.Popen([*(program or [troupe()]), *command],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=os.environ | (environment or {}))
        self.log, self.said_at = [], []  # Lines, and when they came, by this machine's clock.
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not self.ready.wait(PATIENCE) or not self.endpoint:
            self.kill()
            raise AssertionError(f"the server does not listen: {self.log}")

    endpoint = url = None

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def read(self):
        for line in self.process.stderr:
            self.said_at.append(time.monotonic())
            self.log.append(line)
            found = re.search(r"Listening on (\S+) and (\S+)\. ", line)
            if found:
                self.url, self.endpoint = found[1], found[2]
                self.ready.set()
        self.ready.set()

    def stop(self, signal_number=signal.SIGTERM):
        """Asks it to stop, and returns its exit code. All that it has said is in `log` then."""
        self.process.send_signal(signal_number)
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_bytes(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stat(self):
        """What /proc/PID/stat says, from the state on."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()

    def cpu_seconds(self):
        fields = self.stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Answer:
    """What came for one request. Checks the order of what comes. `tokens` and `text` are of its first answer."""

    def __init__(self):
        self.choices, self.end = {}, None
        self.first_at = None  # When its first token came, by this machine's clock.

    def choice(self, index):
        return self.choices.setdefault(index, {"tokens": [], "text": "", "logprobs": [], "top_logprobs": []})

    tokens = property(lambda self: self.choice(0)["tokens"])
    text = property(lambda self: self.choice(0)["text"])

    def take(self, message):
        assert self.end is None, f"after its end came {message}"
        if message["type"] == "request_end":
            self.end = message
            return
        assert message["type"] == "token_delta", message
        self.first_at = self.first_at or time.monotonic()
        choice = self.choice(message["choice"])
        assert message["position"] == len(choice["tokens"]), (message, len(choice["tokens"]))
        assert message["token_ids"] or message["text"] or "prompt_logprobs" in message, message
        choice["tokens"] += message["token_ids"]
        choice["text"] += message["text"]
        if "logprobs" in message:
            assert message["logprobs"]["tokens"] == message["token_ids"], message
            choice["logprobs"] += message["logprobs"]["logprobs"]
            choice["top_logprobs"] += message["logprobs"].get("top_logprobs", [])  # One token's after the other's.

    def result(self):
        """All that must be the same whenever the same request is sent."""
        keys = ("reason", "prompt_tokens", "completion_tokens", "code", "message")
        return self.tokens, self.text, {key: self.end[key] for key in keys if key in self.end}


def parts_of(message):
    """A frame as the messages that it stands for, with the defaults of what was left out."""
    if message["type"] == "token_delta":
        return [{"choice": 0, "position": 0, "token_ids": [], "text": ""} | message]
    if message["type"] != "step_deltas":
        return [message]
    deltas = [part for delta in message.get("deltas", []) for part in parts_of({"type": "token_delta"} | delta)]
    return deltas + [{"type": "request_end"} | end for end in message.get("ends", [])]


class Client:
    """One connection: a DEALER of its own."""
    context = zmq.Context()

    def __init__(self, endpoint, hello=True, key=None, server_key=None):
        """key, server_key: our secret key and the server's public one."""
        self.socket = self.context.socket(zmq.DEALER)
        if key:
            self.socket.curve_secretkey, self.socket.curve_publickey = key, zmq.curve_public(key)
            self.socket.curve_serverkey = server_key
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.connect(endpoint)
        self.parts = []  # Of a frame that has come, those that have not been taken.
        self.answers = {}
        self.others = []  # What is about no request.
        if hello:
            self.hello()

    def close(self):
        self.socket.close()

    def hello(self):
        self.send(type="hello", version=2)
        welcome = self.next()
        assert welcome["type"] == "welcome", welcome
        return welcome

    def send(self, **message):
        self.socket.send(msgpack.packb(message))

    def next(self, patience=PATIENCE):
        """The next message; those of a step's frame come one by one."""
        while not self.parts:
            self.parts = parts_of(self.next_frame(patience))
        return self.parts.pop(0)

    def next_frame(self, patience=PATIENCE):
        if not self.socket.poll(patience * 1000):
            raise AssertionError(f"nothing came in {patience} s; so far: "
                                 f"{[(id, len(a.tokens), a.end) for id, a in self.answers.items()]}")
        return msgpack.unpackb(self.socket.recv())

    def ask(self, id, prompt=None, **fields):
        if prompt is not None:
            fields["prompt" if isinstance(prompt, str) else "tokens"] = prompt
        self.answers[id] = Answer()
        self.send(type="generate_request", id=id, **fields)
        return self.answers[id]

    def take(self, patience=PATIENCE):
        message = self.next(patience)
        if "id" in message:
            self.answers[message["id"]].take(message)
        elif message != {"type": "pong", "nonce": 0}:  # That one only asks whether we are still there.
            self.others.append(message)
        return message

    def wait(self, id, tokens=None):
        """Until the request has ended, or has so many tokens."""
        answer = self.answers[id]
        while answer.end is None and (tokens is None or len(answer.tokens) < tokens):
            self.take()
        return answer

    def complete(self, id=1, prompt=None, **fields):
        self.ask(id, prompt, **fields)
        return self.wait(id)

    def round_trip(self):
        """When this returns, the server has taken all frames that were sent before; takes what comes meanwhile."""
        self.send(type="ping", nonce=77)
        while True:
            message = self.take()
            if message == {"type": "pong", "nonce": 77}:
                return self.others.remove(message)


def children(pid):
    """Processes that any thread of this one has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            pass  # The thread has just ended.
    return found


def wait_for_all(clients, patience=PATIENCE):
    """Takes what comes to many clients, until each of their requests has ended."""
    poller = zmq.Poller()
    waiting = {}
    for client in clients:
        while client.parts:
            client.take()
        if any(answer.end is None for answer in client.answers.values()):
            poller.register(client.socket, zmq.POLLIN)
            waiting[client.socket] = client
    while waiting:
        ready = poller.poll(patience * 1000)
        assert ready, f"{len(waiting)} clients wait in vain"
        for socket, _ in ready:
            client = waiting[socket]
            client.take()
            while client.parts:
                client.take()
            if all(answer.end is not None for answer in client.answers.values()):
                poller.unregister(socket)
                del waiting[socket]


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
