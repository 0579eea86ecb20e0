"""A node of Ruche for the comparisons, with everything it takes made through its own command line."""
import json
import os
import subprocess

from machine import Server, free_port

CONFIG = """
[node]
name = "bench"
data_dir = "{dir}/data"
[web]
http = []
https = {https}
[dns]
listen = {dns}
[ftp]
listen = {ftp}
passive_ports = "{passive}"
[admin]
socket = "{dir}/socket"
listen = []
[cluster]
listen = []
"""


class Ruche:
    def __init__(self, binary, dir, https=False, dns=False, ftp=False):
        self.binary, self.dir = binary, dir
        self.port = free_port()
        listen = [f"127.0.0.1:{self.port}"]
        config = os.path.join(dir, "ruche.toml")
        with open(config, "w") as out:
            text = CONFIG.format(
                dir=dir,
                https=listen if https else [],
                dns=listen if dns else [],
                ftp=listen if ftp else [],
                passive="30000-30999",
            )
            out.write(self.configured(text))
        self.server = Server("ruche", [binary, "run", "--config", config], os.path.join(dir, "ruche.log"))
        self.server.wait_for(lambda: self.ask("status", check=False).returncode == 0)

    def configured(self, text):
        return text

    @property
    def name(self):
        return "ruche"

    @property
    def pid(self):
        return self.server.pid

    def ask(self, *arguments, check=True, input=None):
        return subprocess.run(
            [self.binary, "--socket", f"{self.dir}/socket", *arguments],
            check=check,
            capture_output=True,
            text=True,
            input=input,
        )

    def static_site(self, host):
        """Makes a site; the directory of its files."""
        self.ask("site", "create", host, "--static")
        return json.loads(self.ask("site", "show", host, "-o", "json").stdout)["root"]

    def end(self):
        self.server.end()
