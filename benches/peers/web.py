"""HTTPS beside nginx, haproxy and h2o: the same files, the same kind of certificate, an access log in all."""
import os
import re
import subprocess

from machine import Server, compare, free_port, have, listens, load
from ruche import Ruche

NAMES = {"static": "static.example", "proxy": "proxy.example"}
SMALL, LARGE = "small.html", "large.bin"

NGINX = """
daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; worker_processes {workers}; user root;
events {{ worker_connections 4096; }}
http {{
  types {{ text/html html; }} default_type application/octet-stream;
  sendfile on; tcp_nopush on; keepalive_requests 100000000; access_log {log};
  {body}
}}
"""
NGINX_TLS = """
  ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:s:10m;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} ssl http2; server_name static.example; root {dir}/files; }}
  server {{ listen 127.0.0.1:{port} ssl http2; server_name proxy.example;
    location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }} }}
"""
HAPROXY = """
global
  nbthread 1
  log {dir}/log.sock local0
  tune.ssl.default-dh-param 2048
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tls
  bind 127.0.0.1:{port} ssl crt {dir}/both.pem alpn h2,http/1.1
  default_backend files
backend files
  http-reuse always
  server one 127.0.0.1:{backend}
"""
H2O = """
user: root
num-threads: 1
access-log: {dir}/h2o.log
listen: {{ host: 127.0.0.1, port: {port}, ssl: {{ certificate-file: {dir}/cert.pem, key-file: {dir}/key.pem, minimum-version: TLSv1.2 }} }}
hosts:
  static.example: {{ paths: {{ "/": {{ file.dir: {dir}/files }} }} }}
  proxy.example: {{ paths: {{ "/": {{ proxy.reverse.url: "http://127.0.0.1:{backend}/" }} }} }}
"""


def write(dir, name, text):
    path = os.path.join(dir, name)
    with open(path, "w") as out:
        out.write(text)
    return path


def files(dir):
    os.makedirs(dir, exist_ok=True)
    with open(os.path.join(dir, SMALL), "wb") as small:
        small.write(b"x" * 1024)
    with open(os.path.join(dir, LARGE), "wb") as large:
        large.write(os.urandom(10 << 20))


def certificate(dir):
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 30"
        " -subj /CN=static.example -addext subjectAltName=DNS:static.example,DNS:proxy.example"
        " && cat cert.pem key.pem > both.pem",
        shell=True, check=True, cwd=dir, capture_output=True,
    )  # fmt: skip


class Peer(Server):
    def __init__(self, name, command, dir, port):
        super().__init__(name, command, os.path.join(dir, f"{name}.log"), cwd=dir)
        self.port = port
        self.wait_for(listens(port))


def start(dir, binary):
    """The backend, Ruche, and the peers that are installed."""
    files(os.path.join(dir, "files"))
    certificate(dir)
    backend = free_port()
    plain = f"server {{ listen 127.0.0.1:{backend}; root {dir}/files; }}"
    config = write(dir, "backend.conf", NGINX.format(dir=dir, workers=1, log="off", body=plain).replace("nginx.pid", "backend.pid"))
    running = [Peer("backend", [have("nginx"), "-c", config, "-p", dir], dir, backend)]
    ruche = Ruche(binary, dir, https=True)
    files(ruche.static_site(NAMES["static"]))
    ruche.ask("site", "create", NAMES["proxy"], "--proxy", f"http://127.0.0.1:{backend}")
    running.append(ruche)
    port = free_port()
    body = NGINX_TLS.format(dir=dir, port=port, backend=backend)
    config = write(dir, "nginx.conf", NGINX.format(dir=dir, workers=1, log=f"{dir}/access.log", body=body))
    running.append(Peer("nginx", [have("nginx"), "-c", config, "-p", dir], dir, port))
    if have("haproxy"):
        port = free_port()
        config = write(dir, "haproxy.cfg", HAPROXY.format(dir=dir, port=port, backend=backend))
        running.append(Peer("haproxy", [have("haproxy"), "-db", "-f", config], dir, port))
    if have("h2o"):
        port = free_port()
        config = write(dir, "h2o.conf", H2O.format(dir=dir, port=port, backend=backend))
        running.append(Peer("h2o", [have("h2o"), "-m", "worker", "-c", config], dir, port))
    return running


def h2load(arguments, host, path):
    def work(server):
        said = load(["h2load", *arguments, f"--connect-to=127.0.0.1:{server.port}", f"https://{host}/{path}"])
        found = re.search(r"(\d+) 2xx", said)
        return int(found.group(1)) if found else 0

    return work


WORK = [
    ("h1 static 1 KiB", "static", ("nginx", "h2o"), ["--h1", "-n", "40000", "-c", "32"], SMALL),
    ("h1 proxy 1 KiB", "proxy", ("nginx", "haproxy", "h2o"), ["--h1", "-n", "30000", "-c", "32"], SMALL),
    ("h2 static 1 KiB", "static", ("nginx", "h2o"), ["-n", "80000", "-c", "32", "-m", "10"], SMALL),
    ("h2 proxy 1 KiB", "proxy", ("nginx", "haproxy", "h2o"), ["-n", "40000", "-c", "32", "-m", "10"], SMALL),
    # As a busy node is asked: 16,000 a second.
    ("h1 static 1 KiB, 16,000/s", "static", ("nginx", "h2o"), ["--h1", "-n", "48000", "-c", "32", "--rps=500"], SMALL),
    ("h1 proxy 1 KiB, 16,000/s", "proxy", ("nginx", "haproxy", "h2o"), ["--h1", "-n", "48000", "-c", "32", "--rps=500"], SMALL),
    # As many connections as requests, so many a second: none of them resumes a session.
    ("full handshake + GET", "static", ("nginx", "h2o"), ["--h1", "-n", "2000", "-c", "2000", "-r", "400"], SMALL),
    ("h1 static 10 MiB", "static", ("nginx", "h2o"), ["--h1", "-n", "100", "-c", "4"], LARGE),
    ("h1 proxy 10 MiB", "proxy", ("nginx", "haproxy", "h2o"), ["--h1", "-n", "60", "-c", "4"], LARGE),
]


def run(dir, binary, rounds):
    running = start(dir, binary)
    try:
        servers = [server for server in running if server.name != "backend"]
        for title, site, peers, arguments, path in WORK:
            beside = [server for server in servers if server.name in ("ruche", *peers)]
            yield compare(title, beside, h2load(arguments, NAMES[site], path), rounds)
    finally:
        for server in running:
            server.end()
