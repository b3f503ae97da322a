#!/usr/bin/env python3
"""A server that speaks docs/protocol.md and has no model: it answers with the words of the prompt, one a token. For
tests of clients. Written from the document alone, it is also a second opinion on what the document says.

Prints its endpoint, and then serves until it is killed. With ignore_eos it starts over at the end of the words.
"""
import sys

import msgpack
import zmq

UNLIMITED = 0xFFFFFFFF
FIELDS = {  # For each type its fields: what they must be, and whether they must be there.
    "hello": {"version": (int, True)},
    "generate_request": {
        "id": (int, True), "prompt": (str, False), "tokens": (list, False), "messages": (list, False),
        "temperature": ((int, float), False), "seed": (int, False), "max_tokens": (int, False),
        "ignore_eos": (bool, False), "stop": (list, False), "credit": (int, False)},
    "cancel_request": {"id": (int, True)},
    "credit_grant": {"id": (int, True), "tokens": (int, True)},
    "ping": {"nonce": (int, True)},
}


class Answer:
    def __init__(self, frame):
        if "messages" in frame:
            text = frame["messages"][-1]["content"]
        else:
            text = frame.get("prompt") or " ".join(map(str, frame["tokens"]))
        self.words = text.split()
        self.max_tokens = frame.get("max_tokens", 512)
        self.ignore_eos = frame.get("ignore_eos", False)
        self.credit = frame.get("credit", UNLIMITED)
        self.sent = 0

    def grant(self, tokens):
        self.credit = min(UNLIMITED, self.credit + tokens)

    def next_delta(self, id):
        word = self.words[self.sent % len(self.words)]
        delta = {"type": "token_delta", "id": id, "position": self.sent, "token_ids": [self.sent],
                 "text": word if self.sent == 0 else " " + word}
        self.sent += 1
        if self.credit != UNLIMITED:
            self.credit -= 1
        return delta

    def reason(self):
        if self.sent >= self.max_tokens:
            return "length"
        return "stop" if self.sent >= len(self.words) and not self.ignore_eos else None

    def end(self, id, reason):
        return {"type": "request_end", "id": id, "reason": reason, "prompt_tokens": len(self.words),
                "completion_tokens": self.sent, "first_token_ms": 0, "total_ms": 1.5}


class Server:
    def __init__(self, socket):
        self.socket = socket
        self.answers = {}  # (client, id) -> Answer
        self.greeted = set()

    def send(self, client, message):
        self.socket.send_multipart([client, msgpack.packb(message)])

    def refuse(self, client, code, why):
        self.send(client, {"type": "protocol_error", "code": code, "message": why})

    def take(self, client, frame):
        message = msgpack.unpackb(frame)
        fields = FIELDS[message["type"]]
        for name, value in message.items():
            if name != "type" and (name not in fields or not isinstance(value, fields[name][0])):
                return self.refuse(client, 2, f"{message['type']} has no such field {name}.")
        for name, (_, needed) in fields.items():
            if needed and name not in message:
                return self.refuse(client, 1, f"{name} is missing.")
        if message["type"] != "hello" and client not in self.greeted:
            return self.refuse(client, 9, "Say hello first.")
        getattr(self, message["type"])(client, message)

    def hello(self, client, message):
        self.greeted.add(client)
        self.send(client, {"type": "welcome", "version": 1, "server": "fake 1", "model": "echo",
                           "context_length": 1000})

    def generate_request(self, client, message):
        answer = Answer(message)
        if "fail" in answer.words:
            end = answer.end(message["id"], "error") | {"code": 3, "message": "The prompt does not fit."}
            return self.send(client, end)
        self.answers[client, message["id"]] = answer

    def cancel_request(self, client, message):
        answer = self.answers.pop((client, message["id"]), None)
        if answer:
            self.send(client, answer.end(message["id"], "cancelled"))

    def credit_grant(self, client, message):
        if (client, message["id"]) in self.answers:
            self.answers[client, message["id"]].grant(message["tokens"])

    def ping(self, client, message):
        self.send(client, {"type": "pong", "nonce": message["nonce"]})

    def step(self):
        """One token for each request that has credit. True if there was any."""
        busy = False
        for (client, id), answer in list(self.answers.items()):
            if answer.credit == 0:
                continue
            busy = True
            self.send(client, answer.next_delta(id))
            reason = answer.reason()
            if reason:
                self.send(client, answer.end(id, reason))
                del self.answers[client, id]
        return busy


def main():
    socket = zmq.Context().socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port}", flush=True)
    server = Server(socket)
    busy = False
    while True:
        # 1 ms between tokens, so that a cancel finds an endless answer before it has filled the client's memory.
        if socket.poll(1 if busy else None):
            client, *frames = socket.recv_multipart()
            if len(frames) == 1:
                server.take(client, frames[0])
            else:
                server.refuse(client, 6, "A message is one frame.")
        busy = server.step()


if __name__ == "__main__":
    sys.exit(main())
