"""What `schemathesis` must know beside the document; see test_openapi.py."""
import json

import schemathesis
from hypothesis import strategies

# Of text that says an object in JSON: the arguments of a tool call.
schemathesis.openapi.format("json-object", strategies.dictionaries(strategies.text(), strategies.integers(), max_size=3).map(json.dumps))


def as_json_writes_them(value):
    """JSON Schema takes 3.0 for an integer, the server does not: whoever has an integer writes it as one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [as_json_writes_them(each) for each in value]
    if isinstance(value, dict):
        return {key: as_json_writes_them(each) for key, each in value.items()}
    return value


@schemathesis.hook
def map_body(context, body):
    return as_json_writes_them(body)
