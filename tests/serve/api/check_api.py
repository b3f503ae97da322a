#!/usr/bin/env python3
"""Compares the API with the types of the official `openai` and `anthropic` packages.

    check_api.py API_SAMPLES [--write]

API_SAMPLES is the built tests/serve/api/api_samples. Every field that the package documents must be in our tables;
docs/openai-fields.md must be what the two make together (--write writes it); and an answer of each kind must be what
the packages' own types take. Exits with 77, which Meson shows as skipped, where one of them is missing.
"""
import json
import os
import pathlib
import subprocess
import sys

try:
    import anthropic
    import openai
    import pydantic
    from anthropic.types import Message, RawMessageStreamEvent, message_create_params
    from openai.types import Completion, CreateEmbeddingResponse, Model, completion_create_params, embedding_create_params
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params as chat_create_params
    from openai.types.responses import Response, ResponseStreamEvent, response_create_params
except ImportError as missing:
    other = os.environ.get("TROUPE_PYTHON")
    if other and "TROUPE_API_AGAIN" not in os.environ:
        os.environ["TROUPE_API_AGAIN"] = "1"
        os.execv(other, [other, *sys.argv])
    print(f"skipped: {missing} (pip install openai anthropic)")
    sys.exit(77)

DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs" / "openai-fields.md"


def official_fields(module):
    """Names of the fields, in the package's order."""
    names = {}
    for name, kind in vars(module).items():
        if name.endswith(("CreateParamsBase", "CreateParamsStreaming", "EmbeddingCreateParams")):
            names.update(dict.fromkeys(kind.__annotations__))
    return list(names)


def table(title, rows, note):
    lines = [f"### {title}", "", note, "", "| field | kind | | |", "|---|---|---|---|"]
    for row in rows:
        kind = row["kind"].replace("|", "\\|")
        state = "done" if row["done"] else "refused"
        note = "; ".join(filter(None, ["needed" if row["needed"] else "", row["note"]]))
        lines.append(f"| `{row['name']}` | {kind} | {state} | {note} |")
    return lines + [""]


def routes():
    """The name of a table, its path, and the package's module with its fields."""
    yield "completions", "/v1/completions", completion_create_params
    yield "chat", "/v1/chat/completions", chat_create_params
    yield "responses", "/v1/responses", response_create_params
    yield "messages", "/v1/messages", message_create_params
    yield "embeddings", "/v1/embeddings", embedding_create_params


def document(fields):
    lines = ["# The fields of the API", "",
             "What the API does with each field: those that the official packages `openai` and `anthropic` document, and those "
             "that other servers have added. A field that is refused, a field that is in no table, and a value that is out of "
             "range get a 400 that names it; `null` means absent. `/openapi.json` says the same to programs, with what is within "
             "objects.", "",
             "This page is written by `tests/serve/api/check_api.py --write` from the server's own tables; a test "
             "compares them, and another one sends every row.", ""]
    missing = []
    for name, path, module in routes():
        rows = {row["name"]: row for row in fields[name]}
        official = official_fields(module)
        missing += [f"{path}: {field}" for field in official if field not in rows]
        lines += [f"## {path}", ""]
        lines += table("Anthropic's" if name == "messages" else "OpenAI's",
                       [rows[field] for field in sorted(official) if field in rows],
                       "Every one that the official package's types have.")
        others = [row for field, row in rows.items() if field not in official]
        if others:
            lines += table("Others", others, "Mostly vLLM's, by its names." if "n" in rows else "By the names of other types.")
    return "\n".join(lines).rstrip() + "\n", missing


def events(text):
    for event in text.strip().split("\n\n"):
        data = next(line[6:] for line in event.split("\n") if line.startswith("data: "))
        if data != "[DONE]":
            yield json.loads(data)


def check(kind, name, value):
    try:
        pydantic.TypeAdapter(kind).validate_python(value, strict=False)
    except pydantic.ValidationError as wrong:
        return [f"{name}: {problem['loc']}: {problem['msg']}" for problem in wrong.errors()]
    return []


def check_answers(answers):
    problems = []
    for name, answer in answers.items():
        if isinstance(answer, dict) and "refused" in answer:
            problems.append(f"{name}: {answer}")
    kinds = {"completion": (Completion, Completion), "chat": (ChatCompletion, ChatCompletionChunk),
             "tools": (ChatCompletion, ChatCompletionChunk), "response": (Response, ResponseStreamEvent),
             "response tools": (Response, ResponseStreamEvent), "message": (Message, RawMessageStreamEvent),
             "message tools": (Message, RawMessageStreamEvent)}
    for name, (whole, part) in kinds.items():
        problems += check(whole, name, answers[name])
        parts = list(events(answers[name + " stream"]))
        if len(parts) < 3:
            problems.append(f"{name} stream: only {len(parts)} events")
        for part_of in parts:
            if name == "completion":  # The type has no null, but OpenAI's streams do.
                part_of["choices"][0]["finish_reason"] = part_of["choices"][0]["finish_reason"] or "stop"
            problems += check(part, name + " stream", part_of)
    problems += check(CreateEmbeddingResponse, "embedding", answers["embedding"])
    for model in answers["models"]["data"]:
        problems += check(Model, "models", model)
    return problems


def main():
    samples = json.loads(subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout)
    text, missing = document(samples["fields"])
    versions = f"openai {openai.__version__}, anthropic {anthropic.__version__}"
    problems = [f"the server's tables lack {field} of {versions}" for field in missing]
    problems += check_answers(samples["answers"])
    if "--write" in sys.argv[2:]:
        DOCUMENT.write_text(text, encoding="utf-8")
    elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        problems.append(f"{DOCUMENT} is not what the tables say: run {sys.argv[0]} {sys.argv[1]} --write")
    for problem in problems:
        print(problem)
    print(f"{len(samples['answers'])} answers, {sum(map(len, samples['fields'].values()))} rows, "
          f"{len(problems)} problems; {versions}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
