#!/usr/bin/env python3
"""The official packages `openai` and `anthropic` against the running server: what they send is taken, what comes they understand.

The calls are counted; a whole run makes at least 60, beside those that are many at once. docs/clients.md lists what else
clients rely on.
"""
import asyncio
import json
import sys
import threading
import time
import urllib.request

import support
from support import Server, TestCase, eventually, main, needs_real_model, tiny
from official_clients import (THINKING_TEMPLATE, answered, anthropic, anthropic_client, async_openai_client, byte_token,
                              model_that_says, openai, openai_client)

CALLS_AT_LEAST = 60
HELLO = [{"role": "user", "content": "hello"}]
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
CHATTY = ["The", " capital", " of", " France", " is", " Paris", "."]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather somewhere",
                                           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
LETTERS = {"allowed_token_ids": [byte_token(letter) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]}  # Else most is no valid UTF-8.
ANTHROPIC_SAMPLING = {"temperature": 0}  # The package has no argument for it any more; the API has the field.
WEATHER = {"name": "get_weather", "description": "The weather somewhere"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TINY = [*tiny(context=4096), "--served-model-name", "tiny"]
servers = {}


def server_of(name, *arguments):
    """One for all tests that need no other."""
    if name not in servers:
        servers[name] = Server(*arguments)
    return servers[name]


def tearDownModule():
    for server in servers.values():
        server.kill()
    print(f"{len(answered)} calls of the official clients were answered")
    if len(sys.argv) == 3:  # All tests were run.
        assert len(answered) >= CALLS_AT_LEAST, answered


class ClientCase(TestCase):
    options = LETTERS

    def setUp(self):
        self.server = server_of("tiny", *TINY)
        self.client = self.client_of(self.server)

    def client_of(self, server, *arguments, make=openai_client, **options):
        client = make(server, *arguments, **options)
        self.addCleanup(client.close)
        return client

    def server_that_says(self, name, *pieces, **more):
        if name not in servers:
            server_of(name, "--model", str(model_that_says(name, *pieces, **more)), "--backend", "reference")
        return servers[name]

    def tearDown(self):
        for server in servers.values():
            self.assertIsNone(server.process.poll(), server.log)
            self.no_request_is_left(server)

    def complete(self, prompt="hello", **fields):
        defaults = {"model": "tiny", "max_tokens": 8, "temperature": 0, "extra_body": self.options}
        return self.client.completions.create(prompt=prompt, **defaults | fields)

    def chat(self, messages=HELLO, **fields):
        defaults = {"model": "tiny", "max_completion_tokens": 8, "temperature": 0, "extra_body": self.options}
        return self.client.chat.completions.create(messages=messages, **defaults | fields)

    def text(self, *arguments, **fields):
        return self.complete(*arguments, **fields).choices[0].text

    def refused(self, field, call, *arguments, kind=openai.BadRequestError, code=None, **fields):
        with self.assertRaises(kind) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.param, field)
        self.assertIn(field, caught.exception.message)
        self.assertEqual(caught.exception.code, code or caught.exception.code)

    def load(self, server):
        return json.loads(urllib.request.urlopen(server.url + "/load").read())

    def no_request_is_left(self, server):
        eventually("every request has ended", lambda: self.load(server)["open_requests"] == self.load(server)["running"] == 0)


class Completions(ClientCase):
    def test_a_string_its_token_ids_and_lists_of_both_are_answered_the_same(self):
        one = self.complete("AB")
        self.assertEqual((one.object, one.model, one.choices[0].index, one.choices[0].finish_reason),
                         ("text_completion", "tiny", 0, "length"))
        self.assertEqual((one.usage.prompt_tokens, one.usage.completion_tokens, one.usage.total_tokens), (2, 8, 10))
        ids = [byte_token("A"), byte_token("B")]
        for prompt in (ids, ["AB"], [ids]):
            self.assertEqual(self.text(prompt), one.choices[0].text)
        for prompt in (["AB", "CD"], [ids, [byte_token("C"), byte_token("D")]]):
            both = self.complete(prompt)
            self.assertEqual([choice.text for choice in both.choices], [one.choices[0].text, self.text("CD")])
            self.assertEqual([choice.index for choice in both.choices], [0, 1])
            self.assertEqual(both.usage.completion_tokens, 16)

    def test_n_answers_differ_and_a_seed_repeats_them(self):
        fields = {"n": 3, "seed": 7, "temperature": 1.0}
        first, again, other = (self.complete(**fields | more) for more in ({}, {}, {"seed": 8}))
        texts = [choice.text for choice in first.choices]
        self.assertEqual(len(set(texts)), 3)
        self.assertEqual([choice.text for choice in again.choices], texts)
        self.assertNotEqual([choice.text for choice in other.choices], texts)

    def test_best_of_gives_one_of_the_answers_that_n_would_have_given(self):
        fields = {"seed": 7, "temperature": 1.0}
        all_three = [choice.text for choice in self.complete(n=3, **fields).choices]
        best = self.complete(best_of=3, **fields)
        self.assertEqual(len(best.choices), 1)
        self.assertIn(best.choices[0].text, all_three)
        self.assertEqual(best.usage.completion_tokens, 3 * 8)

    def test_an_echo_begins_with_the_prompt_and_its_logprobs_cover_both(self):
        choice = self.complete("ABC", echo=True, logprobs=2).choices[0]
        self.assertTrue(choice.text.startswith("ABC"))
        self.assertEqual(choice.logprobs.tokens[:3], ["A", "B", "C"])
        self.assertEqual(choice.logprobs.text_offset[:4], [0, 1, 2, 3])
        self.assertIsNone(choice.logprobs.token_logprobs[0])
        self.assertEqual(len(choice.logprobs.token_logprobs), 3 + 8)
        self.assertTrue(all(logprob <= 0 for logprob in choice.logprobs.token_logprobs[1:]))

    def test_a_prompt_may_be_scored_without_a_token_as_evaluation_harnesses_do(self):
        whole = self.complete("ABC", echo=True, logprobs=1, max_tokens=0)
        self.assertEqual((whole.choices[0].text, whole.usage.completion_tokens), ("ABC", 0))
        one_more = self.complete("ABC", echo=True, logprobs=1, max_tokens=1).choices[0].logprobs
        self.assertEqual(whole.choices[0].logprobs.token_logprobs, one_more.token_logprobs[:3])
        self.assertEqual(whole.choices[0].logprobs.top_logprobs, one_more.top_logprobs[:3])

    def test_a_stop_string_is_left_out_and_ends_the_answer(self):
        fields = {"seed": 4, "temperature": 1.0}
        whole = self.text(**fields)
        for stop in (whole[3:6], ["never", whole[3:6]]):
            stopped = self.complete(stop=stop, **fields).choices[0]
            self.assertEqual((stopped.text, stopped.finish_reason), (whole[:whole.index(whole[3:6])], "stop"))
            self.assertEqual(stopped.stop_reason, whole[3:6])  # vLLM's.

    def test_a_logit_bias_of_100_leaves_one_token(self):
        self.assertEqual(self.text(logit_bias={str(byte_token("A")): 100}, extra_body={}), "A" * 8)

    def test_a_stream_says_what_the_whole_does_and_its_last_chunk_has_the_usage(self):
        whole = self.complete(n=2, seed=3, temperature=1.0)
        chunks = list(self.complete(n=2, seed=3, temperature=1.0, stream=True, stream_options={"include_usage": True}))
        self.assertEqual([self.of_choice(chunks, index) for index in range(2)],
                         [(choice.text, choice.finish_reason) for choice in whole.choices])
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], 16))
        self.assertEqual({chunk.usage for chunk in chunks[:-1]}, {None})

    def of_choice(self, chunks, index):
        mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        self.assertEqual({choice.finish_reason for choice in mine[:-1]}, {None})
        return "".join(choice.text for choice in mine), mine[-1].finish_reason

    def test_a_prompt_that_was_there_before_is_cached_but_not_for_another_salt(self):
        prompt = "cached " * 20
        counts = [self.complete(prompt, extra_body=LETTERS | {"cache_salt": salt}).usage.prompt_tokens_details.cached_tokens
                  for salt in ("a", "a", "b")]
        self.assertGreater(counts[1], 0)
        self.assertEqual((counts[0], counts[2]), (0, 0))


class VllmFields(ClientCase):
    def test_what_leaves_only_the_likeliest_token_gives_the_greedy_answer(self):
        greedy = self.text(extra_body={})
        for fields in ({"top_k": 1}, {"min_p": 1}, {"top_p": 1e-6}):
            self.assertEqual(self.text(temperature=1, extra_body=fields), greedy, fields)
        self.assertEqual(self.text(extra_body={"top_k": -1, "min_p": 0, "typical_p": 1, "repetition_penalty": 1, "priority": 0}), greedy)

    def test_a_repetition_penalty_changes_an_answer_that_repeats(self):
        biased = {"logit_bias": {str(byte_token("A")): 30}, "max_tokens": 20}
        self.assertEqual(self.text(**biased), "A" * 20)
        penalised = self.text(**biased, extra_body=LETTERS | {"repetition_penalty": 50})
        self.assertGreater(len(set(penalised)), 1)

    def test_only_allowed_tokens_come_and_no_bad_word(self):
        allowed = {"allowed_token_ids": [byte_token(letter) for letter in "ABC"]}
        self.assertLessEqual(set(self.text(temperature=1, max_tokens=40, extra_body=allowed)), set("ABC"))
        self.assertLessEqual(set(self.text(temperature=1, max_tokens=40, extra_body=allowed | {"bad_words": ["B"]})), set("AC"))

    def test_an_end_token_ends_the_answer_unless_it_is_ignored(self):
        ends = {"logit_bias": {"2": 100}}
        ended = self.complete(**ends, extra_body={})
        self.assertEqual((ended.choices[0].finish_reason, ended.usage.completion_tokens), ("stop", 1))
        self.assertIsNone(ended.choices[0].stop_reason)
        ignored = self.complete(**ends, extra_body={"ignore_eos": True})
        self.assertEqual((ignored.choices[0].finish_reason, ignored.usage.completion_tokens), ("length", 8))

    def test_a_stop_token_ends_the_answer_after_min_tokens(self):
        fields = {"logit_bias": {str(byte_token("A")): 100}}
        at_once = self.complete(**fields, extra_body={"stop_token_ids": [byte_token("A")]})
        later = self.complete(**fields, extra_body={"stop_token_ids": [byte_token("A")], "min_tokens": 5})
        self.assertEqual((at_once.choices[0].finish_reason, at_once.usage.completion_tokens), ("stop", 1))
        self.assertEqual(at_once.choices[0].stop_reason, byte_token("A"))
        self.assertEqual((later.choices[0].finish_reason, later.usage.completion_tokens), ("stop", 6))

    def test_prompt_logprobs_come_by_vllms_names(self):
        of_completion = self.complete("AB", extra_body={"prompt_logprobs": 1}).choices[0].prompt_logprobs
        of_chat = self.chat(extra_body={"prompt_logprobs": 1}).prompt_logprobs
        for entries in (of_completion, of_chat):
            self.assertIsNone(entries[0])
            self.assertEqual(set(next(iter(entries[1].values()))), {"logprob", "rank", "decoded_token"})
        self.assertEqual(of_completion[1][str(byte_token("B"))]["decoded_token"], "B")


class Chat(ClientCase):
    def test_messages_of_all_roles_and_of_several_parts_are_answered(self):
        whole = self.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one\ntwo", "name": "eve"},
                           {"role": "assistant", "content": "yes"}, {"role": "user", "content": "why"}])
        self.assertEqual((whole.object, whole.choices[0].message.role, whole.choices[0].finish_reason),
                         ("chat.completion", "assistant", "length"))
        parts = self.chat([{"role": "developer", "content": "Be brief."},
                           {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
                           {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}, {"role": "user", "content": "why"}])
        self.assertEqual(parts.choices[0].message.content, whole.choices[0].message.content)
        self.assertGreater(parts.usage.prompt_tokens_details.cached_tokens, 0)

    def test_deltas_of_a_stream_are_the_whole_answer_with_the_same_seed(self):
        fields = {"n": 2, "seed": 5, "temperature": 1.0, "logprobs": True, "top_logprobs": 2}
        whole = self.chat(**fields)
        for options, last_usage in (({}, None), ({"stream_options": {"include_usage": True}}, 16)):
            chunks = list(self.chat(stream=True, **fields, **options))
            self.assertEqual(chunks[-1].usage and chunks[-1].usage.completion_tokens, last_usage)
            self.assertEqual({(chunk.id, chunk.object) for chunk in chunks}, {(chunks[0].id, "chat.completion.chunk")})
            for index, choice in enumerate(whole.choices):
                mine = [each for chunk in chunks for each in chunk.choices if each.index == index]
                self.assertEqual((mine[0].delta.role, mine[0].delta.content), ("assistant", ""))
                self.assertEqual("".join(each.delta.content or "" for each in mine), choice.message.content)
                self.assertEqual([each.finish_reason for each in mine], [None] * (len(mine) - 1) + ["length"])
                self.assertEqual([entry for each in mine if each.logprobs for entry in each.logprobs.content],
                                 choice.logprobs.content)

    def test_logprobs_have_the_token_that_was_chosen_and_the_likeliest(self):
        entries = self.chat(logprobs=True, top_logprobs=3, extra_body={}).choices[0].logprobs.content
        self.assertEqual(len(entries), 8)
        for entry in entries:
            self.assertEqual(len(entry.top_logprobs), 3)
            self.assertEqual((entry.top_logprobs[0].bytes, entry.top_logprobs[0].logprob), (entry.bytes, entry.logprob))
        self.assertEqual(self.chat(logprobs=True).choices[0].logprobs.content[0].top_logprobs, [])

    def test_the_packages_own_stream_helper_assembles_the_answer(self):
        chatty = self.client_of(self.server_that_says("chatty", *CHATTY))
        with chatty.chat.completions.stream(model="chatty", messages=HELLO) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion().choices[0]
        self.assertEqual([delta for delta in deltas if delta], CHATTY)
        self.assertEqual((final.message.content, final.finish_reason), ("".join(CHATTY), "stop"))

    def test_thoughts_come_by_both_of_their_names_and_not_in_the_content(self):
        thinker = self.client_of(self.server_that_says("thinker", "<think>", "Hm", ", well", "</think>", "\n\n", "Yes", ".",
                                                       template=THINKING_TEMPLATE))
        fields = {"model": "thinker", "messages": HELLO}
        message = thinker.chat.completions.create(**fields).choices[0].message
        self.assertEqual((message.reasoning, message.reasoning_content, message.content), ("Hm, well", "Hm, well", "Yes."))
        deltas = [chunk.choices[0].delta for chunk in thinker.chat.completions.create(**fields, stream=True)]
        self.assertEqual("".join(getattr(delta, "reasoning", None) or "" for delta in deltas), "Hm, well")
        self.assertEqual("".join(delta.content or "" for delta in deltas), "Yes.")
        silent = thinker.chat.completions.create(**fields, extra_body={"include_reasoning": False}).choices[0].message
        self.assertEqual((silent.content, hasattr(silent, "reasoning")), ("Yes.", False))
        response = thinker.responses.create(model="thinker", input="hello")
        self.assertEqual([item.type for item in response.output], ["reasoning", "message"])
        again = thinker.responses.create(model="thinker", input=[*(item.model_dump(exclude_none=True) for item in response.output),
                                                                 {"role": "user", "content": "again"}])
        self.assertEqual(again.output_text, "Yes.")
        claude = self.client_of(servers["thinker"], make=anthropic_client)
        said = claude.messages.create(model="thinker", messages=HELLO, max_tokens=30)
        self.assertEqual([block.type for block in said.content], ["thinking", "text"])
        for thoughts in (thinker.chat.completions.create(**fields).usage.completion_tokens_details.reasoning_tokens,
                         response.usage.output_tokens_details.reasoning_tokens, said.usage.output_tokens_details.thinking_tokens):
            self.assertEqual(thoughts, 4)  # With both marks.

    def test_fields_that_change_nothing_are_taken(self):
        plain = self.chat().choices[0].message.content
        taken = self.chat(user="eve", metadata={"a": "b"}, store=False, service_tier="auto", modalities=["text"],
                          safety_identifier="x", prompt_cache_key="y", response_format={"type": "text"},
                          parallel_tool_calls=True, tool_choice="none", tools=TOOLS, frequency_penalty=0, presence_penalty=None)
        self.assertEqual(taken.choices[0].message.content, plain)


class Tools(ClientCase):
    """With a model that knows tools, and calls one."""

    def setUp(self):
        super().setUp()
        pieces = ["<tool_call>\n", '{"name": "get_weather", ', '"arguments": {"city": ', '"Par', 'is"}}\n', "</tool_call>"]
        self.caller = self.client_of(self.server_that_says("caller", *pieces))
        self.said = "".join(pieces)

    def call(self, **fields):
        return self.caller.chat.completions.create(**{"model": "caller", "messages": HELLO, "tools": TOOLS} | fields)

    def test_a_tool_call_comes_as_one_and_its_result_is_taken(self):
        choice = self.call().choices[0]
        self.assertEqual((choice.finish_reason, choice.message.content), ("tool_calls", None))
        made, = choice.message.tool_calls
        self.assertEqual((made.type, made.function.name), ("function", "get_weather"))
        self.assertEqual(json.loads(made.function.arguments), {"city": "Paris"})
        result = {"role": "tool", "tool_call_id": made.id, "content": "Sunny"}
        again = self.call(messages=[*HELLO, choice.message.model_dump(exclude_none=True), result])
        self.assertEqual(again.choices[0].finish_reason, "tool_calls")

    def test_a_streamed_tool_call_is_the_whole_one_and_no_markup_is_seen(self):
        with self.caller.chat.completions.stream(model="caller", messages=HELLO, tools=TOOLS) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_completion().choices[0]
        self.assertGreater(kinds.count("tool_calls.function.arguments.delta"), 1)
        self.assertNotIn("content.delta", [kind for kind in kinds if final.message.content])
        self.assertEqual(final.finish_reason, "tool_calls")
        self.assertEqual(json.loads(final.message.tool_calls[0].function.arguments), {"city": "Paris"})

    def test_without_tools_the_same_words_are_text(self):
        for fields in ({"tools": openai.omit}, {"tool_choice": "none"}):
            choice = self.call(**fields).choices[0]
            self.assertEqual((choice.finish_reason, choice.message.content, choice.message.tool_calls), ("stop", self.said, None))

    def test_a_model_that_knows_no_tools_refuses_them(self):
        self.refused("tools", self.chat, tools=TOOLS)
        self.refused("tool_choice", self.call, tool_choice="required")


class ResponsesTools(Tools):
    """The same over /v1/responses."""
    tools = [{"type": "function", **WEATHER, "parameters": CITY, "strict": False}]

    def call(self, **fields):
        return self.caller.responses.create(**{"model": "caller", "input": "hello", "tools": self.tools} | fields)

    def test_a_tool_call_comes_as_one_and_its_result_is_taken(self):
        answer = self.call()
        made, = answer.output
        self.assertEqual((answer.status, made.type, made.name, made.status), ("completed", "function_call", "get_weather", "completed"))
        self.assertEqual(json.loads(made.arguments), {"city": "Paris"})
        self.assertEqual((answer.tools[0].name, answer.tool_choice), ("get_weather", "auto"))
        result = {"type": "function_call_output", "call_id": made.call_id, "output": "Sunny"}
        again = self.call(input=[{"role": "user", "content": "hello"}, made.model_dump(exclude_none=True), result])
        self.assertEqual(again.output[0].type, "function_call")
        self.assertGreater(again.usage.input_tokens, answer.usage.input_tokens)

    def test_a_streamed_tool_call_is_the_whole_one_and_no_markup_is_seen(self):
        with self.caller.responses.stream(model="caller", input="hello", tools=self.tools) as stream:
            kinds = [event.type.removeprefix("response.") for event in stream]
            made, = stream.get_final_response().output
        deltas = ["function_call_arguments.delta"] * kinds.count("function_call_arguments.delta")
        self.assertGreater(len(deltas), 1)
        self.assertEqual(kinds, ["created", "in_progress", "output_item.added", *deltas, "function_call_arguments.done",
                                 "output_item.done", "completed"])
        self.assertEqual(json.loads(made.arguments), {"city": "Paris"})

    def test_without_tools_the_same_words_are_text(self):
        for fields in ({"tools": openai.omit}, {"tool_choice": "none"}):
            self.assertEqual(self.call(**fields).output_text, self.said)

    def test_a_model_that_knows_no_tools_refuses_them(self):
        self.refused("tools", self.client.responses.create, model="tiny", input="hello", tools=self.tools)
        self.refused("tool_choice", self.call, tool_choice="required")
        self.refused("tools[0].strict", self.call, tools=[self.tools[0] | {"strict": True}])


class AnthropicTools(Tools):
    """The same over /v1/messages."""
    tools = [{**WEATHER, "input_schema": CITY}]

    def setUp(self):
        super().setUp()
        self.claude = self.client_of(servers["caller"], make=anthropic_client)

    def fields(self, **fields):
        return {"model": "caller", "messages": HELLO, "max_tokens": 30, "tools": self.tools} | fields

    def call(self, **fields):
        return self.claude.messages.create(**self.fields(**fields))

    def test_a_tool_call_comes_as_one_and_its_result_is_taken(self):
        answer = self.call()
        made, = answer.content
        self.assertEqual((answer.stop_reason, made.type, made.name, made.input), ("tool_use", "tool_use", "get_weather", {"city": "Paris"}))
        for content in ("Sunny", [{"type": "text", "text": "Sunny"}]):
            result = {"type": "tool_result", "tool_use_id": made.id, "content": content}
            again = self.call(messages=[*HELLO, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}])
            self.assertEqual(again.stop_reason, "tool_use")

    def test_a_streamed_tool_call_is_the_whole_one_and_no_markup_is_seen(self):
        with self.claude.messages.stream(**self.fields()) as stream:
            events = list(stream)
            final = stream.get_final_message()
        pieces = [event.partial_json for event in events if event.type == "input_json"]
        self.assertGreater(len(pieces), 1)
        self.assertEqual(json.loads("".join(pieces)), {"city": "Paris"})
        self.assertEqual((final.stop_reason, final.content[0].input), ("tool_use", {"city": "Paris"}))
        self.assertNotIn("text", [event.type for event in events])

    def test_without_tools_the_same_words_are_text(self):
        for fields in ({"tools": anthropic.omit}, {"tool_choice": {"type": "none"}}):
            answer = self.call(**fields)
            self.assertEqual((answer.stop_reason, answer.content[0].text), ("end_turn", self.said))

    def test_a_model_that_knows_no_tools_refuses_them(self):
        for client, fields, named in ((self.client_of(self.server, make=anthropic_client), {"model": "tiny"}, "tools"),
                                      (self.claude, {"tool_choice": {"type": "any"}}, "tool_choice.type"),
                                      (self.claude, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type")):
            with self.assertRaises(anthropic.BadRequestError) as caught:
                client.messages.create(**self.fields(**fields))
            self.assertIn(f"'{named}'", caught.exception.body["error"]["message"])

    def test_tokens_are_counted_as_a_message_has_them(self):
        asked = self.fields(system="Be brief.")
        counted = self.claude.messages.count_tokens(**{key: value for key, value in asked.items() if key != "max_tokens"})
        usage = self.claude.messages.create(**asked).usage
        self.assertEqual(counted.input_tokens, usage.input_tokens + usage.cache_read_input_tokens)


class RequestIds(ClientCase):
    def test_an_answer_has_the_clients_id_or_one_of_its_own(self):
        claude = self.client_of(self.server, make=anthropic_client)
        message = {"model": "tiny", "messages": HELLO, "max_tokens": 2}
        for ask in (self.complete, lambda **fields: claude.messages.create(**message, **fields)):
            self.assertEqual(ask(extra_headers={"x-request-id": "mine-1"})._request_id, "mine-1")
            self.assertRegex(ask()._request_id, "^req_[0-9a-f]{32}$")
            self.assertRegex(ask(extra_headers={"x-request-id": "no spaces"})._request_id, "^req_")
        stream = self.complete(stream=True, extra_headers={"x-request-id": "mine-2"})
        self.assertEqual(stream.response.headers["x-request-id"], "mine-2")
        stream.close()

    def test_errors_have_it_too(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.complete("", extra_headers={"x-request-id": "mine-3"})
        self.assertEqual(caught.exception.request_id, "mine-3")
        with self.assertRaises(anthropic.BadRequestError) as caught:
            self.client_of(self.server, make=anthropic_client).messages.create(
                model="tiny", messages=HELLO, max_tokens=0, extra_headers={"x-request-id": "mine-4"})
        self.assertEqual((caught.exception.request_id, caught.exception.body["request_id"]), ("mine-4", "mine-4"))


class Responses(ClientCase):
    def setUp(self):
        super().setUp()
        self.chatty = self.client_of(self.server_that_says("chatty", *CHATTY))

    def respond(self, **fields):
        return self.chatty.responses.create(**{"model": "chatty", "input": "hello"} | fields)

    def test_a_response_is_completed_or_says_why_it_is_not(self):
        whole = self.respond(instructions="Be brief.", metadata={"a": "b"})
        self.assertEqual((whole.status, whole.output_text, whole.instructions, whole.metadata),
                         ("completed", "".join(CHATTY), "Be brief.", {"a": "b"}))
        self.assertEqual(whole.usage.output_tokens, len(CHATTY) + 1)
        self.assertEqual(whole.usage.total_tokens, whole.usage.input_tokens + whole.usage.output_tokens)
        cut = self.respond(max_output_tokens=3)
        self.assertEqual((cut.status, cut.incomplete_details.reason, cut.output_text),
                         ("incomplete", "max_output_tokens", "".join(CHATTY[:3])))

    def test_an_earlier_answer_and_parts_of_text_are_taken_as_input(self):
        first = self.respond()
        again = self.respond(input=[{"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
                                    *(item.model_dump(exclude_none=True) for item in first.output),
                                    {"role": "user", "content": "again"}])
        self.assertEqual(again.output_text, "".join(CHATTY))

    def test_events_come_in_order_and_make_up_the_response(self):
        events = list(self.respond(stream=True))
        kinds = [event.type.removeprefix("response.") for event in events]
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual(kinds, ["created", "in_progress", "output_item.added", "content_part.added"]
                         + ["output_text.delta"] * kinds.count("output_text.delta")
                         + ["output_text.done", "content_part.done", "output_item.done", "completed"])
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        self.assertEqual(("".join(deltas), events[-1].response.output_text), ("".join(CHATTY),) * 2)
        self.assertGreater(len(deltas), 1)
        with self.chatty.responses.stream(model="chatty", input="hello") as stream:
            self.assertEqual(len(list(stream)), len(events))
            self.assertEqual(stream.get_final_response().output_text, "".join(CHATTY))

    def test_what_would_need_answers_to_be_kept_is_refused(self):
        self.refused("previous_response_id", self.respond, previous_response_id="resp_1")
        self.refused("max_output_tokens", self.respond, max_output_tokens=0)
        self.refused("tools[0].type", self.respond, tools=[{"type": "web_search"}])


class Embeddings(ClientCase):
    def embed(self, input, **fields):
        return self.client.embeddings.create(model="tiny", input=input, **fields)

    def test_each_input_has_its_embedding_as_floats_and_as_the_packages_base64(self):
        texts = ["hello", "there", "hello"]
        answer = self.embed(texts, encoding_format="float")
        self.assertEqual([item.index for item in answer.data], [0, 1, 2])
        vectors = [item.embedding for item in answer.data]
        self.assertEqual(vectors[0], vectors[2])
        self.assertNotEqual(vectors[0], vectors[1])
        self.assertAlmostEqual(sum(value * value for value in vectors[0]), 1, places=5)
        for ours, decoded in zip(vectors, self.embed(texts).data):  # The package asks for base64 and decodes it.
            for a, b in zip(ours, decoded.embedding, strict=True):
                self.assertAlmostEqual(a, b, places=7)
        self.assertEqual((answer.model, answer.usage.prompt_tokens), ("tiny", answer.usage.total_tokens))
        self.assertEqual(self.embed([[byte_token("A")], [byte_token("B")]]).usage.prompt_tokens, 2)

    def test_what_cannot_be_had_is_a_bad_request_that_names_the_field(self):
        self.refused("input", self.embed, "")
        self.refused("dimensions", self.embed, "a", dimensions=8, code="unsupported_parameter")
        self.refused("model", lambda: self.client.embeddings.create(model="other", input="a"),
                     kind=openai.NotFoundError, code="model_not_found")


class Models(ClientCase):
    def test_the_model_is_listed_and_found_by_each_of_its_names(self):
        names = [model.id for model in self.client.models.list()]
        self.assertEqual(names[0], "tiny")
        for name in names:
            self.assertEqual(self.client.models.retrieve(name).max_model_len, 4096)
            self.assertEqual(self.complete(model=name, max_tokens=1).usage.completion_tokens, 1)
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.models.retrieve("gpt-5")
        self.assertEqual(caught.exception.code, "model_not_found")


class Errors(ClientCase):
    def test_what_cannot_be_done_is_a_bad_request_that_names_the_field(self):
        for field, fields in (("suffix", {"suffix": "x"}), ("temperature", {"temperature": -1}), ("n", {"n": 0}),
                              ("max_tokens", {"max_tokens": 0}), ("logprobs", {"logprobs": 21}),
                              ("best_of", {"best_of": 2, "stream": True}), ("stop[0]", {"stop": [""]}),
                              ("guided_json", {"extra_body": {"guided_json": {}}})):
            with self.subTest(field):
                self.refused(field, self.complete, **fields)
        self.refused("prompt", self.complete, "")
        self.refused("max_tokns", self.complete, extra_body={"max_tokns": 1}, code="unknown_parameter")
        self.refused("messages[0].role", self.chat, [{"role": "wizard", "content": "x"}])
        self.refused("messages[0].content[0].type", self.chat,
                     [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}])
        self.refused("response_format.type", self.chat, response_format={"type": "json_object"})

    def test_a_wrong_bias_is_named_by_its_token(self):
        self.refused("logit_bias.99999", self.complete, logit_bias={"5": 1, "99999": 1})
        self.refused("logit_bias.5", self.complete, logit_bias={"4": 1, "5": 101})

    def test_a_stream_that_is_refused_raises_before_its_first_chunk(self):
        self.refused("top_p", self.chat, stream=True, top_p=2)

    def test_another_model_and_another_path_are_not_found(self):
        self.refused("model", self.chat, model="gpt-5", kind=openai.NotFoundError, code="model_not_found")
        with self.assertRaises(openai.NotFoundError):
            self.client.moderations.create(input="x")

    def test_a_prompt_that_is_too_long_has_openais_code(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.complete([5] * 5000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")

    def test_a_wrong_key_is_an_authentication_error_in_both_packages(self):
        server = self.serve(*TINY, environment={"TROUPE_API_KEY": "right"})
        with self.assertRaises(openai.AuthenticationError) as caught:
            self.client_of(server, "wrong").models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")
        message = {"model": "tiny", "messages": HELLO, "max_tokens": 4}
        with self.assertRaises(anthropic.AuthenticationError) as caught:
            self.client_of(server, "wrong", make=anthropic_client).messages.create(**message)
        self.assertEqual(caught.exception.body["error"]["type"], "authentication_error")
        self.assertEqual(self.client_of(server, "right").models.list().data[0].id, "tiny")
        self.assertEqual(self.client_of(server, "right", make=anthropic_client).messages.create(**message).usage.output_tokens, 4)

    def test_a_full_queue_is_a_rate_limit_error_and_retry_after_is_honoured(self):
        server = self.serve(*TINY, "--max-queued-requests", "1")
        endless = {"model": "tiny", "prompt": "hello", "max_tokens": 4000, "extra_body": {"ignore_eos": True}}
        client = self.client_of(server)
        holding = client.completions.create(**endless, stream=True)
        next(holding)
        for stream in (False, True):
            with self.assertRaises(openai.RateLimitError) as caught:
                client.completions.create(model="tiny", prompt="x", stream=stream)
            self.assertEqual(caught.exception.response.headers["retry-after"], "1")
            self.assertEqual(caught.exception.code, "rate_limit_exceeded")
        threading.Timer(0.3, holding.close).start()
        before, began = len(answered), time.monotonic()
        client.with_options(max_retries=1).completions.create(model="tiny", prompt="x", max_tokens=1)
        self.assertEqual([status for status, _ in answered[before:]], [429, 200])
        self.assertGreaterEqual(time.monotonic() - began, 1)

    def test_a_draining_server_refuses_and_finishes_what_is_open(self):
        server = self.serve(*TINY)
        client = self.client_of(server)
        fields = {"model": "tiny", "prompt": "hello", "extra_body": {"ignore_eos": True}}
        opened = client.completions.create(**fields, max_tokens=1000, stream=True, stream_options={"include_usage": True})
        next(opened)
        server.process.terminate()
        with self.assertRaises(openai.InternalServerError) as caught:
            while True:  # The signal needs a moment.
                client.completions.create(**fields, max_tokens=1)
        self.assertEqual(caught.exception.status_code, 503)
        self.assertEqual(list(opened)[-1].usage.completion_tokens, 1000)
        self.assertEqual(server.process.wait(support.PATIENCE), 0)
        with self.assertRaises(openai.APIConnectionError):
            client.models.list()

    def test_a_client_that_has_waited_long_enough_frees_the_engine(self):
        with self.assertRaises(openai.APITimeoutError):
            self.complete(max_tokens=4000, extra_body={"ignore_eos": True}, timeout=0.3)
        self.no_request_is_left(self.server)

    def test_closing_a_stream_in_the_middle_frees_the_engine(self):
        with self.chat(max_completion_tokens=4000, stream=True, extra_body={"ignore_eos": True}) as stream:
            for _ in range(3):
                next(stream)
            self.assertEqual(self.load(self.server)["running"], 1)
        self.no_request_is_left(self.server)


class Async(ClientCase):
    def fields(self, number):
        return {"model": "tiny", "messages": [{"role": "user", "content": f"number {number}"}], "max_completion_tokens": 6,
                "temperature": number % 2, "seed": number, "extra_body": LETTERS}

    async def streamed(self, client, number):
        stream = await client.chat.completions.create(**self.fields(number), stream=True)
        return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    def test_32_streams_at_once_say_what_they_say_alone(self):
        async def all_of_them():
            async with async_openai_client(self.server, counted=False) as client:
                alone = [(await client.chat.completions.create(**self.fields(n))).choices[0].message.content for n in range(32)]
                return alone, await asyncio.gather(*(self.streamed(client, number) for number in range(32)))
        alone, together = asyncio.run(all_of_them())
        self.assertEqual(together, alone)
        self.assertGreater(len(set(alone)), 8)

    def test_a_task_that_is_cancelled_frees_the_engine_and_others_go_on(self):
        async def one_of_two():
            async with async_openai_client(self.server) as client:
                endless = asyncio.create_task(client.completions.create(
                    model="tiny", prompt="x", max_tokens=4000, extra_body={"ignore_eos": True}))
                await asyncio.sleep(0.1)
                endless.cancel()
                return (await client.responses.create(model="tiny", input="hello", max_output_tokens=2)).usage.output_tokens
        self.assertEqual(asyncio.run(one_of_two()), 2)
        self.no_request_is_left(self.server)

    def test_errors_are_the_same_classes(self):
        async def wrong():
            async with async_openai_client(self.server) as client:
                await client.completions.create(model="tiny", prompt="x", extra_body={"nonsense": 1})
        with self.assertRaises(openai.BadRequestError) as caught:
            asyncio.run(wrong())
        self.assertEqual(caught.exception.param, "nonsense")


class Anthropic(ClientCase):
    def setUp(self):
        super().setUp()
        self.claude = self.client_of(self.server_that_says("chatty", *CHATTY), make=anthropic_client)

    def message(self, **fields):
        return {"model": "chatty", "messages": HELLO, "max_tokens": 30, "extra_body": ANTHROPIC_SAMPLING} | fields

    def test_a_message_ends_by_itself_by_its_length_or_by_a_stop_sequence(self):
        whole = self.claude.messages.create(**self.message())
        self.assertEqual((whole.type, whole.role, whole.content[0].text), ("message", "assistant", "".join(CHATTY)))
        self.assertEqual((whole.stop_reason, whole.stop_sequence, whole.usage.output_tokens), ("end_turn", None, len(CHATTY) + 1))
        cut = self.claude.messages.create(**self.message(max_tokens=2))
        self.assertEqual((cut.stop_reason, cut.content[0].text), ("max_tokens", "The capital"))
        stopped = self.claude.messages.create(**self.message(stop_sequences=[" France"]))
        self.assertEqual((stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text),
                         ("stop_sequence", " France", "The capital of"))

    def test_of_several_stop_sequences_it_is_said_which_one_it_was(self):
        stopped = self.claude.messages.create(**self.message(stop_sequences=["never", " France"]))
        self.assertEqual((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", " France"))

    def test_a_system_prompt_and_parts_of_text_count_as_input(self):
        plain = self.claude.messages.create(**self.message())
        system = self.claude.messages.create(**self.message(system=[{"type": "text", "text": "Be brief.",
                                                                     "cache_control": {"type": "ephemeral"}}]))
        def inputs(message):
            return message.usage.input_tokens + message.usage.cache_read_input_tokens
        self.assertGreater(inputs(system), inputs(plain))
        parts = self.claude.messages.create(**self.message(
            messages=[{"role": "user", "content": [{"type": "text", "text": "hello"}]}, {"role": "assistant", "content": "yes"},
                      {"role": "user", "content": "why"}], system="Be brief.", metadata={"user_id": "eve"}))
        self.assertGreater(inputs(parts), inputs(system))

    def test_a_streams_text_and_final_message_are_the_whole_ones(self):
        whole = self.claude.messages.create(**self.message())
        with self.claude.messages.stream(**self.message()) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual("".join(pieces), whole.content[0].text)
        self.assertGreater(len(pieces), 1)
        self.assertEqual((final.content[0].text, final.stop_reason, final.usage.output_tokens),
                         (whole.content[0].text, whole.stop_reason, whole.usage.output_tokens))
        self.assertEqual(final.usage.input_tokens + final.usage.cache_read_input_tokens,
                         whole.usage.input_tokens + whole.usage.cache_read_input_tokens)
        kinds = [event.type for event in self.claude.messages.create(**self.message(stream=True))]
        deltas = ["content_block_delta"] * kinds.count("content_block_delta")
        self.assertEqual(kinds, ["message_start", "content_block_start", *deltas, "content_block_stop", "message_delta", "message_stop"])

    def test_errors_have_anthropics_classes_and_shape(self):
        for kind, named, fields in (("invalid_request_error", "top_p", {"extra_body": {"top_p": 2}}),
                                    ("invalid_request_error", "nonsense", {"extra_body": {"nonsense": 1}}),
                                    ("invalid_request_error", "max_tokens", {"max_tokens": 0}),
                                    ("invalid_request_error", "messages", {"messages": []}),
                                    ("not_found_error", "model", {"model": "claude-x"})):
            wanted = anthropic.NotFoundError if kind == "not_found_error" else anthropic.BadRequestError
            with self.subTest(named), self.assertRaises(wanted) as caught:
                self.claude.messages.create(**self.message(**fields))
            self.assertEqual((caught.exception.body["type"], caught.exception.body["error"]["type"]), ("error", kind))
            self.assertIn(named, caught.exception.body["error"]["message"])


@needs_real_model
class RealModel(ClientCase):
    options = {}

    def setUp(self):
        self.server = server_of("real", "--model", str(support.REAL_MODEL), "--served-model-name", "smollm2")
        self.client = self.client_of(self.server)

    def test_each_api_says_that_it_is_paris(self):
        chat = self.chat(FRANCE, model="smollm2", max_completion_tokens=30)
        self.assertEqual((chat.choices[0].message.content, chat.choices[0].finish_reason), ("The capital of France is Paris.", "stop"))
        completion = self.complete("The capital of France is", model="smollm2", stop=".").choices[0]
        self.assertEqual((completion.text, completion.finish_reason), (" Paris", "stop"))
        with self.client.responses.stream(model="smollm2", input=FRANCE[0]["content"], temperature=0) as stream:
            for _ in stream:
                pass
            response = stream.get_final_response()
        self.assertEqual((response.status, response.output_text), ("completed", chat.choices[0].message.content))
        message = self.client_of(self.server, make=anthropic_client).messages.create(model="smollm2", messages=FRANCE, max_tokens=30,
                                                                extra_body=ANTHROPIC_SAMPLING)
        self.assertEqual((message.content[0].text, message.stop_reason), (chat.choices[0].message.content, "end_turn"))

    def test_an_answer_goes_on_with_the_assistants_last_message(self):
        begun = [*FRANCE, {"role": "assistant", "content": "The capital of France is"}]
        chat = self.chat(begun, model="smollm2", max_completion_tokens=30, extra_body={"continue_final_message": True})
        self.assertEqual((chat.choices[0].message.content, chat.choices[0].finish_reason), (" Paris.", "stop"))
        message = self.client_of(self.server, make=anthropic_client).messages.create(model="smollm2", messages=begun, max_tokens=30,
                                                                                    extra_body=ANTHROPIC_SAMPLING)
        self.assertEqual(message.content[0].text, " Paris.")
        self.assertNotEqual(self.chat(begun, model="smollm2", max_completion_tokens=30).choices[0].message.content, " Paris.")

    def test_a_chat_that_goes_on_finds_its_beginning_in_the_cache(self):
        first = self.chat(FRANCE, model="smollm2", max_completion_tokens=30)
        following = [*FRANCE, {"role": "assistant", "content": first.choices[0].message.content},
                     {"role": "user", "content": "And of Italy?"}]
        second = self.chat(following, model="smollm2", max_completion_tokens=30)
        self.assertIn("Rome", second.choices[0].message.content)
        self.assertGreater(second.usage.prompt_tokens_details.cached_tokens, 0)

    def test_a_seed_repeats_a_story_whole_and_streamed(self):
        fields = {"model": "smollm2", "messages": [{"role": "user", "content": "Tell me a story."}], "max_completion_tokens": 24,
                  "temperature": 0.9, "seed": 11}
        whole = self.chat(**fields).choices[0].message.content
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in self.chat(**fields, stream=True)), whole)


if __name__ == "__main__":
    main()
