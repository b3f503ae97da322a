#!/usr/bin/env python3
"""What Prometheus, vLLM's dashboards and the Kubernetes inference gateway read."""
import re
import shutil
import subprocess
import unittest
import urllib.request

from support import TestCase, eventually, main, tiny

# What vLLM's example dashboard and the gateway's model-server protocol ask for.
READ_BY_OTHERS = ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:prefix_cache_hits_total",
                  "vllm:prefix_cache_queries_total", "vllm:prompt_tokens_total", "vllm:generation_tokens_total",
                  "vllm:request_success_total", "vllm:time_to_first_token_seconds_bucket", "vllm:inter_token_latency_seconds_bucket",
                  "vllm:e2e_request_latency_seconds_bucket", "vllm:request_queue_time_seconds_sum", "vllm:request_prefill_time_seconds_sum",
                  "vllm:request_decode_time_seconds_sum", "vllm:request_prompt_tokens_bucket", "vllm:request_generation_tokens_bucket",
                  "vllm:request_params_max_tokens_bucket", "vllm:request_max_num_generation_tokens_bucket", "vllm:num_preemptions_total", "vllm:iteration_tokens_total_bucket",
                  "vllm:cache_config_info"]


class Metrics(TestCase):
    def scrape(self, server):
        with urllib.request.urlopen(server.url + "/metrics") as answer:
            self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
            return answer.read().decode()

    def values(self, server):
        """By name, over all labels."""
        out = {}
        for line in self.scrape(server).splitlines():
            if line and not line.startswith("#"):
                name, value = re.match(r"([^{ ]+)(?:{.*})? (\S+)", line).groups()
                out[name] = out.get(name, 0) + float(value)
        return out

    def test_counts_are_those_of_what_was_asked_whatever_the_front_end(self):
        server = self.serve(*tiny(context=4096))
        client = self.client(server)
        before = self.values(server)
        for name in READ_BY_OTHERS:
            self.assertIn(name, before)
        client.ask(1, "a prompt for everybody " * 8, max_tokens=20, ignore_eos=True, n=2)
        client.wait(1)
        request = urllib.request.Request(server.url + "/v1/completions", method="POST", headers={"Content-Type": "application/json"},
                                         data=b'{"prompt": "hello", "max_tokens": 5, "ignore_eos": true}')
        urllib.request.urlopen(request).read()
        eventually("both have ended", lambda: self.values(server)["vllm:request_success_total"] == 2)
        now = self.values(server)
        self.assertEqual(now["vllm:generation_tokens_total"], 2 * 20 + 5)
        self.assertEqual(now["vllm:time_to_first_token_seconds_count"], 2)
        self.assertEqual(now["vllm:inter_token_latency_seconds_count"], 2 * 20 + 5 - 2)
        self.assertEqual(now["vllm:request_generation_tokens_sum"], 45)
        self.assertEqual(now["vllm:request_max_num_generation_tokens_sum"], 20 + 5)
        self.assertGreater(now["troupe:actor_messages_total"], 20)
        self.assertGreater(now["troupe:actor_busy_seconds_total"], 0)
        self.assertIn('troupe:actor_mailbox_messages{actor="scheduler"', self.scrape(server))
        self.assertEqual(now["vllm:e2e_request_latency_seconds_count"], 2)
        parts = sum(now[f"vllm:request_{phase}_time_seconds_sum"] for phase in ("queue", "prefill", "decode"))
        self.assertAlmostEqual(parts, now["vllm:e2e_request_latency_seconds_sum"], places=6)
        self.assertGreater(now["troupe:steps_total"], 20)
        self.assertGreaterEqual(now["vllm:iteration_tokens_total_sum"], now["vllm:prompt_tokens_total"])
        client.ask(2, "a prompt for everybody " * 8, max_tokens=1)
        client.wait(2)
        eventually("its prefix was hit", lambda: self.values(server)["vllm:prefix_cache_hits_total"] >= 16)

    def test_what_runs_is_seen_while_it_runs(self):
        server = self.serve(*tiny(context=16384))
        client = self.client(server)
        client.ask(1, "hello", max_tokens=15000, ignore_eos=True)
        eventually("it runs", lambda: self.values(server)["vllm:num_requests_running"] == 1)
        eventually("it has blocks", lambda: self.values(server)["vllm:kv_cache_usage_perc"] > 0)
        client.send(type="cancel_request", id=1)
        client.wait(1)
        eventually("it does not run", lambda: self.values(server)["vllm:num_requests_running"] == 0)
        self.assertIn('vllm:request_success_total{engine="0",finished_reason="abort",', self.scrape(server))

    @unittest.skipUnless(shutil.which("promtool"), "there is no promtool")
    def test_promtool_complains_of_nothing_but_the_colons_in_names_that_are_vllms(self):
        server = self.serve(*tiny())
        checked = subprocess.run(["promtool", "check", "metrics"], input=self.scrape(server), capture_output=True, text=True)
        complaints = [line for line in (checked.stdout + checked.stderr).splitlines()
                      if line and "metric names should not contain ':'" not in line]
        # These names are vLLM's, too: a gauge that counts nothing, a histogram called a total.
        complaints = [line for line in complaints if not re.match(r"vllm:iteration_tokens_total ", line)]
        self.assertEqual(complaints, [])


if __name__ == "__main__":
    main()
