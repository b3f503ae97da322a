"""A server for clients of OpenAI's API that answers as a test wants it: slowly, in odd pieces, with errors."""
import http.server
import json
import random
import threading


def chunk(text, **more):
    return "data: " + json.dumps({"choices": [{"text": text, "finish_reason": None}]} | more, ensure_ascii=False)


def usage(prompt, completion):
    return "data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})


class FakeOpenAiServer:
    """`answer(number, body)` gives for each request to the API, from 0: (status, bytes or a list of pieces of the body). A piece that
    is None cuts the connection. Tokens of a text are its words."""

    def __init__(self, answer):
        self.answer, self.bodies, self.lock = answer, [], threading.Lock()
        self.asked_for_tokens = []  # By connections from these addresses.
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, status, content, kind="application/json"):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                self.reply(200, json.dumps({"data": [{"id": "fake"}]}).encode())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path in ("/tokenize", "/detokenize"):
                    outer.asked_for_tokens.append(self.client_address)
                if self.path == "/tokenize":
                    words = body["prompt"].split(" ")
                    return self.reply(200, json.dumps({"tokens": [int(word[1:]) if word[1:].isdigit() else len(word) for word in words]}).encode())
                if self.path == "/detokenize":
                    return self.reply(200, json.dumps({"prompt": " ".join(f"w{token}" for token in body["tokens"])}).encode())
                with outer.lock:
                    number = len(outer.bodies)
                    outer.bodies.append((self.path, body, self.headers.get("Authorization")))
                status, pieces = outer.answer(number, body)
                if isinstance(pieces, bytes):
                    return self.reply(status, pieces)
                self.send_response(status)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in pieces:
                    if piece is None:
                        self.close_connection = True
                        return self.connection.close()
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # Clients that have gone.
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def events(*lines, end="\n"):
    return (end + end).join(lines).encode() + (end + end).encode()


def in_pieces(content, seed):
    """The same bytes, cut anywhere."""
    dice = random.Random(seed)
    pieces = []
    while content:
        size = dice.choice((1, 1, 2, 3, 10, 100))
        pieces.append(content[:size])
        content = content[size:]
    return pieces
