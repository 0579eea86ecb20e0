"""Small files over FTP beside Pure-FTPd: the same client, the same files of 1 KiB, a data connection for each; without TLS, which
is the peer's best case, and with it. Ruche writes every file to the disk before it says 226, Pure-FTPd leaves that to the kernel.
The CPU a file is compared; files a second are printed beside it, because a client that waits feels those."""
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import time

from machine import LOAD_CORES, Server, compare, free_port, have, listens
from ruche import Ruche

FILES = 2000
CLIENTS = 4
LOGIN, PASSWORD = "bench", "correct horse"
BODY = b"x" * 1024
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


class Client:
    """As little of a client as can be: it shares the figures with the server."""

    def __init__(self, port, secure):
        self.control = socket.create_connection(("127.0.0.1", port))
        self.control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.secure, self.heard = secure, b""
        self.reply()
        if secure:
            self.say("AUTH TLS")
            self.control = TLS.wrap_socket(self.control)
        for line in (f"USER {LOGIN}", f"PASS {PASSWORD}", *(("PBSZ 0", "PROT P") if secure else ()), "TYPE I"):
            self.say(line)

    def reply(self):
        while True:
            line, end, rest = self.heard.partition(b"\r\n")
            if not end:
                piece = self.control.recv(4096)
                if not piece:
                    raise OSError("the server is gone")
                self.heard += piece
                continue
            self.heard = rest
            if line[3:4] == b" ":
                if line[:1] in b"45":
                    raise OSError(line.decode())
                return line

    def say(self, line):
        self.control.sendall(line.encode() + b"\r\n")
        return self.reply()

    def data(self, line):
        port = int(self.say("EPSV").split(b"|")[3])
        data = socket.socket()
        data.connect(("127.0.0.1", port))
        self.say(line)
        if not self.secure:
            return data
        data.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return TLS.wrap_socket(data, session=self.control.session)

    def store(self, name):
        data = self.data(f"STOR {name}")
        data.sendall(BODY)
        self.end(data)

    def fetch(self, name):
        data, got = self.data(f"RETR {name}"), b""
        while piece := data.recv(65536):
            got += piece
        self.end(data)
        if got != BODY:
            raise OSError(f"{name} is not what was sent")

    def end(self, data):
        if self.secure:
            data = data.unwrap()
        data.close()
        self.reply()


class Session:
    """A client in a process of its own, logged in, that works when it is told to."""

    def __init__(self, port, secure, number):
        self.pipe, theirs = multiprocessing.Pipe()
        arguments = (port, secure, number, theirs)
        self.process = multiprocessing.Process(target=self.work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    @staticmethod
    def work(port, secure, number, pipe):
        os.sched_setaffinity(0, LOAD_CORES)
        client = Client(port, secure)
        pipe.send(0)
        # New names each time: ext4 without a journal takes ever longer to find a place where files were just replaced.
        rounds = 0
        while True:
            action, files = pipe.recv()
            rounds += action == "store"
            for at in range(files):
                getattr(client, action)(f"f{number}-{rounds}-{at}")
            pipe.send(files)

    def end(self):
        self.process.terminate()
        self.process.join()


def transfers(action, sessions_of, rates):
    """What a login costs is in no figure: the sessions are there before."""

    def work(server):
        sessions = sessions_of[server.name]
        start = time.monotonic()
        for session in sessions:
            session.pipe.send((action, FILES // len(sessions)))
        files = sum(session.pipe.recv() for session in sessions)
        rates.setdefault(server.name, []).append(files / (time.monotonic() - start))
        return files

    return work


def pure(dir):
    home, users, database = (os.path.join(dir, name) for name in ("home", "users", "users.pdb"))
    os.mkdir(home)
    os.chown(home, 65534, 65534)
    os.chmod(dir, 0o755)
    add = ["pure-pw", "useradd", LOGIN, "-f", users, "-F", database, "-m", "-u", "65534", "-g", "65534", "-d", home]
    subprocess.run(add, input=f"{PASSWORD}\n{PASSWORD}\n".encode(), stdout=subprocess.DEVNULL, check=True)
    key, certificate, both = (os.path.join(dir, name) for name in ("key.pem", "cert.pem", "both.pem"))
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    with open(both, "w") as out:
        out.write(open(key).read() + open(certificate).read())
    port = free_port()
    command = [have("pure-ftpd"), "-S", f"127.0.0.1,{port}", "-l", f"puredb:{database}", "-p", "31000:31999", "-E", "-H"]
    command += ["-c", "50", "-C", "50", "-Y", "1", "-2", both, "-g", os.path.join(dir, "pid")]
    server = Server("pure-ftpd", command, os.path.join(dir, "pure-ftpd.log"))
    server.port = port
    return server


def run(dir, binary, rounds):
    running = []
    try:
        ruche = Ruche(binary, dir, ftp=True)
        running.append(ruche)
        ruche.static_site("bench.example")
        user = ["ftp-user", "create", LOGIN, "--site", "bench.example", "--allow-plain", "--password-stdin"]
        ruche.ask(*user, input=PASSWORD)
        if have("pure-ftpd") and os.geteuid() == 0:
            peer = pure(dir)
            running.append(peer)
            peer.wait_for(listens(peer.port))
        for secure in (False, True):
            for clients in (1, CLIENTS):
                sessions = {
                    server.name: [Session(server.port, secure, number) for number in range(clients)]
                    for server in running
                }
                for action in ("store", "fetch"):
                    title = f"FTP {action} 1 KiB, {clients} client{'s' * (clients > 1)}{', TLS' * secure}"
                    rates = {}
                    row = compare(title, running, transfers(action, sessions, rates), rounds)
                    speeds = {name: statistics.median(each) for name, each in rates.items()}
                    beside = [f"{name} {rate:.0f}/s" for name, rate in speeds.items()]
                    shares = [f"{speeds['ruche'] / rate:.2f} × {name}" for name, rate in speeds.items() if name != "ruche"]
                    print(f"{title}: {', '.join(beside + shares)}", flush=True)
                    yield row
                for session in sum(sessions.values(), []):
                    session.end()
    finally:
        for server in running:
            server.end()
