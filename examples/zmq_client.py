#!/usr/bin/env python3
"""A client of `troupe serve`, to use and to learn from. It needs pyzmq and msgpack, and the protocol is in
docs/protocol.md.

    zmq_client.py "What is the capital of France?"
    zmq_client.py --raw --max-tokens 20 "The capital of France is"
    zmq_client.py --messages chat.json              # [{"role": "system", "content": "..."}, ...]
    zmq_client.py --cancel-after 5 "Tell me a long story."
    zmq_client.py --credit 16 "Count to fifty."     # The server is never more than 16 tokens ahead of us.
    zmq_client.py --concurrent 32 "What is {n} plus {n}?"
    zmq_client.py --n 3 --temperature 1 "Name a city."            # Three answers.
    zmq_client.py --logprobs 2 --field top_k=40 "Yes or no?"      # Any field of a generate_request, as JSON.
    zmq_client.py --pause-after 5 "Tell me a long story."         # Stands still for a second.
    zmq_client.py --admin status                                  # For operators: also check, drain, ...
    zmq_client.py --key me.key --server-key server.pub "Hello."   # Encrypted; `troupe keygen me` makes a key.

The answer goes to stdout as it comes, all else to stderr. The exit code is 0 if every request ended well.
"""
import argparse
import asyncio
import itertools
import json
import signal
import sys
import time

import msgpack
import zmq
import zmq.asyncio

PROTOCOL_VERSION = 2
NOT_FOUND = 9  # The error code that says: this connection has not said hello.
PAUSE_SECONDS = 1
PING_SECONDS = 10  # While we wait, to find out whether the server is still there.


class ServerError(Exception):
    """The connection cannot be used (any more)."""


def parts_of(message):
    """A frame as the token_delta and request_end messages that it stands for, each with the defaults of what was left
    out; whatever is neither stays as it is."""
    if message["type"] == "step_deltas":
        deltas = message.get("deltas", ())
        ends = message.get("ends", ())
        return [part for delta in deltas for part in parts_of(delta | {"type": "token_delta"})] + \
               [end | {"type": "request_end"} for end in ends]
    if message["type"] == "token_delta":
        return [{"choice": 0, "position": 0, "token_ids": [], "text": ""} | message]
    return [message]


class Request:
    """One open request: iterate over it for its token_delta messages; then `end` is its request_end."""

    def __init__(self, client, id):
        self.client, self.id, self.end = client, id, None
        self.inbox = asyncio.Queue()

    def __aiter__(self):
        return self

    async def __anext__(self):
        message = await self.inbox.get()
        if isinstance(message, Exception):
            raise message
        if message["type"] == "request_end":
            self.end = message
            raise StopAsyncIteration
        return message

    async def cancel(self):
        """Tokens under way may still come; the request_end always does."""
        await self.client.send(type="cancel_request", id=self.id)

    async def pause(self):
        """Tokens under way may still come; then nothing until `resume`."""
        await self.client.send(type="pause_request", id=self.id)

    async def resume(self):
        await self.client.send(type="resume_request", id=self.id)

    async def grant(self, tokens):
        """Lets the server send so many more tokens. Only of use if the request was made with `credit`."""
        await self.client.send(type="credit_grant", id=self.id, tokens=tokens)


class Client:
    """One connection. Any number of requests may be open on it at once."""

    def __init__(self, endpoint, timeout, key=None, server_key=None):
        """key, server_key: our secret key and the server's public one, as Z85 (CURVE)."""
        self.endpoint, self.timeout = endpoint, timeout
        self.open = {}  # id -> Request
        self.asked = {}  # nonce -> where the admin_reply goes
        self.ids = itertools.count(1)
        self.last_heard = time.monotonic()
        self.context = zmq.asyncio.Context()
        # No routing id is set: if the connection breaks and is made again, it is a new one to the server.
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 1000  # Milliseconds for a last cancel to leave.
        if key:
            self.socket.curve_secretkey, self.socket.curve_publickey = key, zmq.curve_public(key)
            self.socket.curve_serverkey = server_key

    async def __aenter__(self):
        self.socket.connect(self.endpoint)
        await self.send(type="hello", version=PROTOCOL_VERSION)
        try:
            self.welcome = await asyncio.wait_for(self.receive(), self.timeout)
        except asyncio.TimeoutError:
            self.close()
            raise ServerError(
                f"No answer from {self.endpoint} in {self.timeout:g} s. Is `troupe serve` running?") from None
        if self.welcome["type"] != "welcome":
            self.close()
            raise ServerError(self.welcome.get("message", "The server did not say welcome."))
        self.tasks = [asyncio.create_task(self.read()), asyncio.create_task(self.ping())]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        self.close()

    def close(self):
        self.socket.close()
        self.context.term()

    async def send(self, **message):
        """One message is one frame, and one frame is one msgpack map."""
        await self.socket.send(msgpack.packb(message))

    async def receive(self):
        message = msgpack.unpackb(await self.socket.recv())
        self.last_heard = time.monotonic()
        return message

    async def generate(self, **fields):
        """Sends a generate_request; `fields` are those of docs/protocol.md but for type and id."""
        request = Request(self, next(self.ids))
        self.open[request.id] = request
        await self.send(type="generate_request", id=request.id, **fields)
        return request

    async def admin(self, command):
        """What an operator asks: the admin_reply. That of drain may be long in coming."""
        nonce = next(self.ids)
        self.asked[nonce] = asyncio.get_running_loop().create_future()
        await self.send(type="admin_request", nonce=nonce, command=command)
        return await self.asked[nonce]

    async def read(self):
        while True:
            for message in parts_of(await self.receive()):
                self.take(message)

    def take(self, message):
        """Hands a message to the request that it is about."""
        if message["type"] in ("token_delta", "request_end"):
            request = self.open.get(message["id"])
            if request:
                request.inbox.put_nowait(message)
                if message["type"] == "request_end":
                    del self.open[message["id"]]
        elif message["type"] == "admin_reply":
            self.asked.pop(message["nonce"]).set_result(message)
        elif message["type"] == "protocol_error":
            print(f"protocol error {message['code']}: {message['message']}", file=sys.stderr)
            if message["code"] == NOT_FOUND:
                self.lose("The connection broke and was made again, and its requests are lost.")

    async def ping(self):
        for nonce in itertools.count(1):
            await asyncio.sleep(PING_SECONDS)
            await self.send(type="ping", nonce=nonce)
            if time.monotonic() - self.last_heard > self.timeout + PING_SECONDS:
                self.lose(f"The server has said nothing for {time.monotonic() - self.last_heard:.0f} s.")

    def lose(self, why):
        for request in self.open.values():
            request.inbox.put_nowait(ServerError(why))
        self.open.clear()
        for answer in self.asked.values():
            answer.set_exception(ServerError(why))
        self.asked.clear()


async def ask(client, options, fields, show):
    """One request from its beginning to its end: `show` gets each delta, the caller the request_end."""
    if options.credit:
        fields = fields | {"credit": options.credit}
    request = await client.generate(**fields)
    tokens = 0
    unused = 0  # Tokens that came and were not granted again.
    cancelled = paused = False
    async for delta in request:
        show(delta)
        tokens += len(delta["token_ids"])
        unused += len(delta["token_ids"])
        if options.cancel_after and tokens >= options.cancel_after and not cancelled:
            cancelled = True
            await request.cancel()
        if options.pause_after and tokens >= options.pause_after and not paused:
            paused = True
            await request.pause()
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, asyncio.ensure_future, request.resume())
        # Half a window at a time: the server need not wait for us, and is never further ahead than the window.
        if options.credit and unused >= max(1, options.credit // 2):
            await request.grant(unused)
            unused = 0
    return request.end


def summary(end, seconds):
    if end["reason"] == "error":
        again = f" Try again in {end['retry_after_ms']} ms." if "retry_after_ms" in end else ""
        return f"error {end['code']}: {end['message']}{again}"
    tokens = end["completion_tokens"]
    cached = f" ({end['cached_prompt_tokens']} of them cached)" if end["cached_prompt_tokens"] else ""
    return (f"{end['reason']}: {end['prompt_tokens']}{cached} + {tokens} tokens, "
            f"first after {end['first_token_ms']:.0f} ms, {tokens / seconds if seconds else 0:.1f} tokens/s")


def logprob_lines(columns):
    """One line for each token of a `logprobs` map: docs/protocol.md says how its columns belong together."""
    k = len(columns.get("top_tokens", ())) // len(columns["tokens"])
    for i, (token, logprob, rank) in enumerate(zip(columns["tokens"], columns["logprobs"], columns["ranks"])):
        top = zip(columns["top_tokens"][i * k:(i + 1) * k], columns["top_logprobs"][i * k:(i + 1) * k]) if k else ()
        others = ", ".join(f"{other} {its_logprob:.3f}" for other, its_logprob in top)
        yield f"token {token}: {logprob:.3f}, rank {rank}" + (f", likeliest {others}" if others else "")


async def ask_one(client, options, fields):
    """The text of one answer is shown as it comes; several are shown when all have ended."""
    several = options.n is not None and options.n > 1
    texts = [""] * (options.n or 1)
    lines = []

    def show(delta):
        texts[delta["choice"]] += delta["text"]
        if not several:
            print(delta["text"], end="", flush=True)
        for kind in ("prompt_logprobs", "logprobs"):
            where = "prompt" if kind == "prompt_logprobs" else f"answer {delta['choice']}"
            if kind in delta:
                lines.extend(f"{where}: {line}" for line in logprob_lines(delta[kind]))

    start = time.monotonic()
    end = await ask(client, options, fields, show)
    print("\n".join(f"[{choice}] {text}" for choice, text in enumerate(texts)) if several else "")
    for line in lines:
        print(line, file=sys.stderr)
    print(summary(end, time.monotonic() - start), file=sys.stderr)
    return end["reason"] != "error"


async def ask_many(client, options):
    """All requests at once over one connection. Each answer is shown when it is complete."""

    async def ask_numbered(n):
        pieces = []
        prompt = options.prompt.replace("{n}", str(n)) if options.prompt else None
        end = await ask(client, options, request_fields(options, prompt), lambda delta: pieces.append(delta["text"]))
        print(f"[{n}] {''.join(pieces)}", flush=True)
        if end["reason"] == "error":
            print(f"[{n}] {summary(end, 0)}", file=sys.stderr)
        return end

    start = time.monotonic()
    ends = await asyncio.gather(*(ask_numbered(n) for n in range(1, options.concurrent + 1)))
    seconds = time.monotonic() - start
    tokens = sum(end["completion_tokens"] for end in ends)
    failed = sum(end["reason"] == "error" for end in ends)
    print(f"{len(ends)} requests, {failed} failed, {tokens} tokens in {seconds:.2f} s: "
          f"{tokens / seconds:.1f} tokens/s", file=sys.stderr)
    return failed == 0


def request_fields(options, prompt):
    """A generate_request without its id. What is not given is left out, and the server's default holds."""
    if options.messages:
        with sys.stdin if options.messages == "-" else open(options.messages, encoding="utf-8") as file:
            fields = {"messages": json.load(file)}
    elif options.raw:
        fields = {"prompt": prompt}
    else:
        fields = {"messages": [{"role": "user", "content": prompt}]}
    for name in ("temperature", "seed", "max_tokens", "stop", "n", "logprobs", "prompt_logprobs"):
        value = getattr(options, name)
        if value is not None:
            fields[name] = value
    if options.ignore_eos:
        fields["ignore_eos"] = True
    for field in options.field or ():
        name, _, value = field.partition("=")
        fields[name] = json.loads(value)
    return fields


async def administer(client, command):
    reply = await client.admin(command)
    if not reply["ok"]:
        print(f"error {reply['code']}: {reply['message']}", file=sys.stderr)
    for name, count in reply.get("status", {}).items():
        print(f"{name} {count}")
    return reply["ok"]


async def cancel_all(client):
    for request in list(client.open.values()):
        await request.cancel()


def key_in(file):
    """The key is the first word of the file: what follows is a note."""
    with open(file, "rb") as content:
        return (content.read().split() or [b""])[0]


async def run(options):
    keys = [key_in(options.key), key_in(options.server_key)] if options.key else []
    async with Client(options.endpoint, options.timeout, *keys) as client:
        print(f"{client.welcome['server']}, {client.welcome['model']}, context {client.welcome['context_length']}",
              file=sys.stderr)
        # Ctrl-C cancels what is open; its end comes as always.
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGINT, lambda: asyncio.ensure_future(cancel_all(client)))
        if options.admin:
            return await administer(client, options.admin)
        if options.concurrent:
            return await ask_many(client, options)
        return await ask_one(client, options, request_fields(options, options.prompt))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt", nargs="?", help="with --concurrent, {n} in it becomes the number of the request")
    parser.add_argument("--endpoint", default="tcp://127.0.0.1:5555", help="(default: %(default)s)")
    parser.add_argument("--key", metavar="FILE", help="our secret key, where the server wants one")
    parser.add_argument("--server-key", metavar="FILE", help="and its public one")
    parser.add_argument("--messages", metavar="FILE",
                        help="a JSON array of {role, content} instead of a prompt; - is stdin")
    parser.add_argument("--raw", action="store_true", help="the prompt as it stands, without the chat template")
    parser.add_argument("--temperature", type=float, help="0 is greedy (default: 0)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--stop", action="append", help="end before this string; may be given several times")
    parser.add_argument("--ignore-eos", action="store_true", help="go on after an end-of-sequence token")
    parser.add_argument("--n", type=int, help="so many answers, shown when all have ended")
    parser.add_argument("--logprobs", type=int, metavar="K", help="show each token's logprob and the K likeliest")
    parser.add_argument("--prompt-logprobs", type=int, metavar="K", help="the same for the prompt's tokens")
    parser.add_argument("--field", action="append", metavar="NAME=JSON",
                        help="any other field of a generate_request, for example top_p=0.9; may be given several times")
    parser.add_argument("--pause-after", type=int, metavar="N", help="pause for a second after N tokens")
    parser.add_argument("--admin", choices=("status", "check", "reset_prefix_cache", "drain"),
                        help="ask the server for this instead of an answer")
    parser.add_argument("--cancel-after", type=int, metavar="N", help="cancel after N tokens")
    parser.add_argument("--concurrent", type=int, metavar="N", help="N requests at once on one connection")
    parser.add_argument("--credit", type=int, metavar="N", help="windowed flow control: at most N tokens ahead of us")
    parser.add_argument("--timeout", type=float, default=10,
                        help="seconds to wait for a server (default: %(default)s)")
    options = parser.parse_args()
    if [options.prompt, options.messages, options.admin].count(None) != 2:
        parser.error("give either a prompt, --messages or --admin")
    if bool(options.key) != bool(options.server_key):
        parser.error("--key and --server-key go together")
    if options.concurrent and options.n:
        parser.error("--concurrent shows one answer to each prompt: leave --n out")
    if options.concurrent and options.messages == "-":
        parser.error("--concurrent reads its messages again for each request: give a file")
    try:
        return 0 if asyncio.run(run(options)) else 1
    except (ServerError, OSError, ValueError, zmq.ZMQError) as failure:
        print(f"zmq_client: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
