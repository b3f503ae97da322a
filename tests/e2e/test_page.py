#!/usr/bin/env python3
"""The page in a real browser: a chat that streams, the stage, the keyboard, a narrow window, and text that would be script.

Screenshots are kept in the folder that TROUPE_SCREENSHOTS names, if it does.
"""
import http.server
import json
import os
import threading
import unittest
from pathlib import Path

import browser
from support import TestCase, eventually, folder, main, tiny

ATTACK = """# Title
<img src=x onerror="window.attacked=1"><script>window.attacked=2</script>
Some **bold**, *soft* and `code <b>x</b>`, a [link](https://example.org/a?b=1) and a [trap](javascript:window.attacked=3).

```html
<script>window.attacked=4</script>
```

1. one
2. two

| a | b |
|---|---|
| <i>1</i> | 2 |
"""


@unittest.skipUnless(browser.path(), "there is no chromium")
class Page(TestCase):
    def open(self, url, **window):
        page = browser.Browser(**window)
        self.addCleanup(page.close)
        page.go(url)
        return page

    def keep(self, page, name):
        where = os.environ.get("TROUPE_SCREENSHOTS")
        page.screenshot(Path(where or folder) / f"{name}.png")

    def ask(self, page, text):
        page.run("document.getElementById('text').focus()")
        page.type(text)
        page.press("Enter")

    def test_a_chat_streams_stops_and_is_generated_again(self):
        server = self.serve(*tiny(context=16384))
        page = self.open(server.url)
        page.until("document.getElementById('model').textContent")
        page.run("document.getElementById('max_tokens').value = 40")
        self.ask(page, "Tell me a story")
        page.until("!running && document.querySelectorAll('.turn.assistant').length == 1", patience=120)
        self.assertEqual(page.run("document.querySelector('.turn.user').textContent"), "Tell me a story")
        self.assertEqual(page.run("document.querySelectorAll('.problem').length"), 0)
        self.assertRegex(page.run("document.querySelector('.turn.assistant .tools span').textContent"), r"\d+ \+ \d+ tokens")
        self.assertEqual(page.run("document.activeElement.id"), "text")
        # An answer without end is stopped by the keyboard, and the engine is told.
        page.run("document.getElementById('max_tokens').value = 15000")
        page.run("window.fetch = (real => (url, how) => real(url, how && how.body ? {...how, body: how.body.replace('{', '{\"ignore_eos\":true,')} : how))(fetch)")
        self.ask(page, "And on")
        page.until("document.querySelectorAll('.turn.assistant').length == 2 && "
                   "document.querySelectorAll('.turn.assistant')[1].textContent.length > 20")
        page.press("Escape")
        page.until("!running")
        self.assertIn("stopped", page.run("document.querySelectorAll('.turn.assistant .tools span')[1].textContent"))
        load = lambda: json.loads(self.get(server.url + "/load"))
        eventually("nothing runs", lambda: load()["running"] == 0)
        before = page.run("turns.length")
        page.run("document.getElementById('max_tokens').value = 8")
        page.run("document.querySelector('.regenerate').click()")
        page.until("!running && turns.length == " + str(before))
        self.assertEqual(page.run("document.querySelectorAll('.turn.assistant').length"), 2)
        # A new chat ends the answer that still comes, and has nothing of it.
        page.run("document.getElementById('max_tokens').value = 15000")
        self.ask(page, "And on again")
        eventually("it runs", lambda: load()["running"] == 1)
        page.run("document.getElementById('fresh').click()")
        eventually("nothing runs", lambda: load()["running"] == 0)
        self.assertEqual(page.run("new Promise(done => setTimeout(() => done([turns.length, running, "
                                  "document.querySelectorAll('.turn').length]), 200))"), [0, None, 0])
        self.assertEqual(page.problems, [])

    def get(self, url):
        import urllib.request
        with urllib.request.urlopen(url) as answer:
            return answer.read()

    def test_the_stage_shows_actors_steps_and_blocks_while_a_chat_runs(self):
        server = self.serve(*tiny(context=16384))
        client = self.client(server)
        client.ask(1, "hello", max_tokens=15000, ignore_eos=True)
        page = self.open(server.url + "/#stage")
        names = "[...document.querySelectorAll('#tree .actor')].map(row => row.children[0].textContent)"
        page.until(names + ".includes('stream')")  # Actors are counted from the first look on.
        names = page.run(names)
        for name in ("supervisor", "router", "scheduler", "KV-cache manager", "executor", "worker 0", "http"):
            self.assertIn(name, names)
        page.until("steps.length > 20 && steps.some(step => step.decode_tokens == 1)")
        page.until("Number(document.querySelector('#figures b').textContent) == 1")  # It runs.
        page.until("[...document.querySelectorAll('#tree .actor')].some(row => row.children[0].textContent == 'scheduler' && "
                   "parseFloat(row.children[2].textContent) > 0)")
        self.assertRegex(page.run("document.getElementById('blocks-legend').textContent"), r"in use: [1-9]")
        painted = page.run("(() => { const c = document.getElementById('steps'); const d = c.getContext('2d').getImageData(0, 0, c.width, "
                           "c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()")
        self.assertGreater(painted, 100)
        page.until("steps.length && before.uptime_ms - steps[0].end_ms > 4000")  # So that the picture shows something.
        self.keep(page, "stage")
        self.assertEqual(page.problems, [])

    def test_what_a_model_writes_is_shown_and_never_run(self):
        class Fake(http.server.BaseHTTPRequestHandler):
            page = None

            def do_GET(self):
                body = Fake.page if self.path == "/" else b"{}"
                self.send_response(200)
                self.send_header("Content-Type", "text/html" if self.path == "/" else "application/json")
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for i in range(0, len(ATTACK), 7):
                    event = {"choices": [{"index": 0, "delta": {"content": ATTACK[i:i + 7]}, "finish_reason": None}]}
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, *_):
                pass

        Fake.page = self.get(self.serve(*tiny()).url + "/")
        fake = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
        self.addCleanup(fake.server_close)
        self.addCleanup(fake.shutdown)
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        page = self.open(f"http://127.0.0.1:{fake.server_port}/", dark=True)
        self.ask(page, "<b>not bold</b>")
        page.until("!running && document.querySelectorAll('.turn.assistant').length == 1")
        self.assertIsNone(page.run("window.attacked"))
        answer = "document.querySelector('.turn.assistant .body')"
        self.assertEqual(page.run(answer + ".querySelectorAll('img, script, i, b').length"), 0)
        self.assertEqual(page.run(answer + ".querySelectorAll('strong, em, pre, ol li, td').length"), 1 + 1 + 1 + 2 + 2)
        self.assertEqual(page.run("[...document.querySelectorAll('.turn a')].map(a => a.href)"), ["https://example.org/a?b=1"])
        self.assertIn("<script>window.attacked=4</script>", page.run(answer + ".querySelector('pre code').textContent"))
        self.assertEqual(page.run("document.querySelector('.turn.user').textContent"), "<b>not bold</b>")
        # Also who gets markup into the page cannot run it.
        page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.attacked = 5'}))")
        self.assertIsNone(page.run("window.attacked"))
        self.keep(page, "chat-dark")

    def test_everything_is_reached_by_the_keyboard_and_fits_a_narrow_window(self):
        server = self.serve(*tiny())
        page = self.open(server.url, width=400, height=700)
        self.assertLessEqual(page.run("document.documentElement.scrollWidth"), 400)
        page.run("document.activeElement.blur()")
        reached, outlines = [], set()
        for _ in range(12):
            page.press("Tab")
            reached.append(page.run("document.activeElement.id || document.activeElement.className || document.activeElement.tagName"))
            outlines.add(page.run("document.activeElement == document.body || getComputedStyle(document.activeElement).outlineStyle != 'none'"))
        for wanted in ("skip", "tab-chat", "fresh", "theme", "log", "text", "send", "SUMMARY"):
            self.assertIn(wanted, reached)
        self.assertEqual(outlines, {True})  # One sees where one is.
        page.run("document.getElementById('tab-chat').focus()")
        page.press("ArrowRight")
        page.until("!document.getElementById('stage').hidden && document.getElementById('chat').hidden")
        page.until("document.querySelectorAll('#tree .actor').length > 6")
        self.assertLessEqual(page.run("document.documentElement.scrollWidth"), 400)
        self.keep(page, "stage-narrow")
        page.press("ArrowRight")
        page.until("document.getElementById('stage').hidden")
        theme = page.run("document.documentElement.dataset.theme")
        page.run("document.getElementById('theme').focus()")
        page.press("Enter")
        self.assertNotEqual(page.run("document.documentElement.dataset.theme"), theme)
        self.assertEqual(page.problems, [])

    def test_a_key_that_is_wanted_is_asked_for(self):
        server = self.serve(*tiny(), environment={"TROUPE_API_KEY": "secret"})
        page = self.open(server.url)
        self.ask(page, "hello")
        page.until("document.querySelectorAll('.problem').length == 1")
        page.until("document.activeElement.id == 'key' || document.getElementById('options').open")
        page.run("document.getElementById('key').value = 'secret'")
        page.run("document.getElementById('key').dispatchEvent(new Event('change'))")
        self.ask(page, "hello")
        page.until("!running && document.querySelectorAll('.turn.assistant').length == 2")
        self.assertEqual(page.run("document.querySelectorAll('.problem').length"), 1)


if __name__ == "__main__":
    main()
