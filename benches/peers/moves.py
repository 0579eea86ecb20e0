"""A site that moves from node to node beside `rsync -a` over ssh with the same files, each to an empty place, both on loopback and all
cores. The CPU of both sides together a GiB is compared, and of 50,000 files a thousand of them; seconds are printed beside it, those of
rsync also with a sync after it: where a site has moved its files are on the disk."""
import json
import mmap
import os
import resource
import shutil
import statistics
import subprocess
import time

from machine import cpu_us, free_port, have, listens
from ruche import Ruche

HOST = "bench.example"
GIB = 1 << 30
SMALL, SMALL_BYTES = 50_000, 2_000


class Member(Ruche):
    """A node that others can reach."""

    def __init__(self, binary, dir, name):
        os.makedirs(dir)
        self.member = f"127.0.0.1:{free_port()}"
        self.label = name
        super().__init__(binary, dir, https=True)

    def configured(self, text):
        text = text.replace('name = "bench"', f'name = "{self.label}"')
        return text.replace("[cluster]\nlisten = []", f'[cluster]\nlisten = ["{self.member}"]')


class Sshd:
    """An ssh server of our own, which lets its own key in."""

    def __init__(self, dir):
        self.dir, self.port = dir, free_port()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{dir}/{key}"], check=True)
        shutil.copy(f"{dir}/user.pub", f"{dir}/authorized")
        os.makedirs("/run/sshd", exist_ok=True)
        options = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": f"{dir}/host",
            "AuthorizedKeysFile": f"{dir}/authorized",
            "PermitRootLogin": "yes",
            "StrictModes": "no",
            "PidFile": "none",
        }
        flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
        with open(f"{dir}/sshd.log", "wb") as log:
            self.process = subprocess.Popen([have("sshd"), "-D", "-f", "/dev/null", *flags], stderr=log)
        end = time.monotonic() + 10
        while not listens(self.port)() and time.monotonic() < end:
            time.sleep(0.05)

    def copy(self, root, to):
        ssh = f"ssh -p {self.port} -i {self.dir}/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -q"
        subprocess.run(["rsync", "-a", "-e", ssh, f"{root}/", f"root@127.0.0.1:{to}/"], check=True)

    def end(self):
        self.process.terminate()
        self.process.wait()


def children_us():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e6


def ready_memory():
    """Free memory of a virtual machine may have to be given by its host first, page by page: neither side pays for that."""
    mmap.mmap(-1, 2 * GIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def by_rsync(dir, root):
    """Everything is a child of ours, and waited for."""
    to = os.path.join(dir, "copy")
    shutil.rmtree(to, ignore_errors=True)
    ready_memory()
    before, begun = children_us(), time.monotonic()
    sshd = Sshd(os.path.join(dir, "ssh"))
    try:
        sshd.copy(root, to)
        took = time.monotonic() - begun
    finally:
        sshd.end()
    os.sync()
    synced = time.monotonic() - begun
    for name in os.listdir(os.path.join(dir, "ssh")):
        os.unlink(os.path.join(dir, "ssh", name))
    return children_us() - before, took, synced


def by_ruche(nodes, to):
    ready_memory()
    before, begun = sum(cpu_us(node.pid) for node in nodes), time.monotonic()
    nodes[0].ask("site", "move", HOST, "--to", to)
    took = time.monotonic() - begun
    return sum(cpu_us(node.pid) for node in nodes) - before, took


def root_of(node):
    return json.loads(node.ask("site", "show", HOST, "-o", "json").stdout)["root"]


def fill(root, large):
    if large:
        piece = os.urandom(64 << 20)
        for at in range(4):
            with open(os.path.join(root, f"large-{at}"), "wb") as out:
                for _ in range(4):
                    out.write(piece)
        return
    for at in range(SMALL):
        folder = os.path.join(root, str(at // 500))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, str(at)), "wb") as out:
            out.write(os.urandom(SMALL_BYTES))


def run(dir, binary, rounds):
    if not (have("rsync") and have("sshd") and os.geteuid() == 0):
        print("moves: rsync, sshd and root are needed; skipped", flush=True)
        return
    os.makedirs(os.path.join(dir, "ssh"))
    for title, large, units in (("a site of 1 GiB, a GiB", True, 1), (f"a site of {SMALL} files, 1000 files", False, SMALL // 1000)):
        costs, times = {"ruche": [], "rsync": []}, {"ruche": [], "rsync": [], "rsync and sync": []}
        for at in range(rounds):
            nodes = []
            base = os.path.join(dir, f"{large}-{at}")
            try:
                nodes = [Member(binary, os.path.join(base, name), name) for name in ("one", "two")]
                token = nodes[0].ask("node", "token").stdout.split()[-1]
                nodes[1].ask("cluster", "join", token)
                nodes[0].ask("site", "create", HOST, "--static", "--node", "one")
                fill(root_of(nodes[0]), large)
                os.sync()
                cost, took, synced = by_rsync(dir, root_of(nodes[0]))
                costs["rsync"].append(cost / units)
                times["rsync"].append(took)
                times["rsync and sync"].append(synced)
                cost, took = by_ruche(nodes, "two")
                costs["ruche"].append(cost / units)
                times["ruche"].append(took)
            finally:
                for node in nodes:
                    node.end()
                shutil.rmtree(base, ignore_errors=True)
        medians = {name: statistics.median(each) for name, each in times.items()}
        print(f"{title}: {', '.join(f'{name} {took:.2f} s' for name, took in medians.items())}", flush=True)
        yield title, {name: statistics.median(each) for name, each in costs.items()}
