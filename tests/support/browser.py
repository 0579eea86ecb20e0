"""Opens a page in headless Chromium and says how it came: {"status", "protocol", "keyExchangeGroup", "issuer", "subjectName", ...}.

Arguments: url, home directory with the browser's authorities, a free port of 127.0.0.1.
"""
import asyncio
import json
import subprocess
import sys
import urllib.request

import websockets

url, home, port = sys.argv[1:4]


async def page():
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [target for target in json.load(answer) if target["type"] == "page"]
                if pages:
                    return pages[0]["webSocketDebuggerUrl"]
        except OSError:
            pass
        await asyncio.sleep(0.1)
    sys.exit("the browser does not listen")


async def visit():
    async with websockets.connect(await page(), max_size=None) as wire:
        await wire.send(json.dumps({"id": 1, "method": "Network.enable"}))
        await wire.send(json.dumps({"id": 2, "method": "Page.navigate", "params": {"url": url}}))
        while True:
            said = json.loads(await asyncio.wait_for(wire.recv(), 30))
            if said.get("method") == "Network.loadingFailed":
                return {"failed": said["params"]["errorText"]}
            if said.get("method") == "Network.responseReceived" and said["params"]["response"]["url"] == url:
                response = said["params"]["response"]
                return {"status": response["status"], "http": response["protocol"], **response["securityDetails"]}


browser = subprocess.Popen(
    ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}/profile",
     f"--remote-debugging-port={port}", "--remote-allow-origins=*", "about:blank"],
    env={"HOME": home, "PATH": "/usr/bin:/bin"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    print(json.dumps(asyncio.run(visit())))
finally:
    browser.kill()
    browser.wait()
