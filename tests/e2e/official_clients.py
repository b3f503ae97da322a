"""What the tests of the official clients share: the packages, whose calls are counted, and a model that always says the same.

Without the packages `openai`, `anthropic` and `gguf` a test is skipped (77), as support.py does without its own.
"""
import os
import sys

from support import folder, tiny_model

try:
    import anthropic
    import gguf
    import numpy
    import openai
except ImportError as missing:
    other = os.environ.get("TROUPE_PYTHON")
    if other and "TROUPE_E2E_AGAIN" not in os.environ:
        os.environ["TROUPE_E2E_AGAIN"] = "1"
        os.execv(other, [other, *sys.argv])
    print(f"skipped: {missing} (pip install openai anthropic gguf numpy)")
    sys.exit(77)

answered = []  # The status and path of each answer that came over a counted client.


def count(response):
    answered.append((response.status_code, response.url.path))


async def count_async(response):
    count(response)


def openai_client(server, key="any", **options):
    """The package's retries are off, unless asked for: a refusal is to be seen."""
    options = {"max_retries": 0, "timeout": 60} | options
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, **options,
                         http_client=openai.DefaultHttpxClient(event_hooks={"response": [count]}))


def async_openai_client(server, counted=True, **options):
    options = {"max_retries": 0, "timeout": 60} | options
    hooks = {"response": [count_async]} if counted else {}
    return openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any", **options,
                              http_client=openai.DefaultAsyncHttpxClient(event_hooks=hooks))


def anthropic_client(server, key="any"):
    return anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0, timeout=60,
                               http_client=anthropic.DefaultHttpxClient(event_hooks={"response": [count]}))


def byte_token(character):
    """The id that a tiny model has for a printable ASCII character; three special tokens are before them."""
    return 3 + ord(character) - ord("!")


TOOL_TEMPLATE = """{% for m in messages %}<|im_start|>{{ m['role'] }}
{{ m['content'] }}{% for c in m['tool_calls'] or [] %}<tool_call>{{ c['function'] | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif %}<|im_start|>assistant
"""  # Of the kind that Hermes and Qwen have.
THINKING_TEMPLATE = "{# Answers may begin with <think>...</think>. #}" + TOOL_TEMPLATE


def model_that_says(name, *pieces, template=TOOL_TEMPLATE, context=4096):
    """The path of a tiny model that answers everything with these pieces of text, a token each, and then ends.

    Its layers add nothing. The embedding of a piece is a direction of its own, and that of all other tokens another one;
    the output has the piece that follows in each direction.
    """
    path = folder / f"{name}.gguf"
    source = gguf.GGUFReader(tiny_model(context=context))
    fields = {key: field for key, field in source.fields.items() if not key.startswith("GGUF.")}
    written = str.maketrans({" ": "Ġ", "\n": "Ċ"})  # As byte-level vocabularies write them.
    tokens = fields["tokenizer.ggml.tokens"].contents()
    changed = {
        "general.name": name,
        "tokenizer.chat_template": template,
        "llama.vocab_size": len(tokens) + len(pieces),
        "tokenizer.ggml.tokens": tokens + [piece.translate(written) for piece in pieces],
        "tokenizer.ggml.token_type": fields["tokenizer.ggml.token_type"].contents() + [gguf.TokenType.NORMAL] * len(pieces),
    }
    writer = gguf.GGUFWriter(path, "llama")
    for key, field in fields.items():
        if key != "general.architecture":
            value = changed.get(key, field.contents())
            writer.add_key_value(key, value, field.types[0], field.types[1] if len(field.types) > 1 else None)
    width = fields["llama.embedding_length"].contents()
    assert len(pieces) < width
    embedding = numpy.zeros((len(tokens) + len(pieces), width), numpy.float32)
    embedding[:len(tokens), 0] = 1
    output = numpy.zeros_like(embedding)
    end = fields["tokenizer.ggml.eos_token_id"].contents()
    for number in range(len(pieces) + 1):
        output[len(tokens) + number if number < len(pieces) else end, number] = 10
        if number < len(pieces):
            embedding[len(tokens) + number, number + 1] = 1
    for tensor in source.tensors:
        made = {"token_embd.weight": embedding}.get(tensor.name)
        if made is None:
            silent = tensor.name.endswith(("attn_output.weight", "ffn_down.weight"))
            made = numpy.zeros_like(tensor.data) if silent else numpy.array(tensor.data)
        if tensor.name == "output_norm.weight":
            made = numpy.ones_like(made)
        writer.add_tensor(tensor.name, made)
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
