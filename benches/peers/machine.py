"""What every comparison stands on: servers that are started and ended, the CPU they take, medians. Knows no protocol."""
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
# The server has one core and the load the other ones, where there are two.
SERVER_CORES, LOAD_CORES = (CORES[-1:], CORES[:-1] or CORES)
DEADLINE_S = 30


def have(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


GIVEN = set()


def free_port(kind=socket.SOCK_STREAM):
    """A port that nobody has, and that was not given before."""
    while True:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def tree(pid):
    """A process and all below it."""
    pids = [pid]
    for at in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{task}/children") as children:
                    pids.extend(int(child) for child in children.read().split())
    return pids


def cpu_us(pid):
    """CPU time of a process and all below it, those that ended included."""
    total = 0
    for at in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{at}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
            total += sum(int(fields[n]) for n in (11, 12, 13, 14))
    return total * TICK_US


def pinned(cores):
    return lambda: os.sched_setaffinity(0, cores)


class Server:
    """A program in the foreground, on the server's core, ended with all below it."""

    def __init__(self, name, command, log, **options):
        self.name = name
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, preexec_fn=pinned(SERVER_CORES), **options
            )
        self.log = log

    @property
    def pid(self):
        return self.process.pid

    def wait_for(self, reached):
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if reached():
                return self
            time.sleep(0.05)
        with open(self.log, errors="replace") as log:
            sys.exit(f"benches/peers: {self.name} did not start:\n{log.read()[-2000:]}")

    def end(self):
        for pid in reversed(tree(self.pid)):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def listens(port):
    def reached():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return reached


def load(command, **options):
    """Runs a load generator on its cores; its output."""
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=pinned(LOAD_CORES), timeout=300, **options
    )
    return done.stdout + done.stderr


def compare(title, servers, work, rounds):
    """CPU a unit of work, each server in turn, round after round: the turns share what else the machine does.

    `work(server)` does it and says how many units were done."""
    costs = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            before = cpu_us(server.pid)
            units = work(server)
            if not units:
                sys.exit(f"benches/peers: {title}: {server.name} answered nothing")
            costs[server.name].append((cpu_us(server.pid) - before) / units)
    return title, {name: statistics.median(each) for name, each in costs.items()}


def table(rows):
    """Ruche beside the others: CPU microseconds a unit, and Ruche's share of each peer's."""
    lines = ["| CPU µs a unit | Ruche | peers (Ruche takes … of it) |", "|---|---|---|"]
    for title, costs in rows:
        own = costs.pop("ruche")
        beside = " · ".join(f"{name} {cost:.1f} ({own / cost:.2f})" for name, cost in costs.items() if cost)
        lines.append(f"| {title} | {own:.1f} | {beside} |")
    return "\n".join(lines)
