"""All of tools/check after the set-up: builds, gets what the tests need, runs them, and counts test cases.

A test of Meson is one program. How many test cases it had is in what it wrote: Boost.Test's report or the last lines of
Python's unittest; any other program counts as one case.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NIGHTLY_FUZZ_COUNT = 10_000
SANITIZER_FUZZ_COUNT = 100
NIGHTLY_SIMULATION_SEEDS = 100_000
NIGHTLY_FAULT_SEEDS = 100
NIGHTLY_INVARIANCE_SCALE = 2  # from there on at each number of stages and ranks
TIMEOUTS, NIGHTLY_TIMEOUTS = 3, 12  # times what tests/ states, which is for a calm machine
SHOWN_LINES = 200  # of a failed test's output, from its end
BOOST = {"BOOST_TEST_REPORT_LEVEL": "detailed", "BOOST_TEST_REPORT_FORMAT": "XML",
         "BOOST_TEST_LOG_LEVEL": "test_suite", "BOOST_TEST_COLOR_OUTPUT": "0"}
REPORT = re.compile(r"<TestResult>.*?</TestResult>", re.S)
NOISE = re.compile(r".*: (Entering|Leaving) test (case|suite) .*|(Entering|Leaving) test module .*")
SKIPPED = re.compile(r'Test (?:case|suite) "?(.+?)"? is skipped because precondition failed: (.*)')
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*\n\n(?:OK|FAILED|NO TESTS RAN)(?: \((.*)\))?$", re.M)


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def closing_line(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def count_boost(report):
    """The cases of a report. A suite that was skipped as a whole has a number, and no cases."""
    counts = Counts()
    for element in ElementTree.fromstring(report).iter():
        result = element.get("result", "")
        if element.tag == "TestCase":
            counts.add(Counts(result.startswith("passed"), result in ("failed", "aborted"), result == "skipped"))
        elif element.tag == "TestSuite" and result == "skipped" and element.find(".//TestCase") is None:
            counts.skipped += int(element.get("test_cases_skipped"))
    return counts


def count_unittest(ran, details):
    numbers = {name: int(number) for name, number in re.findall(r"([a-z ]+)=(\d+)", details or "")}
    numbers = {name.strip(): number for name, number in numbers.items()}
    failed = sum(numbers.get(name, 0) for name in ("failures", "errors", "unexpected successes"))
    skipped = numbers.get("skipped", 0)
    return Counts(max(int(ran) - failed - skipped, 0), failed, skipped)


def count(test):
    """The test cases of one entry of Meson's log. What the program's end says wins over what it counted."""
    result = test["result"]
    output = test.get("stdout", "") + "\n" + test.get("stderr", "")
    if result == "SKIP":
        return Counts(skipped=1)
    counts = Counts()
    if reports := REPORT.findall(output):
        counts = count_boost(reports[-1])
    elif found := UNITTEST.findall(output):
        counts = count_unittest(*found[-1])
    if result == "EXPECTEDFAIL":
        return Counts(passed=1)
    if result != "OK":
        counts.failed = max(counts.failed, 1)  # a crash, a time-out, a leak that was found after the last case
    return counts if counts != Counts() else Counts(passed=1)


@dataclass
class Stage:
    name: str
    seconds: float
    counts: Counts


@dataclass
class Check:
    environment: dict
    timeouts: int = TIMEOUTS
    stages: list = field(default_factory=list)
    failures: list = field(default_factory=list)  # sentences
    skips: dict = field(default_factory=lambda: defaultdict(set))  # reason: names

    def run_stage(self, name, work):
        print(f"== {name}", flush=True)
        start = time.monotonic()
        counts = work()
        self.stages.append(Stage(name, time.monotonic() - start, counts))
        return counts.failed == 0

    def run_command(self, command, sentence, cases=0):
        """A stage that is one command: it counts as `cases` test cases, or as a failed one if it fails."""
        code = subprocess.run(command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL).returncode
        if code == 0:
            return Counts(passed=cases)
        self.failures.append(f"{sentence} (exit code {code})")
        return Counts(failed=1)

    def fetch(self, script, variable):
        """Runs a script that prints a path, and gives the tests that path in `variable`."""
        done = subprocess.run([ROOT / "tools" / script], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            self.failures.append(f"tools/{script} failed, so the tests that need it are skipped")
            return Counts(failed=1)
        if lines := done.stdout.split("\n")[:-1]:
            self.environment.setdefault(variable, lines[-1])
        return Counts()

    def run_tests(self, build, select, environment=None):
        log = ROOT / build / "meson-logs" / "check.json"
        log.unlink(missing_ok=True)
        command = ["meson", "test", "-C", build, "--no-rebuild", "--logbase", "check", "--timeout-multiplier", str(self.timeouts),
                   *select]
        code = subprocess.run(command, cwd=ROOT, env={**self.environment, **BOOST, **(environment or {})},
                              stdin=subprocess.DEVNULL).returncode
        counts = Counts()
        tests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        for test in tests:
            self.count_test(build, test, counts)
        if code != 0 and counts.failed == 0:
            self.failures.append(f"meson test in {build}/ ended with exit code {code}")
            counts.failed = 1
        return counts

    def count_test(self, build, test, counts):
        own = count(test)
        counts.add(own)
        output = test.get("stdout", "") + "\n" + test.get("stderr", "")
        for name, reason in SKIPPED.findall(output):
            self.skips[reason].add(name)
        if test["result"] == "SKIP":
            self.skips[" ".join(output.split())[-200:] or "exit code 77"].add(test["name"])
        if own.failed:
            self.failures.append(f"{test['name']} in {build}/: {test['result'].lower()}, {own.closing_line()}")
            lines = [line for line in REPORT.sub("", output).splitlines() if line.strip() and not NOISE.fullmatch(line)]
            print(f"\n---- {test['name']} ({' '.join(test['command'])}), the last of its output:")
            print("\n".join(lines[-SHOWN_LINES:]), flush=True)

    def summary(self, set_up_seconds):
        total = Counts()
        print(f"\n{'stage':<24}{'seconds':>8}{'passed':>8}{'failed':>8}{'skipped':>8}")
        print(f"{'set-up':<24}{set_up_seconds:>8.1f}")
        for stage in self.stages:
            counts = stage.counts
            total.add(counts)
            cells = (counts.passed, counts.failed, counts.skipped) if counts != Counts() else ("", "", "")
            print(f"{stage.name:<24}{stage.seconds:>8.1f}" + "".join(f"{cell:>8}" for cell in cells))
        print(f"{'all but the set-up':<24}{sum(stage.seconds for stage in self.stages):>8.1f}"
              f"{total.passed:>8}{total.failed:>8}{total.skipped:>8}")
        for reason, names in sorted(self.skips.items()):
            print(f"skipped, {reason}: {', '.join(sorted(names))}")
        for failure in self.failures:
            print(f"failed: {failure}")
        print(total.closing_line(), flush=True)
        return 1 if total.failed else 0


def sanitized_tests():
    """Names of the unit tests that tools/build --asan has built. Tests that are scripts gain nothing from it."""
    folder = ROOT / "build-asan"
    tests = json.loads((folder / "meson-info" / "intro-tests.json").read_text())
    return [test["name"] for test in tests if any(suite.split(":")[-1] == "unit" for suite in test["suite"])
            and Path(test["cmd"][0]).is_relative_to(folder)]


def run(check, nightly):
    tools = ROOT / "tools"
    fuzz = {"TROUPE_FUZZ_COUNT": str(NIGHTLY_FUZZ_COUNT if nightly else SANITIZER_FUZZ_COUNT)}
    built = check.run_stage("build", lambda: check.run_command(
        [tools / "build", "--tests", "--no-install"], "the build failed, so no test was run"))
    check.run_stage("model", lambda: check.fetch("fetch-model", "TROUPE_TEST_MODEL"))
    if (tools / "fetch-vocabs").exists():
        check.run_stage("vocabularies", lambda: check.fetch("fetch-vocabs", "TROUPE_TEST_VOCABS"))
    check.run_stage("order of includes", lambda: check.run_command(
        [tools / "check-includes"], "an include is against the order of the folders", cases=1))
    if not built:
        return
    more = {"TROUPE_SIMULATION_SEEDS": str(NIGHTLY_SIMULATION_SEEDS),
            "TROUPE_FAULT_SEEDS": str(NIGHTLY_FAULT_SEEDS),
            "TROUPE_INVARIANCE_SCALE": str(NIGHTLY_INVARIANCE_SCALE)} if nightly else {}
    check.run_stage("tests", lambda: check.run_tests("build", [], more))
    if check.run_stage("sanitizer build", lambda: check.run_command(
            [tools / "build", "--asan", "--no-install"], "the build with the sanitizers failed")):
        # Boost would catch a signal before the sanitizer can say where it came from. Cases with the label `slow` (a real model
        # in a reference implementation) would take ten times as long here.
        environment = {**fuzz, "BOOST_TEST_CATCH_SYSTEM_ERRORS": "no", "BOOST_TEST_RUN_FILTERS": "!@slow"}
        check.run_stage("sanitizer tests", lambda: check.run_tests("build-asan", sanitized_tests(), environment))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nightly", action="store_true")
    parser.add_argument("--set-up-seconds", type=float, default=0)
    options = parser.parse_args()
    environment = dict(os.environ, TROUPE_PYTHON=sys.executable, PYTHONDONTWRITEBYTECODE="1")
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    check = Check(environment, NIGHTLY_TIMEOUTS if options.nightly else TIMEOUTS)
    try:
        run(check, options.nightly)
    except KeyboardInterrupt:
        print("\nInterrupted.")
        return 130
    return check.summary(options.set_up_seconds)


if __name__ == "__main__":
    sys.exit(main())
