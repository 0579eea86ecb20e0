"""A WebSocket server on a unix socket and its clients, who reach it through a node: text, binary, fragments, large messages,
pings and ends. Prints `fine`."""
import asyncio
import ssl
import sys

import websockets
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

socket, ca, host, port = sys.argv[1:]


async def serve(connection):
    async for message in connection:
        if message == "leave":
            await connection.close(4001, "as asked")
        elif message == "cut":
            connection.transport.abort()
        elif message == "ping":
            await (await connection.ping())
            await connection.send("pinged")
        else:
            await connection.send(message)


def connect(**more):
    context = ssl.create_default_context(cafile=ca)
    return websockets.connect(
        f"wss://{host}:{port}/chat?x=y", host="127.0.0.1", port=int(port), ssl=context,
        server_hostname=host, max_size=1 << 26, **more
    )


async def main():
    async with websockets.unix_serve(serve, socket, max_size=1 << 26, subprotocols=["chat"]):
        async with connect(subprotocols=["chat"]) as one:
            assert one.subprotocol == "chat"
            for message in ["", "text", "\u00fc" * 70000, b"", b"\x00\xff", bytes(range(256)) * 40000, "x" * 20_000_000]:
                await one.send(message)
                assert await one.recv() == message
            await one.send(["frag", "ment", "", "ed"])
            assert await one.recv() == "fragmented"
            await (await one.ping(b"there?"))
            await one.send("ping")
            assert await one.recv() == "pinged"
            await one.send("leave")
            try:
                await one.recv()
                raise AssertionError("it did not leave")
            except ConnectionClosedError as closed:
                assert closed.rcvd.code == 4001, closed
        async with connect() as cut:
            await cut.send("cut")
            try:
                await cut.recv()
                raise AssertionError("it was not cut")
            except ConnectionClosedError as closed:
                assert closed.rcvd is None, closed
        async with connect() as early:
            await early.close(1000)
            try:
                await early.recv()
            except ConnectionClosedOK:
                pass
        many = await asyncio.gather(*[connect() for _ in range(50)])
        for number, one in enumerate(many):
            await one.send(str(number))
        for number, one in enumerate(many):
            assert await one.recv() == str(number)
        await asyncio.gather(*[one.close() for one in many])
    print("fine")


asyncio.run(asyncio.wait_for(main(), 60))
