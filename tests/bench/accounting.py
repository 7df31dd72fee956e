"""What a server costs: CPU seconds, memory in use, memory at its peak, of its first process and all that descend from it.

Peers fork a process (or three) for each client, and not all of them wait for their children, so times added up from /proc lose what the
dead ones used: vsftpd then seems to send gigabytes for nothing. A control group counts exactly. Where none may be made (no root),
/proc is what is left, and the table says so.
"""
import contextlib, os, pathlib, resource, threading, time

TICK = os.sysconf("SC_CLK_TCK")
CPUACCT = pathlib.Path("/sys/fs/cgroup/cpuacct")
UNIFIED = pathlib.Path("/sys/fs/cgroup")


def make_group(name):
    """A folder of a control group that counts CPU time, or None."""
    for parent, counter in ((CPUACCT, "cpuacct.usage"), (UNIFIED, "cpu.stat")):
        folder = parent / f"lockgate-bench-{os.getpid()}-{name}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / counter).exists() and (folder / "cgroup.procs").exists():
            return folder
        folder.rmdir()
    return None


class Meter:
    """Of one server. The server is to be started with `command` put before its own, so that no child of it is missed."""

    def __init__(self, name):
        self.group, self.pid = make_group(name), None

    @property
    def exact(self):
        return self.group is not None

    def command(self, words):
        words = [str(word) for word in words]
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', f"{self.group}/cgroup.procs", *words] if self.group else words

    def members(self):
        if self.group:
            return [int(pid) for pid in (self.group / "cgroup.procs").read_text().split()]
        return list(self.family())

    def family(self):
        """From /proc: pid to the fields of its stat file."""
        fields, family = {}, {self.pid}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields[int(stat.parent.name)] = [int(f) for f in stat.read_text().rsplit(") ", 1)[1].split()[1:15]]
        while new := {child for child, (parent, *_) in fields.items() if parent in family and child not in family}:
            family |= new
        return {member: fields[member] for member in family if member in fields}

    def cpu(self):
        if not self.group:
            return sum(sum(field[10:14]) for field in self.family().values()) / TICK
        with contextlib.suppress(OSError):
            return int((self.group / "cpuacct.usage").read_text()) / 1e9
        return int((self.group / "cpu.stat").read_text().split()[1]) / 1e6

    def pss(self):
        """MiB in use: pages that processes share count once."""
        total = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total / 1024

    def forget_peaks(self):
        for pid in self.members():
            with contextlib.suppress(OSError):
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self):
        """MiB: the largest resident size since `forget_peaks`, added over the processes that are there now. It counts the pages of the
        program's file, too, and shared ones more than once: right to compare one server with itself."""
        total = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmHWM"):
                        total += int(line.split()[1])
        return total / 1024

    def close(self):
        if not self.group:
            return
        for _ in range(50):
            with contextlib.suppress(OSError):
                self.group.rmdir()
                return
            time.sleep(0.1)


class Highest:
    """The largest `pss` seen while the block runs, looked at 20 times a second. For rows about memory: looking costs CPU."""

    def __init__(self, meter):
        self.meter, self.mib, self.ended = meter, 0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        return self

    def look(self):
        while True:
            self.mib = max(self.mib, self.meter.pss())
            if self.ended.wait(0.05):
                return

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def machine_busy():
    """CPU seconds that all processors have worked since the machine started."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICK


def own_use():
    """CPU seconds of this program and of the clients it has waited for."""
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Others:
    """The share of the machine that neither the server nor the clients used: over 0.1 a round is not to be trusted."""

    def __init__(self, meter):
        self.meter, self.start, self.at = meter, machine_busy() - own_use() - meter.cpu(), time.monotonic()

    def share(self):
        took = time.monotonic() - self.at
        foreign = machine_busy() - own_use() - self.meter.cpu() - self.start
        return max(0.0, foreign / (took * os.cpu_count())) if took else 0.0
