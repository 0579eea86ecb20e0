"""DNS over UDP beside NSD and Knot: the same zones, the same questions, as dig asks them (EDNS with a cookie)."""
import os
import re

from machine import Server, compare, free_port, have, load
from ruche import Ruche
import socket
import struct

ZONES, NAMES = 100, 100

NSD = """
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  zonesdir: "{dir}"
  pidfile: "{dir}/nsd.pid"
  database: ""
  zonelistfile: "{dir}/nsd.list"
  xfrdfile: ""
  xfrdir: "{dir}"
  server-count: 1
  reuseport: yes
  answer-cookie: yes
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{zones}
"""
KNOT = """
server:
    listen: 127.0.0.1@{port}
    rundir: {dir}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {dir}
mod-cookies:
  - id: default
template:
  - id: default
    storage: {dir}
    file: "%s.zone"
    global-module: mod-cookies/default
zone:
{zones}
"""


def zone_text(name):
    lines = [f"$ORIGIN {name}.", "$TTL 3600", f"@ SOA ns1.{name}. admin.{name}. 1 3600 600 604800 300"]
    lines += [f"@ NS ns1.{name}.", f"@ NS ns2.{name}.", "ns1 A 192.0.2.1", "ns2 A 192.0.2.2", "@ A 192.0.2.3"]
    lines += ["@ MX 10 mail", "mail A 192.0.2.4", "mail AAAA 2001:db8::4", '@ TXT "v=spf1 mx -all"']
    lines += [f"host{n} A 192.0.2.{n % 250 + 1}" for n in range(NAMES)]
    lines += ["www CNAME host0"]
    return "\n".join(lines) + "\n"


def questions(path, zones):
    with open(path, "w") as out:
        for n in range(20_000):
            zone = zones[n * 7 % len(zones)]
            kind = n % 10
            if kind < 6:
                out.write(f"host{n * 13 % NAMES}.{zone} A\n")
            elif kind == 6:
                out.write(f"www.{zone} A\n")
            elif kind == 7:
                out.write(f"{zone} MX\n")
            elif kind == 8:
                out.write(f"nothing{n}.{zone} A\n")
            else:
                out.write(f"mail.{zone} TXT\n")


def answers(port, zone):
    """Whether a zone is answered for."""

    def reached():
        labels = b"".join(bytes([len(label)]) + label.encode() for label in zone.split("."))
        query = struct.pack(">6H", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 6, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.5)
            try:
                asking.sendto(query, ("127.0.0.1", port))
                answer = asking.recv(512)
            except OSError:
                return False
        return answer[3] & 15 == 0 and answer[6:8] != b"\0\0"

    return reached


def run(dir, binary, rounds):
    zones = [f"zone{n}.example" for n in range(ZONES)]
    for zone in zones:
        with open(os.path.join(dir, f"{zone}.zone"), "w") as out:
            out.write(zone_text(zone))
    running = []
    try:
        ruche = Ruche(binary, dir, dns=True)
        running.append(ruche)
        for zone in zones:
            ruche.ask("zone", "import", os.path.join(dir, f"{zone}.zone"), zone)
        ruche.server.wait_for(answers(ruche.port, zones[-1]))
        for name, program, config, entry, command in (
            ("nsd", "nsd", NSD, 'zone:\n  name: "{0}"\n  zonefile: "{0}.zone"', ["-d", "-c"]),
            ("knot", "knotd", KNOT, "  - domain: {0}", ["-c"]),
        ):
            if not have(program):
                continue
            port = free_port(socket.SOCK_DGRAM)
            text = config.replace("{port}", str(port)).replace("{dir}", dir)
            text = text.replace("{zones}", "\n".join(entry.format(zone) for zone in zones))
            path = os.path.join(dir, f"{name}.conf")
            with open(path, "w") as out:
                out.write(text)
            peer = Server(name, [have(program), *command, path], os.path.join(dir, f"{name}.log"), cwd=dir)
            peer.port = port
            running.append(peer.wait_for(answers(port, zones[-1])))
        asked = os.path.join(dir, "questions")
        questions(asked, zones)
        # As fast as it goes, and as a busy node is asked.
        for title, extra in (
            ("DNS over UDP", []),
            ("DNS over UDP, EDNS and cookie", ["-e", "-E", "10:0102030405060708"]),
            ("DNS over UDP, 100,000 a second", ["-Q", "100000"]),
        ):

            def work(server):
                said = load(["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", asked, "-l", "4", "-c", "8", *extra])
                found = re.search(r"Queries completed:\s+(\d+)", said)
                return int(found.group(1)) if found else 0

            yield compare(title, running, work, rounds)
    finally:
        for server in running:
            server.end()
