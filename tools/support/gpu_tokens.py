"""Tokens of a model on a device beside those that are known to be right, for tools/gpu-check.

Each token is asked for by itself, after all right tokens before it: so one that the model was not sure of, and that differs for it, does not
make the rest of an answer another one."""
import json

# Differences of the first two logits from which on a device must give the first: brain floats may turn closer ones round. Of the oracle,
# whose logits are around 25, and of other models by what random ones want.
CHECKED_MARGIN = {"oracle": 1.0, "cpu": 0.4}
SHIM_SIZES, DEVICE_SIZES = (2, 5), (12, 24)  # Prompts, and tokens of an answer.


def oracle_cases(root, model):
    """[(prompt, right tokens, margins)]; none where the oracle is of another model."""
    oracle = json.loads((root / "tests/oracle/smollm2_greedy.json").read_text())
    if model.name != oracle["model"]:
        return []
    return [(case["prompt_ids"], case["greedy_ids"], case["margin"]) for case in oracle["cases"]]


def random_prompts(count):
    """Token ids that any model has; the first is longer than a tile of attention."""
    return [[10 + (13 * number + 7 * i) % 200 for i in range(70 if number == 0 else 3 + 5 * number)] for number in range(count)]


class TokenCheck:
    """run: as gpu_check.Check has it."""

    def __init__(self, troupe, model, device, folder, is_shim, run):
        self.troupe, self.model, self.device, self.folder, self.run = troupe, model, device, folder, run
        count, tokens = SHIM_SIZES if is_shim else DEVICE_SIZES
        self.requests = [{"tokens": prompt, "max_tokens": tokens, "ignore_eos": True} for prompt in random_prompts(count)]
        # The shim's memory is the host's: what a device would have is not there.
        self.memory = ["--kv-tokens", "2048"] if is_shim else []

    def batch(self, name, requests, *options):
        """Of each request its tokens, and the difference of the first two logprobs at each."""
        asked, answered = self.folder / f"{name}.jsonl", self.folder / f"{name}.out.jsonl"
        asked.write_text("".join(json.dumps({"temperature": 0, "logprobs": 2, **request}) + "\n" for request in requests))
        answered.unlink(missing_ok=True)
        self.run(name, [self.troupe, "batch", asked, "--output", answered, "--model", self.model, *options])
        found = []
        for line in answered.read_text().splitlines():
            result = json.loads(line)
            assert "error" not in result, result["error"]
            logprobs = result["choices"][0]["logprobs"] if "choices" in result else result["logprobs"]
            found.append(([each["token"] for each in logprobs],
                          [each["top"][0]["logprob"] - each["top"][1]["logprob"] for each in logprobs]))
        assert len(found) == len(requests), f"{len(found)} of {len(requests)} requests were answered."
        return found

    def on_device(self, name, requests, *options):
        return self.batch(name, requests, "--device", self.device, *self.memory, *options)

    def compare_with(self, cases, whose, margin):
        requests, wanted = [], []
        for prompt, tokens, margins in cases:
            for i, (token, sure) in enumerate(zip(tokens, margins)):
                if sure >= margin:
                    requests.append({"tokens": prompt + tokens[:i], "max_tokens": 1})
                    wanted.append(token)
        assert wanted, f"{whose} is not sure of any token."
        got = [tokens[0] for tokens, _ in self.on_device("tokens", requests)]
        wrong = [i for i, (first, second) in enumerate(zip(got, wanted)) if first != second]
        assert not wrong, f"{len(wrong)} of {len(wanted)} tokens are not those of {whose}; the first after {requests[wrong[0]]['tokens'][-8:]}: " \
                          f"{got[wrong[0]]} and not {wanted[wrong[0]]}"
        return f"{len(wanted)} tokens are those of {whose}"

    def compare_with_cpu(self, whose, options):
        right = self.batch("cpu", self.requests, *options)
        cases = [(request["tokens"], tokens, margins) for request, (tokens, margins) in zip(self.requests, right)]
        return self.compare_with(cases, whose, CHECKED_MARGIN["cpu"])

    def compare_graphs(self):
        """One after the other, which leaves no bit to chance, and all at once where bits do not depend on company."""
        requests = self.requests
        for name, options in ("one", ["--max-num-seqs", "1"]), ("all", ["--batch-invariant"]):
            with_graphs = self.on_device(f"graphs-{name}", requests, *options)
            without = self.on_device(f"eager-{name}", requests, *options, "--enforce-eager")
            for i, (first, second) in enumerate(zip(with_graphs, without)):
                assert first == second, f"answer {i} ({' '.join(options)}) is {first[0]} with graphs, and {second[0]} without"
        return f"{2 * len(requests)} answers have the same tokens and logprobs"
