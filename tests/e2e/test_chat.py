#!/usr/bin/env python3
"""`troupe chat`: a conversation through a pipe and on a terminal."""
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios

from support import PATIENCE, TestCase, folder, main, run, tiny, troupe

ENDLESS = ["--ignore-eos", "--max-tokens", "60000"]


class Piped(TestCase):
    def chat(self, lines, *arguments):
        result = run("chat", "--max-tokens", "12", *arguments, *tiny(), stdin="".join(f"{line}\n" for line in lines))
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def answer(self, *messages):
        """What the model says after these messages, of the user and the assistant in turn."""
        roles = ("user", "assistant")
        conversation = [{"role": roles[i % 2], "content": text} for i, text in enumerate(messages)]
        source, target = folder / "chat.jsonl", folder / "chat.out.jsonl"
        source.write_text(json.dumps({"messages": conversation}) + "\n")
        target.unlink(missing_ok=True)
        done = run("batch", source, "--output", target, "--max-tokens", "12", *tiny())
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(target.read_text())["text"]

    def test_an_answer_depends_on_what_was_said_before(self):
        first = self.answer("one")
        second = self.answer("one", first, "two")
        third = self.answer("one", first, "two", second, "three")
        self.assertNotEqual(second, self.answer("two"))
        self.assertEqual(self.chat(["one", "two", "three"]).stdout, f"{first}\n{second}\n{third}\n")

    def test_clear_forgets_it(self):
        one, two = self.answer("one"), self.answer("two")
        self.assertEqual(self.chat(["one", "/clear", "two"]).stdout, f"{one}\n{two}\n")

    def test_exit_ends_it_and_help_and_unknown_commands_do_not(self):
        result = self.chat(["/help", "/nonsense", "", "one", "/exit", "two"])
        self.assertEqual(result.stdout, self.answer("one") + "\n")
        self.assertIn("There is no command /nonsense.", result.stderr)
        self.assertEqual(result.stderr.count("/clear forgets"), 3)

    def test_a_message_that_is_refused_is_as_if_it_had_not_been_said(self):
        first = self.answer("one")
        second = self.answer("one", first, "two")
        result = self.chat(["one", "word " * 600, "two"])
        self.assertEqual(result.stdout, f"{first}\n\n{second}\n")
        self.assertIn("/clear begins a new one", result.stderr)

    def test_a_full_stdout_ends_it(self):
        with open("/dev/full", "wb") as full:
            result = run("chat", "--max-tokens", "3", *tiny(), stdin="one\ntwo\n", stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 1)
        self.assertIn("troupe: Cannot write to stdout", result.stderr)


class Terminal:
    """A terminal that belongs to a `troupe chat`: keys go to its signals as they do for a user."""

    def __init__(self, *arguments):
        self.end, tty = pty.openpty()
        self.process = subprocess.Popen([troupe(), "chat", *arguments], stdin=tty, stdout=tty, stderr=tty,
                                        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        os.close(tty)
        self.screen = b""

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.end)

    def type(self, keys):
        os.write(self.end, keys)

    def read(self):
        """What was written since. Nothing is left to read when the program has ended."""
        ready, _, _ = select.select([self.end], [], [], PATIENCE)
        assert ready, f"nothing more was written after {self.screen[-300:]}"
        try:
            got = os.read(self.end, 65536)
        except OSError:
            got = b""
        self.screen += got
        return got

    def wait_for(self, what, count=1):
        while self.screen.count(what) < count:
            assert self.read(), f"it ended; the last was {self.screen[-300:]}"


class OnATerminal(TestCase):
    def chat(self, *arguments):
        terminal = Terminal(*(arguments or ENDLESS), *tiny(context=65536))
        self.addCleanup(terminal.close)
        terminal.wait_for(b"\r\n> ")
        return terminal

    def start_answer(self, terminal, message):
        terminal.type(message + b"\n")
        terminal.wait_for(message + b"\r\n")
        terminal.read()

    def test_ctrl_c_cancels_the_answer_and_not_the_program(self):
        terminal = self.chat()
        for count in (1, 2, 3):
            self.start_answer(terminal, b"go on %d" % count)
            terminal.type(b"\x03")
            terminal.wait_for(b"[cancelled]", count)
            terminal.wait_for(b"\r\n> ", count + 1)
        self.assertIsNone(terminal.process.poll())
        terminal.type(b"\x04")
        self.assertEqual(terminal.process.wait(PATIENCE), 0)

    def test_ctrl_c_at_the_prompt_ends_nothing_and_cancels_no_later_answer(self):
        terminal = self.chat("--max-tokens", "1")
        for _ in range(3):
            terminal.type(b"\x03")
        terminal.type(b"hello\n")
        terminal.wait_for(b"\r\n> ", 2)
        self.assertNotIn(b"[cancelled]", terminal.screen)
        terminal.type(b"/exit\n")
        self.assertEqual(terminal.process.wait(PATIENCE), 0)

    def test_ctrl_d_ends_it(self):
        terminal = self.chat()
        terminal.type(b"\x04")
        self.assertEqual(terminal.process.wait(PATIENCE), 0)

    def test_a_terminal_that_is_closed_ends_it_even_while_it_answers(self):
        terminal = self.chat()
        self.start_answer(terminal, b"go on")
        os.close(terminal.end)
        terminal.end = os.open("/dev/null", os.O_RDONLY)
        self.assertIn(terminal.process.wait(PATIENCE), (1, -signal.SIGHUP))


if __name__ == "__main__":
    main()
