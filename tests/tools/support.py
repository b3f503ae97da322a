"""What the tests of the scripts share: copies of the project, fake wheels and a fake package index."""
import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def write_wheel(folder, name, version, files, entry_points=""):
    """A wheel that pip downloads and installs, with `files` (path: bytes)."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        files[f"{info}/entry_points.txt"] = entry_points.encode()
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = Path(folder) / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel


def add_to_index(index, name, wheel):
    """Puts a wheel into a package index that is a folder; its address is index.as_uri()."""
    page = Path(index) / name
    page.mkdir(parents=True, exist_ok=True)
    shutil.copy(wheel, page / Path(wheel).name)
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="{Path(wheel).name}">{Path(wheel).name}</a>')


def closed_port():
    """A port of this machine at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(home, index_url, **more):
    """Little of this machine's own: no proxy, no pip settings."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "PIP_INDEX_URL": index_url, "PIP_RETRIES": "0",
            "PIP_DEFAULT_TIMEOUT": "20", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "NO_PROXY": "127.0.0.1",
            **more}


def copy_scripts(target):
    """The project's tools/ in another folder."""
    shutil.copytree(ROOT / "tools", Path(target) / "tools", ignore=shutil.ignore_patterns("__pycache__"))


def lend_python(project):
    """Gives a copy the Python that runs this test, so that it makes no environment of its own."""
    (Path(project) / ".venv").symlink_to(sys.prefix)


def run(command, environment, **more):
    return subprocess.run([str(part) for part in command], env=environment, stdin=more.pop("stdin", subprocess.DEVNULL),
                          capture_output=True, text=True, timeout=100, **more)


class ScriptTest(unittest.TestCase):
    """Has a folder for all of its tests, and one for each."""

    @classmethod
    def setUpClass(cls):
        cls.shared = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.shared)

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def assert_refused(self, done, *words):
        """The last line on stderr says why."""
        self.assertGreater(done.returncode, 0, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr.splitlines()[-1])
