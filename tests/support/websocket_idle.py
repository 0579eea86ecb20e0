"""Many WebSockets that say nothing: opened, then idle until a line comes in, then each says a word and hears it. Prints `open`,
then `fine`."""
import asyncio
import ssl
import sys

import websockets

socket, ca, host, port, count = sys.argv[1:]


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    context = ssl.create_default_context(cafile=ca)
    # Nobody asks whether the other is still there: idle means idle.
    async with websockets.unix_serve(echo, socket, ping_interval=None):
        connect = lambda: websockets.connect(
            f"wss://{host}:{port}/idle", host="127.0.0.1", port=int(port), ssl=context, server_hostname=host,
            ping_interval=None, open_timeout=60,
        )
        # One after the other: more than its backlog at once are refused by a unix socket.
        idle = [await connect() for _ in range(int(count))]
        for number, one in enumerate(idle):
            await one.send(f"before {number}")
            assert await one.recv() == f"before {number}"
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for number, one in enumerate(idle):
            await one.send(f"after {number}")
            assert await one.recv() == f"after {number}"
        await asyncio.gather(*[one.close() for one in idle])
    print("fine")


asyncio.run(main())
