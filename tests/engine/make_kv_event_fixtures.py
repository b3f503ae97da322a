#!/usr/bin/env python3
"""Prints tests/engine/kv_event_fixtures.hpp: batches of block events as msgspec would write vLLM's structs.

Needs msgpack. msgspec writes a struct with `array_like` as an array with all its fields, and one without as a map
that has "type" first and lacks the fields that have their default; msgpack writes the same bytes for the same lists
and dicts, since both take the shortest form of every integer. Where msgspec is installed, the real structs are
written too and compared.
"""
import struct

import msgpack

SIZE = 16
HASHES = [0x0123456789ABCDEF, 0xFEDCBA9876543210, 7]


def as_bytes(number):
    return struct.pack("<4Q", number, ~number & (1 << 64) - 1, 0, 0)


def stored(hash_of, hashes, parent, tokens, lora_id=None, group=0, window=None,
           salt=None):
    return {"type": "BlockStored", "block_hashes": [hash_of(h) for h in hashes],
            "parent_block_hash": None if parent is None else hash_of(parent), "token_ids": tokens, "block_size": SIZE,
            "lora_id": lora_id, "medium": "GPU", "lora_name": None,
            "extra_keys": salt and [[salt], *[None for _ in hashes[1:]]], "group_idx": group,
            "kv_cache_spec_kind": "sliding_window" if window else "full_attention",
            "kv_cache_spec_sliding_window": window}


def removed(hash_of, hashes, group=0):
    return {"type": "BlockRemoved", "block_hashes": [hash_of(h) for h in hashes], "medium": "GPU", "group_idx": group}


CLEARED = {"type": "AllBlocksCleared"}
DEFAULTS = ("extra_keys", "group_idx", "kv_cache_spec_kind", "kv_cache_spec_sliding_window")


def events(hash_of):
    return [stored(hash_of, HASHES[:2], None, [0, 1, 127, 128, 255, 256, 65535, 65536, 49151, *range(23)]),
            stored(hash_of, HASHES[2:], HASHES[1], list(range(16)), lora_id=5, group=1, window=4096),
            stored(hash_of, HASHES[:2], None, list(range(32)), salt="tenant"),
            removed(hash_of, HASHES), removed(hash_of, HASHES[:1], group=1), CLEARED]


def as_map(event):
    return {key: value for key, value in event.items() if value is not None or key not in DEFAULTS}


def as_array(event):
    return list(event.values())


def batch(time, rank, events):
    return msgpack.packb([time, events, rank], use_single_float=False)


def compare_with_msgspec(fixtures):
    try:
        import msgspec
    except ImportError:
        return
    for array_like in (False, True):
        options = {"omit_defaults": True, "gc": False, "array_like": array_like, "tag": True}
        kinds = {}
        for event in events(int):
            names = [key for key in event if key != "type"]
            fields = [(n, object, None) if n in DEFAULTS else (n, object) for n in names]
            kinds[event["type"]] = msgspec.defstruct(event["type"], fields, **options)
        outer = msgspec.defstruct("Batch", [("ts", float), ("events", list), ("rank", object, None)],
                                  array_like=True, omit_defaults=True)
        for form, hash_of in (("integers", int), ("bytes", as_bytes)):
            structs = [kinds[e["type"]](**{k: v for k, v in e.items() if k != "type"}) for e in events(hash_of)]
            name = f"{'arrays' if array_like else 'maps'}_with_{form}"
            assert msgspec.msgpack.encode(outer(1700000000.25, structs, 3)) == fixtures[name], name


def main():
    fixtures = {}
    for encoding, write in (("maps", as_map), ("arrays", as_array)):
        for form, hash_of in (("integers", int), ("bytes", as_bytes)):
            fixtures[f"{encoding}_with_{form}"] = batch(1700000000.25, 3, [write(e) for e in events(hash_of)])
    fixtures["empty_at_a_whole_second"] = batch(2.0, 0, [])
    compare_with_msgspec(fixtures)
    print("// Made by make_kv_event_fixtures.py, which says of what.\n#pragma once\n\nnamespace troupe::test {\n")
    for name, data in fixtures.items():
        digits = data.hex()
        lines = "\n".join(f'  "{digits[i:i + 112]}"' for i in range(0, len(digits), 112))
        print(f"inline constexpr char {name}[] =\n{lines};\n")
    print("} // namespace troupe::test")


main()
