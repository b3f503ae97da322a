"""A server and its workers whose memory is taken away again and again, as the kernel does when there is too little for all."""
import os
import threading
import time
from pathlib import Path

from support import folder, troupe

# Control groups of the first and of the second kind; what is written there has the kernel take all that can be taken.
KINDS = [("/sys/fs/cgroup/memory", "memory.force_empty", "1"), ("/sys/fs/cgroup", "memory.reclaim", "16G")]
IN_GROUP = 'echo $$ > "$1/cgroup.procs" && cp "$2" "$3" && sync "$3" && program="$3" && shift 3 && exec "$program" "$@"'


class MemoryGroup:
    """Use `make`. Code that has been taken comes from the disk again; without swap, other memory stays."""

    @staticmethod
    def make():
        """None: this machine does not let us, as in most containers."""
        for root, file, amount in KINDS:
            group = Path(root, f"troupe-test-{os.getpid()}")
            try:
                group.mkdir()
                if (group / file).exists():
                    return MemoryGroup(group, file, amount)
                group.rmdir()
            except OSError:
                pass
        return None

    def __init__(self, group, file, amount):
        self.group, self.file, self.amount = group, group / file, amount
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.take, daemon=True)
        # A copy, so that its pages are the group's own.
        self.program = ["sh", "-c", IN_GROUP, "sh", str(group), troupe(), str(folder / "troupe-under-pressure")]

    def begin(self):
        self.thread.start()

    def take(self):
        while not self.ends.is_set():
            try:
                self.file.write_text(self.amount)
            except OSError:
                pass  # Not as much could be taken.
            time.sleep(0.03)

    def end(self):
        """When its processes have ended."""
        self.ends.set()
        if self.thread.is_alive():
            self.thread.join()
        for _ in range(100):
            try:
                return self.group.rmdir()
            except OSError:
                time.sleep(0.05)  # The kernel has not put them away yet.


def faults(server):
    """How often it has waited for a page from a disk."""
    return int(server.stat()[9])
