#!/usr/bin/env python3
"""`--trace FILE`: what is in it, whoever asks and however the program ends."""
import json

from support import eventually, folder, main, run, tiny
from test_http import HttpCase

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SECRET = "zebra crossing"


class TraceCase(HttpCase):
    count = 0

    def new_file(self):
        TraceCase.count += 1
        return folder / f"trace-{TraceCase.count}.json"

    def load_cut(self, file):
        """As Perfetto does it: the end may be missing, and the last event cut."""
        whole = file.read_text().rpartition("},\n")[0]
        return json.loads(whole + "}]")

    def requests(self, events):
        """By its id, what is known of each: arguments, and its spans' names with their times, which must nest."""
        found = {}
        for event in events:
            if event.get("cat") != "request":
                continue
            request = found.setdefault(event["id"], {"args": event["args"], "spans": {}, "open": []})
            if event["ph"] == "b":
                request["open"].append((event["name"], event["ts"]))
            else:
                name, begun = request["open"].pop()
                self.assertEqual(name, event["name"])
                self.assertLessEqual(begun, event["ts"])
                request["spans"][name] = (begun, event["ts"])
        for request in found.values():
            self.assertEqual(request["open"], [])
            begun, ended = request["spans"]["request"]
            for inner in request["spans"].values():
                self.assertTrue(begun <= inner[0] <= inner[1] <= ended, request)
        return [(request["args"], request["spans"]) for request in found.values()]

    def spans(self, events, category):
        """By track: (arguments, begun, ended) in the order of time."""
        tracks = {}
        names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
        for event in events:
            if event["ph"] == "X" and event["cat"] == category:
                tracks.setdefault(names[event["pid"], event["tid"]], []).append(
                    (event["args"], event["ts"], event["ts"] + event["dur"]))
        return tracks


class Serve(TraceCase):
    def ask_all_kinds(self, server):
        """HTTP and ZeroMQ, with and without a trace of their own, whole and cancelled, and one that is refused."""
        body = {"prompt": SECRET, "max_tokens": 5, "ignore_eos": True, "temperature": 0}
        for headers in ({"traceparent": PARENT, "x-request-id": "with-trace"}, {"traceparent": PARENT[:-1], "x-request-id": "malformed"}):
            self.assertEqual(self.ask(server, "/v1/completions", body, headers=headers)[0], 200)
        self.assertEqual(self.ask(server, "/v1/completions", body | {"prompt": [SECRET, SECRET], "n": 2})[0], 200)
        client = self.client(server)
        client.complete(7, SECRET, max_tokens=6, ignore_eos=True, traceparent=PARENT)
        client.ask(8, SECRET, max_tokens=60000, ignore_eos=True)
        client.wait(8, tokens=10)
        client.send(type="cancel_request", id=8)
        self.assertEqual(client.wait(8).end["reason"], "cancelled")
        self.assertEqual(client.complete(9, [999999], max_tokens=1).end["reason"], "error")
        self.assertEqual(client.complete(10, "x", traceparent="00-1-2-3").end["code"], 1)

    def check_requests(self, events):
        requests = self.requests(events)
        by_name = {args["request"]: (args, spans) for args, spans in requests}
        args, spans = by_name["with-trace"]
        self.assertEqual((args["trace_id"], args["parent_span_id"]), (TRACE, SPAN))
        self.assertEqual((args["completion_tokens"], args["n"], args["reason"]), (5, 1, "length"))
        self.assertEqual(list(spans), ["queue", "prefill", "decode", "request"])
        self.assertEqual(spans["queue"][1], spans["prefill"][0])
        self.assertEqual(spans["prefill"][1], spans["decode"][0])
        self.assertNotIn("trace_id", by_name["malformed"][0])
        several = [args for name, (args, _) in by_name.items() if name.startswith("req_")]
        self.assertEqual([(args["n"], args["completion_tokens"]) for args in several], [(2, 10), (2, 10)])
        self.assertEqual(by_name["zmq-1-7"][0]["trace_id"], TRACE)
        self.assertEqual(by_name["zmq-1-8"][0]["reason"], "cancelled")
        self.assertEqual(by_name["zmq-1-9"][0]["error"], "invalid_argument")
        self.assertNotIn("zmq-1-10", by_name)  # Not even decoded.
        self.assertEqual(len(requests), 7)

    def check_steps(self, events, steps, workers):
        (track, spans), = self.spans(events, "step").items()
        self.assertEqual((track, len(spans)), ("steps", steps))
        for before, after in zip(spans, spans[1:]):
            self.assertLess(before[0]["step"], after[0]["step"])
            self.assertLessEqual(before[2], after[1] + 0.01)  # Microseconds: rounded.
        self.assertGreater(sum(args["decode_tokens"] for args, _, _ in spans), 0)
        parts = self.spans(events, "worker")
        self.assertEqual(sorted(parts), workers)
        numbers = [args["step"] for args, _, _ in spans]
        for of_worker in parts.values():
            self.assertEqual([args["step"] for args, _, _ in of_worker], numbers)
        return parts

    def test_requests_steps_and_each_stages_part_of_them_are_in_it(self):
        for more in ([], ["--workers", "process"]):
            with self.subTest(more=more):
                file = self.new_file()
                server = self.serve(*tiny("cpu", layers=4, context=65536), "--pipeline-parallel-size", "2", "--trace", file, *more)
                self.ask_all_kinds(server)
                self.no_request_is_left(server)
                steps = self.load(server)["steps"]
                self.assertEqual(server.stop(), 0)
                self.assertNotIn(SECRET, file.read_text())
                events = json.loads(file.read_text())
                self.assertEqual(events[-1]["args"]["dropped"], 0)
                self.check_requests(events)
                parts = self.check_steps(events, steps, ["stage 0 rank 0", "stage 1 rank 0"])
                for first, second in zip(parts["stage 0 rank 0"], parts["stage 1 rank 0"]):
                    self.assertLessEqual(first[2], second[1] + 100)  # The second has its rows then; one clock for both.

    def test_ranks_and_engines_have_tracks_of_their_own(self):
        file = self.new_file()
        server = self.serve(*tiny("cpu", context=4096), "--tensor-parallel-size", "2", "--data-parallel-size", "2", "--trace", file)
        client = self.client(server)
        for id in range(8):
            client.ask(id, f"{id}" * 40, max_tokens=30, ignore_eos=True)
        for id in range(8):
            client.wait(id)
        self.assertEqual(server.stop(), 0)
        events = json.loads(file.read_text())
        processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
        ran = {(processes[event["pid"]], event["tid"]) for event in events if event.get("cat") == "worker"}
        self.assertEqual({name for name, _ in ran}, {"engine 0", "engine 1"})
        self.assertEqual(len(ran), 4)

    def test_what_a_server_that_is_killed_leaves_can_be_loaded(self):
        file = self.new_file()
        server = self.serve(*tiny(context=65536), "--trace", file)
        client = self.client(server)
        client.complete(1, SECRET, max_tokens=20, ignore_eos=True)
        client.ask(2, SECRET, max_tokens=60000, ignore_eos=True)
        client.wait(2, tokens=50)
        eventually("the first request is written", lambda: "zmq-1-1" in file.read_text())
        server.process.kill()
        server.process.wait()
        events = self.load_cut(file)
        (args, _), = self.requests(events)
        self.assertEqual(args["completion_tokens"], 20)
        self.assertGreater(len(self.spans(events, "step")["steps"]), 20)

    def test_a_trace_that_cannot_be_written_stops_the_start_and_a_full_disk_stops_nothing(self):
        self.assert_refused(run("serve", "--port", "0", *tiny(), "--trace", "/nowhere/trace"), "/nowhere/trace", "--trace")
        server = self.serve(*tiny(), "--trace", "/dev/full")
        self.client(server).complete(1, "It serves all the same.", max_tokens=3)
        self.assertEqual(server.stop(), 0)
        self.assertTrue(any("the trace cannot be written any more" in line for line in server.log), server.log)


class Commands(TraceCase):
    def test_run_and_batch_write_one_too(self):
        file = self.new_file()
        result = run("run", SECRET, "--max-tokens", "4", "--ignore-eos", *tiny(), "--trace", file)
        self.assertEqual(result.returncode, 0, result.stderr)
        (args, _), = self.requests(json.loads(file.read_text()))
        self.assertEqual(args["completion_tokens"], 4)
        lines = folder / "lines.jsonl"
        lines.write_text("".join(json.dumps({"prompt": f"{SECRET} {i}", "max_tokens": 3}) + "\n" for i in range(5)))
        self.assertEqual(run("batch", lines, *tiny(), "--trace", file).returncode, 0)
        self.assertEqual(len(self.requests(json.loads(file.read_text()))), 5)
        self.assertNotIn(SECRET, file.read_text())

    def test_chat_has_no_such_option(self):
        self.assertEqual(run("chat", *tiny(), "--trace", self.new_file()).returncode, 2)


if __name__ == "__main__":
    main()
