#!/usr/bin/env python3
"""/openapi.json against the server that wrote it: `schemathesis` sends what the document allows and what it does not, and every
answer must have a status, a type, fields and a body that the document has.

How many bodies each operation is tried with is TROUPE_FUZZ_COUNT / 25, or 20. Without the package `schemathesis` what needs it is
skipped.
"""
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import support
from support import TestCase, main
from official_clients import model_that_says

PYTHON = next((python for python in (sys.executable, os.environ.get("TROUPE_PYTHON")) if python
               and subprocess.run([python, "-c", "import schemathesis"], capture_output=True).returncode == 0), None)
CASES = max(2, int(os.environ.get("TROUPE_FUZZ_COUNT", 500)) // 25)
CALL = ["<tool_call>\n", '{"name": "f", "arguments": {', '"x": 1}}\n', "</tool_call>"]
# Whether a body is taken may depend on several fields together (best_of and n), which a schema does not say.
NOT_CHECKED = "positive_data_acceptance"


class OpenApi(TestCase):
    def served(self, *arguments, **more):
        """A server with a model that calls a tool, whatever it is asked, and then ends; no answer is long in any case."""
        model = model_that_says("caller", *CALL, context=512)
        return self.serve("--model", str(model), "--served-model-name", "caller", *arguments, **more)

    def document(self, server, key=None):
        request = urllib.request.Request(server.url + "/openapi.json", headers={"x-api-key": key} if key else {})
        return json.loads(urllib.request.urlopen(request).read())

    def test_every_route_is_there_with_what_it_takes_and_answers(self):
        server = self.served()
        document = self.document(server)
        self.assertEqual(document["openapi"], "3.1.0")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                with self.subTest(f"{method} {path}"):
                    self.assertTrue(operation["summary"])
                    self.assertIn("200", operation["responses"])
                    self.assertEqual(method == "post", "requestBody" in operation)
                    self.assertNotIn("security", operation)
        # What is there, by its own answer to OPTIONS; nothing that is there is missing, and nothing else is told of.
        paths = {"/", "/live", "/ready", "/health", "/version", "/load", "/metrics", "/stage", "/openapi.json", "/v1/models",
                 "/v1/models/{model}", "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages",
                 "/v1/messages/count_tokens", "/v1/embeddings", "/tokenize", "/detokenize"}
        self.assertEqual(set(document["paths"]), paths)
        for path in paths:
            asked = urllib.request.Request(server.url + path.replace("{model}", "caller"), method="OPTIONS")
            allowed = {method.lower() for method in urllib.request.urlopen(asked).headers["Allow"].split(", ")}
            self.assertEqual(set(document["paths"][path]), allowed - {"head", "options"}, path)
        body = document["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        self.assertEqual(body["required"], ["prompt"])
        self.assertFalse(body["additionalProperties"])
        self.assertEqual(body["properties"]["n"], {"type": ["integer", "null"], "minimum": 1, "maximum": 128})
        self.assertIn("caller", body["properties"]["model"]["enum"])

    def test_with_keys_the_document_says_where_they_are_needed_and_needs_one_itself(self):
        server = self.served(environment={"TROUPE_API_KEY": "right"})
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.document(server)
        self.assertEqual(caught.exception.code, 401)
        paths = self.document(server, "right")["paths"]
        needing = {path for path, methods in paths.items() for operation in methods.values() if "security" in operation}
        self.assertEqual(set(paths) - needing, {"/", "/live", "/ready", "/health"})
        self.fuzz(server, "--header", "Authorization: Bearer right", "--checks", "ignored_auth", "--phases", "fuzzing", "--max-examples", "2")

    def test_what_it_answers_is_what_the_document_says(self):
        server = self.served()
        self.fuzz(server, "--checks", "all", "--exclude-checks", NOT_CHECKED, "--phases", "coverage,fuzzing",
                  "--max-examples", str(CASES))

    def fuzz(self, server, *options):
        if PYTHON is None:
            self.skipTest("the package schemathesis is missing")
        done = subprocess.run([PYTHON, "-m", "schemathesis.cli", "run", server.url + "/openapi.json", *options, "--no-color",
                               "--generation-deterministic", "--max-response-time", str(support.PATIENCE),
                               "--continue-on-failure", "--request-timeout", str(support.PATIENCE), "--suppress-health-check", "all"],
                              cwd=support.folder, capture_output=True, text=True,
                              env=os.environ | {"SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(Path(__file__).parent)})
        self.assertEqual(done.returncode, 0, done.stdout[-20000:] + done.stderr)
        self.assertIsNone(server.process.poll(), server.log)
        load = json.loads(urllib.request.urlopen(urllib.request.Request(server.url + "/load", headers={"x-api-key": "right"})).read())
        self.assertEqual(load["restarts"], 0)
        print(done.stdout[-700:])


if __name__ == "__main__":
    main()
