"""An issuer that others do not play: one that says when to renew and who it is, or one that means harm.

Arguments: port (0: any), certificate, key, directory of a true issuer (or -). Says its port in a line.
/ari/dir        the true directory, with renewal information and CAA identities; a certificate that was revoked there is to be
                renewed at once, any other in two months
/later/dir      503, to come back in two hours
/HARM/dir       a directory whose every other path does HARM; /HARM/at-once does it at once
HARM            hang, garbage, endless, trickle, broken (500), nonce (never good), reset
"""
import base64
import datetime
import json
import os
import socket
import ssl
import struct
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, certificate, key, true = int(sys.argv[1]), *sys.argv[2:5]


def ask(url):
    handler = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    with urllib.request.build_opener(urllib.request.ProxyHandler({}), handler).open(url) as answer:
        return json.load(answer)


def window(identifier):
    serial = base64.urlsafe_b64decode(identifier.split(".")[1] + "==").hex()
    status = ask(f"https://127.0.0.1:15000/cert-status-by-serial/{serial}")["Status"]
    days = -1 if status == "Revoked" else 60
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    form = "%Y-%m-%dT%H:%M:%SZ"
    end = start + datetime.timedelta(hours=1)
    return {"suggestedWindow": {"start": start.strftime(form), "end": end.strftime(form)}}


class Issuer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body, kind="application/json", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def here(self, path):
        return f"https://{self.headers['Host']}/{path}"

    def harm(self, how):
        if how == "hang":
            time.sleep(3600)
        elif how == "garbage":
            self.wfile.write(os.urandom(1 << 20))
        elif how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how in ("endless", "trickle"):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            piece = b"{" * (1 << 16 if how == "endless" else 1)
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                time.sleep(0 if how == "endless" else 0.5)
        elif how == "nonce":
            problem = {"type": "urn:ietf:params:acme:error:badNonce", "detail": "no", "status": 400}
            self.say(400, problem, "application/problem+json", Replay_Nonce="bm9uY2U")
        else:
            self.say(500, b"<html>", "text/html")
        self.close_connection = True

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mode, _, path = self.path.strip("/").partition("/")
        if mode == "ari" and path == "dir":
            directory = ask(true)
            directory["renewalInfo"] = self.here("ari/renewal")
            directory.setdefault("meta", {})["caaIdentities"] = ["stub.test"]
            self.say(200, directory)
        elif mode == "ari":
            self.say(200, window(path.rpartition("/")[2]), Retry_After="21600")
        elif mode == "later":
            problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "Service busy; retry later."}
            self.say(503, problem, "application/problem+json", Retry_After="7200")
        elif path == "dir":
            names = ["newAccount", "newOrder", "revokeCert", "keyChange"]
            directory = {name: self.here(f"{mode}/{name}") for name in names}
            self.say(200, directory | {"newNonce": self.here(f"{mode}/nonce")})
        elif path == "nonce":
            self.say(200, b"", Replay_Nonce="bm9uY2U")
        else:
            self.harm(mode)

    do_GET = do_POST = do_HEAD = answer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", port), Issuer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
