#!/usr/bin/env python3
"""A server that speaks docs/protocol.md and has no model: it answers with the words of the prompt, one a token. For
tests of clients. Written from the document alone, it is also a second opinion on what the document says.

Prints its endpoint, and then serves until it is killed. With ignore_eos it starts over at the end of the words.
"""
import sys

import msgpack
import zmq

UNLIMITED = 0xFFFFFFFF
NUMBER = (int, float)
FIELDS = {  # For each type its fields: what they must be, and whether they must be there.
    "hello": {"version": (int, True)},
    "generate_request": {
        "id": (int, True), "prompt": (str, False), "tokens": (list, False), "messages": (list, False),
        "max_tokens": (int, False), "min_tokens": (int, False), "ignore_eos": (bool, False), "stop": (list, False),
        "stop_tokens": (list, False), "temperature": (NUMBER, False), "seed": (int, False), "top_k": (int, False),
        "top_p": (NUMBER, False), "min_p": (NUMBER, False), "typical_p": (NUMBER, False),
        "repetition_penalty": (NUMBER, False), "presence_penalty": (NUMBER, False),
        "frequency_penalty": (NUMBER, False), "logit_bias": (list, False), "allowed_tokens": (list, False),
        "bad_words": (list, False), "n": (int, False), "best_of": (int, False), "logprobs": (int, False),
        "prompt_logprobs": (int, False), "echo": (bool, False), "credit": (int, False), "priority": (int, False),
        "ttft_ms": (int, False), "itl_ms": (int, False), "cache_salt": (str, False),
        "traceparent": (str, False)},
    "cancel_request": {"id": (int, True)},
    "credit_grant": {"id": (int, True), "tokens": (int, True)},
    "pause_request": {"id": (int, True)},
    "resume_request": {"id": (int, True)},
    "ping": {"nonce": (int, True)},
    "admin_request": {"nonce": (int, True), "command": (str, True)},
}


def logprobs(tokens, k):
    """What docs/protocol.md calls columns. Each token is the likeliest in its place."""
    columns = {"tokens": tokens, "logprobs": [-0.5] * len(tokens), "ranks": [1] * len(tokens)}
    if k:
        columns["top_tokens"] = [token + i for token in tokens for i in range(k)]
        columns["top_logprobs"] = [-0.5 - i for _ in tokens for i in range(k)]
    return columns


class Answer:
    """The words of the prompt, for each of its n choices."""

    def __init__(self, frame):
        if "messages" in frame:
            text = frame["messages"][-1]["content"]
        else:
            text = frame.get("prompt") or " ".join(map(str, frame["tokens"]))
        self.words = text.split()
        self.max_tokens = frame.get("max_tokens", 512)
        self.ignore_eos = frame.get("ignore_eos", False)
        self.credit = frame.get("credit", UNLIMITED)
        self.logprobs = frame.get("logprobs")
        self.prompt_logprobs = frame.get("prompt_logprobs")
        self.echo = text if frame.get("echo") else ""
        self.sent = [0] * frame.get("n", 1)
        self.paused = False
        self.mark = ""

    def grant(self, tokens):
        self.credit = min(UNLIMITED, self.credit + tokens)

    def resume(self):
        self.paused = False
        self.mark = " ..."  # Whoever reads the answer sees that it was paused.

    def next_delta(self, id, choice):
        position = self.sent[choice]
        word = self.words[position % len(self.words)]
        delta = {"id": id, "token_ids": [position], "text": self.mark + (word if position == 0 else " " + word)}
        self.mark = ""
        if choice:
            delta["choice"] = choice
        if position:
            delta["position"] = position
        else:
            delta["text"] = self.echo + delta["text"]
            if choice == 0 and self.prompt_logprobs is not None and len(self.words) > 1:
                delta["prompt_logprobs"] = logprobs(list(range(1, len(self.words))), self.prompt_logprobs)
        if self.logprobs is not None:
            delta["logprobs"] = logprobs([position], self.logprobs)
        self.sent[choice] += 1
        if self.credit != UNLIMITED:
            self.credit -= 1
        return delta

    def reason(self, choice):
        if self.sent[choice] >= self.max_tokens:
            return "length"
        return "stop" if self.sent[choice] >= len(self.words) and not self.ignore_eos else None

    def step(self, id):
        """A token for each choice that has not ended, as far as there is credit."""
        deltas = []
        for choice in range(len(self.sent)):
            if self.credit and not self.paused and not self.reason(choice):
                deltas.append(self.next_delta(id, choice))
        return deltas

    def ended(self):
        return all(self.reason(choice) for choice in range(len(self.sent)))

    def whole_reason(self):
        reasons = [self.reason(choice) for choice in range(len(self.sent))]
        return "length" if "length" in reasons else "stop"

    def end(self, id, reason):
        end = {"id": id, "reason": reason, "prompt_tokens": len(self.words), "completion_tokens": sum(self.sent),
               "cached_prompt_tokens": 0, "first_token_ms": 0, "total_ms": 1.5}
        if len(self.sent) > 1:
            end["choices"] = [{"choice": choice, "reason": self.reason(choice) or reason, "completion_tokens": sent}
                              for choice, sent in enumerate(self.sent)]
        return end


class Server:
    def __init__(self, socket):
        self.socket = socket
        self.answers = {}  # (client, id) -> Answer
        self.greeted = set()

    def send(self, client, message):
        self.socket.send_multipart([client, msgpack.packb(message)])

    def refuse(self, client, code, why):
        self.send(client, {"type": "protocol_error", "code": code, "message": why})

    def refuse_request(self, client, message, code, why):
        """A request whose id could be read ends; anything else is a frame that could not be taken."""
        if message["type"] != "generate_request" or "id" not in message:
            return self.refuse(client, code, why)
        self.send(client, {"type": "request_end", "id": message["id"], "reason": "error", "prompt_tokens": 0,
                           "completion_tokens": 0, "cached_prompt_tokens": 0, "first_token_ms": 0, "total_ms": 0,
                           "code": code, "message": why})

    def take(self, client, frame):
        message = msgpack.unpackb(frame)
        fields = FIELDS[message["type"]]
        for name, value in message.items():
            if name != "type" and (name not in fields or not isinstance(value, fields[name][0])):
                return self.refuse_request(client, message, 2, f"{message['type']} has no such field {name}.")
        for name, (_, needed) in fields.items():
            if needed and name not in message:
                return self.refuse(client, 1, f"{name} is missing.")
        if message["type"] != "hello" and client not in self.greeted:
            return self.refuse(client, 9, "Say hello first.")
        getattr(self, message["type"])(client, message)

    def hello(self, client, message):
        self.greeted.add(client)
        self.send(client, {"type": "welcome", "version": 2, "server": "fake 1", "model": "echo",
                           "context_length": 1000})

    def generate_request(self, client, message):
        answer = Answer(message)
        if "fail" in answer.words:
            end = answer.end(message["id"], "error") | {"code": 3, "message": "The prompt does not fit."}
            return self.send(client, {"type": "request_end"} | end)
        if "busy" in answer.words:
            end = answer.end(message["id"], "error") | {"code": 4, "message": "It is full.", "retry_after_ms": 250}
            return self.send(client, {"type": "request_end"} | end)
        self.answers[client, message["id"]] = answer

    def cancel_request(self, client, message):
        answer = self.answers.pop((client, message["id"]), None)
        if answer:
            self.send(client, {"type": "request_end"} | answer.end(message["id"], "cancelled"))

    def credit_grant(self, client, message):
        if (client, message["id"]) in self.answers:
            self.answers[client, message["id"]].grant(message["tokens"])

    def pause_request(self, client, message):
        if (client, message["id"]) in self.answers:
            self.answers[client, message["id"]].paused = True

    def resume_request(self, client, message):
        if (client, message["id"]) in self.answers:
            self.answers[client, message["id"]].resume()

    def ping(self, client, message):
        self.send(client, {"type": "pong", "nonce": message["nonce"]})

    def admin_request(self, client, message):
        reply = {"type": "admin_reply", "nonce": message["nonce"], "ok": True}
        if message["command"] == "status":
            reply["status"] = {name: 0 for name in (
                "open_requests", "waiting", "running", "paused", "refused", "kv_blocks", "kv_free", "kv_cached",
                "kv_leased", "kv_owned", "prefix_queries", "prefix_query_tokens", "prefix_hit_tokens", "preemptions", "steps", "engines", "restarts", "lost_steps", "last_recovery_ms",
                "tier_hit_tokens")}
            reply["status"] |= {"draining": False, "open_requests": len(self.answers), "tiers": []}
        if message["command"] == "check":
            reply |= {"ok": False, "code": 14, "message": "Block 7 has two owners."}
        self.send(client, reply)

    def step(self):
        """One token for each answer that has credit, as one frame for each client. True if there was any."""
        steps = {}
        for (client, id), answer in list(self.answers.items()):
            deltas = answer.step(id)
            if not deltas:
                continue
            step = steps.setdefault(client, {"type": "step_deltas"})
            step.setdefault("deltas", []).extend(deltas)
            if answer.ended():
                step.setdefault("ends", []).append(answer.end(id, answer.whole_reason()))
                del self.answers[client, id]
        for client, step in steps.items():
            if len(step["deltas"]) == 1 and "ends" not in step:
                step = {"type": "token_delta"} | step["deltas"][0]
            self.send(client, step)
        return bool(steps)


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
