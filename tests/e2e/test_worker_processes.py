#!/usr/bin/env python3
"""`--workers process`: engines whose workers are processes of their own, and what becomes of requests when one dies or hangs.

TROUPE_FAULT_SEEDS says how many disturbed runs each kind of engine gets; each has up to four faults.
"""
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

from memory_pressure import MemoryGroup, faults
from support import PATIENCE, TestCase, children, eventually, folder, main, run, tiny, tiny_model

SEEDS = int(os.environ.get("TROUPE_FAULT_SEEDS", 5))
STREAMS, TOKENS = 64, 48
LONG_ENOUGH, MOST_TOKENS = 2.0, 1920  # Seconds that faults need to find something that runs, however fast the machine is.
KILLS = 2 * SEEDS
FAULTS = 4  # In one run: a fifth and sixth within a minute would be too many for the engine.
SHAPE = {"context": 4096, "width": 96, "kv-heads": 3, "layers": 4}  # Six heads in three groups.
MODEL = tiny("cpu", **SHAPE)
KINDS = {"tensor parallel": ["--tensor-parallel-size", "2"], "pipeline parallel": ["--pipeline-parallel-size", "2"]}


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def shared_with_others(pid):
    """The memory that the ranks of one engine share."""
    return frozenset(line.split()[4] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/memfd:" in line)


def shared_memory():
    return set(os.listdir("/dev/shm"))


class WorkerProcesses(TestCase):
    def status(self, server):
        result = run("status", "--json", "--zmq", server.endpoint)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def serve_workers(self, *arguments, model=MODEL, **more):
        server = self.serve(*model, "--threads", "2", "--workers", "process", "--max-num-seqs", str(STREAMS), *arguments,
                            **more)
        self.pids = children(server.process.pid)
        return server

    def begin(self, server, prefix, tokens=TOKENS):
        client = self.client(server)
        for i in range(STREAMS):
            client.ask(i, f"{prefix} {i} " + "and so on " * (i % 7), max_tokens=tokens, ignore_eos=True, seed=i,
                       temperature=0.8)
        return client

    def finish(self, client):
        return [client.wait(i).result() for i in range(STREAMS)]

    def test_processes_give_the_tokens_that_threads_give(self):
        kinds = [[], *KINDS.values(), [*KINDS["tensor parallel"], *KINDS["pipeline parallel"]], ["--data-parallel-size", "2"],
                 ["--tensor-parallel-size", "3"], ["--pipeline-parallel-size", "3"]]
        model = tiny("reference", **SHAPE)
        one = self.run_json(*model, "--max-tokens", "40", "--ignore-eos", "Once upon a time")
        for kind in kinds:
            for workers in ("thread", "process"):
                same = self.run_json(*model, *kind, "--workers", workers, "--max-tokens", "40", "--ignore-eos",
                                     "Once upon a time")
                self.assertEqual(same["token_ids"], one["token_ids"], (kind, workers))

    def long_enough(self, kind):
        """How many tokens of each stream take long enough here, and what they are without any fault."""
        length = TOKENS
        server = self.serve_workers(*KINDS[kind])
        while True:
            begun = time.monotonic()
            results = self.finish(self.begin(server, "tell me", length))
            took = time.monotonic() - begun
            if took >= LONG_ENOUGH or length == MOST_TOKENS:
                self.check_and_kill(server)
                return length, results
            length = min(MOST_TOKENS, int(length * 1.2 * LONG_ENOUGH / took) + 1)

    def disturb(self, kind, fault, check=lambda server: None, when_ready=False):
        """Runs with faults in them: each has the answers of the one without. A fault may hit workers that load, unless it
        comes `when_ready`; it ends the run if it says that there was nothing left to disturb."""
        length, undisturbed = self.long_enough(kind)
        for seed in range(1, SEEDS + 1):
            dice = random.Random(seed)
            server = self.serve_workers(*KINDS[kind])
            client = self.begin(server, "tell me", length)
            for number in range(FAULTS):
                tokens = (number * length + dice.randrange(length)) // FAULTS
                client.wait(dice.randrange(STREAMS), tokens=max(1, tokens))
                if when_ready:
                    eventually("the workers are ready", lambda: "".join(server.log).count("are ready after")
                               == self.status(server)["restarts"])
                before = self.status(server)
                victims = children(server.process.pid)
                if not victims or before["running"] == 0 or fault(server, dice.choice(victims)) == "idle":
                    break
                eventually("the workers are replaced", lambda: self.status(server)["restarts"] > before["restarts"])
            results = self.finish(client)
            for tokens, _, end in results:
                self.assertEqual((len(tokens), end["reason"]), (length, "length"), end)
            self.assertEqual(results, undisturbed, f"seed {seed} gave other tokens")
            after = self.status(server)
            hit = after["lost_steps"]
            self.assertGreater(hit, 0, f"seed {seed}: no fault hit a running step")
            self.assertGreater(after["last_recovery_ms"], 0)
            self.assertIn(f"are ready after {after['last_recovery_ms']} ms", "".join(server.log))
            check(server)
            print(f"{kind}, seed {seed}: {after['restarts']} restarts, {hit} steps computed again")
            self.check_and_kill(server)
            client.close()

    def test_requests_outlive_any_worker_that_is_killed(self):
        for kind in KINDS:
            self.disturb(kind, lambda server, pid: os.kill(pid, signal.SIGKILL))

    def test_requests_outlive_a_worker_that_segfaults(self):
        self.disturb("tensor parallel", lambda server, pid: os.kill(pid, signal.SIGSEGV))

    def test_a_worker_that_hangs_is_noticed_within_a_second_and_killed(self):
        stopped = []

        def stop(server, pid):
            os.kill(pid, signal.SIGSTOP)
            stopped.append((pid, time.monotonic()))
            eventually("the stopped process is gone", lambda: not is_there(pid) or self.status(server)["running"] == 0)
            if is_there(pid):
                os.kill(pid, signal.SIGCONT)
                return "idle"
            self.assertLess(time.monotonic() - stopped[-1][1], 2.0)  # A second, and this machine's other work.

        # One that has not connected yet has 30 s: it may be loading on a slow machine.
        self.disturb("pipeline parallel", stop, when_ready=True)

    def test_a_worker_that_answers_late_costs_no_restart(self):
        server = self.serve_workers(*KINDS["tensor parallel"])
        client = self.begin(server, "tell me")
        undisturbed = self.finish(client)
        client = self.begin(server, "tell me")
        client.wait(0, tokens=5)
        for pid in children(server.process.pid):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.2)  # Less than a hang.
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(self.finish(client), undisturbed)
        self.assertEqual(self.status(server)["restarts"], 0)

    def test_no_worker_outlives_its_server_whatever_ends_that(self):
        for number, stop_first in ((signal.SIGTERM, False), (signal.SIGKILL, False), (signal.SIGKILL, True),
                                   (signal.SIGSEGV, False)):
            before = shared_memory()
            server = self.serve_workers(*KINDS["tensor parallel"])
            client = self.begin(server, "tell me")
            client.wait(0, tokens=3)
            pids = children(server.process.pid)
            self.assertEqual(len(pids), 2)
            if stop_first:
                os.kill(pids[0], signal.SIGSTOP)
            server.process.send_signal(number)
            server.process.wait(PATIENCE)
            eventually("every worker is gone", lambda: not any(map(is_there, pids)))
            self.assertEqual(shared_memory(), before)
            self.assertNotIn(f"troupe-{server.process.pid}-", Path("/proc/net/unix").read_text())
            client.close()

    def test_workers_that_die_again_and_again_end_the_server_with_the_reason(self):
        server = self.serve_workers(*KINDS["tensor parallel"], "--kv-tokens", "262144")
        client = self.begin(server, "for ever", tokens=3900)
        killed = 0
        begun = time.monotonic()
        while server.process.poll() is None and time.monotonic() - begun < PATIENCE:
            for pid in children(server.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        self.assertEqual(server.process.wait(PATIENCE), 1)
        server.reader.join()
        self.assertIn("6 times within 60 seconds", server.log[-1])
        self.assertIn("was killed by signal 9", server.log[-1])
        self.assertLess(killed, 30)
        for i in range(STREAMS):
            self.assertEqual(client.wait(i).end["reason"], "error")

    def test_requests_of_an_engine_that_gives_up_go_on_at_the_other(self):
        server = self.serve_workers("--data-parallel-size", "2")
        undisturbed = self.finish(self.begin(server, "tell me"))
        client = self.begin(server, "tell me")
        victim = self.pids[0]
        for death in range(6):
            others = set(children(server.process.pid)) - {victim}
            os.kill(victim, signal.SIGKILL)
            if death < 5:
                eventually("it has a successor", lambda: set(children(server.process.pid)) - others - {victim})
                victim = next(iter(set(children(server.process.pid)) - others - {victim}))
        eventually("the engine has given up", lambda: self.status(server)["engines"] == 1)
        self.assertEqual(self.finish(client), undisturbed)
        self.assertEqual(self.finish(self.begin(server, "tell me")), undisturbed)
        self.assertEqual(len(children(server.process.pid)), 1)
        self.assertIn("6 times within 60 seconds", run("status", "--zmq", server.endpoint, "--check").stderr)
        server.kill()

    def test_requests_go_on_at_the_other_engine_when_all_workers_of_one_are_killed_at_once(self):
        server = self.serve_workers("--data-parallel-size", "2", *KINDS["tensor parallel"], "--max-restarts", "0")
        undisturbed = self.finish(self.begin(server, "tell me"))
        client = self.begin(server, "tell me")
        client.wait(0, tokens=5)
        engines = {}
        for pid in self.pids:
            engines.setdefault(shared_with_others(pid), []).append(pid)
        self.assertEqual([len(pids) for pids in engines.values()], [2, 2])
        for pid in next(iter(engines.values())):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # The engine has given up already, and has taken the other one with it.
        self.assertEqual(self.finish(client), undisturbed)
        self.assertEqual(self.status(server)["engines"], 1)
        self.assertEqual(self.finish(self.begin(server, "tell me")), undisturbed)
        server.kill()  # A check of it says that an engine has given up.

    def test_a_server_that_is_held_up_itself_takes_no_worker_for_hung(self):
        server = self.serve_workers(*KINDS["tensor parallel"])
        undisturbed = self.finish(self.begin(server, "tell me"))
        client = self.begin(server, "tell me")
        for tokens, seconds in ((2, 0.3), (10, 1.5), (20, 0.8), (30, 3.0)):
            client.wait(0, tokens=tokens)
            os.kill(server.process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(server.process.pid, signal.SIGCONT)
        self.assertEqual(self.finish(client), undisturbed)
        self.assertEqual(self.status(server)["restarts"], 0)

    def test_requests_outlive_hangs_in_a_server_whose_memory_is_taken_away_again_and_again(self):
        group = MemoryGroup.make()
        if not group:
            self.skipTest("this machine lets us make no control group of memory (as root outside of a container it would)")
        self.addCleanup(group.end)
        server = self.serve_workers(*KINDS["tensor parallel"], program=group.program)
        undisturbed = self.finish(self.begin(server, "tell me", tokens=60))
        before = faults(server)
        group.begin()
        self.assertEqual(self.finish(self.begin(server, "tell me", tokens=60)), undisturbed)
        if faults(server) - before < 20:
            self.skipTest("the kernel has taken none of its memory (programs are in memory, and there is no swap)")
        self.assertEqual(self.status(server)["restarts"], 0, "a worker was taken for dead")
        client = self.begin(server, "tell me", tokens=60)
        client.wait(0, tokens=5)
        victim = self.pids[0]
        begun = time.monotonic()
        os.kill(victim, signal.SIGSTOP)
        eventually("the stopped process is gone", lambda: not is_there(victim))
        print(f"a stopped worker was gone after {time.monotonic() - begun:.2f} s; the server has waited for "
              f"{faults(server) - before} pages")
        self.assertEqual(self.finish(client), undisturbed)
        self.assertEqual(self.status(server)["restarts"], 1)

    def test_a_model_that_was_replaced_meanwhile_is_refused_and_never_mixed_with_the_old_one(self):
        model = folder / "replaced.gguf"
        shutil.copy(tiny_model(**SHAPE), model)
        server = self.serve_workers(*KINDS["tensor parallel"], model=["--model", str(model), "--backend", "cpu"])
        client = self.begin(server, "tell me", tokens=2000)
        client.wait(0, tokens=3)
        shutil.copy(tiny_model(**SHAPE), folder / "new.gguf")
        os.rename(folder / "new.gguf", model)
        os.kill(self.pids[0], signal.SIGKILL)
        self.assertEqual(server.process.wait(PATIENCE), 1)
        server.reader.join()
        self.assertIn("is not the file any more that the engine has started with", server.log[-1])
        for i in range(STREAMS):
            self.assertEqual(client.wait(i).end["reason"], "error")

    def test_deaths_leave_nothing_behind(self):
        server = self.serve_workers("--pipeline-parallel-size", "2", "--max-restarts", "1000000")
        client = self.client(server)
        ids = iter(range(1 << 30))
        client.complete(next(ids), "hello", max_tokens=5)

        def kill_one():
            before = self.status(server)["restarts"]
            os.kill(random.choice(children(server.process.pid)), signal.SIGKILL)
            eventually("the workers are replaced", lambda: self.status(server)["restarts"] > before)
            client.complete(next(ids), "hello", max_tokens=5)

        def threads():
            return len(os.listdir(f"/proc/{server.process.pid}/task"))

        for _ in range(3):
            kill_one()
        before = server.descriptors(), threads(), server.resident_bytes()
        for _ in range(KILLS):
            kill_one()
        eventually("descriptors are as before", lambda: server.descriptors() <= before[0] + 2)
        eventually("threads are as before", lambda: threads() <= before[1] + 1)
        self.assertEqual(len(children(server.process.pid)), 2)
        grown = server.resident_bytes() - before[2]
        print(f"{KILLS} deaths: {server.descriptors() - before[0]} descriptors, {threads() - before[1]} threads, "
              f"{grown} bytes more")
        self.assertLess(grown, (4 << 20) + KILLS * 10000)


main()
