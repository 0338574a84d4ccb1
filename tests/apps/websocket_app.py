"""WebSockets as apps speak them: an echo, Rails' ActionCable and a Phoenix channel, scripted on websockets' server.

Started by tests/frameworks and tests/autobahn. APP_NAME is what it calls itself; with TLS_CERT and TLS_KEY it speaks
TLS. Its port is the system's choice, said on standard output.
"""

import asyncio
import json
import os
import ssl
from urllib.parse import urlsplit

from websockets.asyncio.server import serve

NAME = os.environ.get("APP_NAME", "app")
# Autobahn's largest message has 16 MiB.
LARGEST = 32 * 1024 * 1024


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def whoami(socket):
    """What the handshake said, in one message."""
    headers = list(socket.request.headers.raw_items())
    await socket.send(json.dumps({"app": NAME, "headers": headers, "subprotocol": socket.subprotocol}))
    await socket.wait_closed()


async def close(socket):
    """Closes by the code that the first message says, or says by which it was closed where there is none."""
    code = await socket.recv()
    await socket.close(int(code), "as you wish")


async def closed(socket, seen):
    """Keeps by which code a visitor closed."""
    await socket.wait_closed()
    seen.append([socket.close_code, socket.close_reason])


async def fragments(socket):
    """Sends a message in as many frames as it is asked for."""
    count = int(await socket.recv())
    await socket.send(f"part {number};" for number in range(count))
    await socket.wait_closed()


async def cable(socket):
    """ActionCable: welcome, subscriptions, broadcasts, pings."""
    await socket.send(json.dumps({"type": "welcome"}))
    async for message in socket:
        command = json.loads(message)
        identifier = command["identifier"]
        if command["command"] == "subscribe":
            await socket.send(json.dumps({"identifier": identifier, "type": "confirm_subscription"}))
            await socket.send(json.dumps({"type": "ping", "message": 1}))
        elif command["command"] == "message":
            data = json.loads(command["data"])
            await socket.send(json.dumps({"identifier": identifier, "message": {"from": NAME, **data}}))


async def channel(socket):
    """A Phoenix channel by its version 2 serializer: [join_ref, ref, topic, event, payload]."""
    async for message in socket:
        join_ref, ref, topic, event, payload = json.loads(message)
        reply = {"status": "ok", "response": {"app": NAME} if event == "phx_join" else {}}
        await socket.send(json.dumps([join_ref, ref, topic, "phx_reply", reply]))
        if event == "new_msg":
            await socket.send(json.dumps([join_ref, None, topic, "new_msg", payload]))


def handler():
    seen = []
    at = {"/whoami": whoami, "/close": close, "/fragments": fragments, "/cable": cable, "/socket/websocket": channel}

    async def handle(socket):
        path = urlsplit(socket.request.path).path
        if path == "/closed":
            await closed(socket, seen)
        elif path == "/seen":
            await socket.send(json.dumps(seen))
        else:
            await at.get(path, echo)(socket)

    return handle


def tls():
    if "TLS_CERT" not in os.environ:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS_CERT"], os.environ["TLS_KEY"])
    return context


def answer(connection, request):
    """Whoever isn't logged in gets no WebSocket."""
    if urlsplit(request.path).path == "/private":
        return connection.respond(401, "log in first\n")
    return None


def spoken(connection, offered):
    """The first protocol that is offered and known; none is no reason to refuse."""
    return next((protocol for protocol in offered if protocol in ("actioncable-v1-json", "chat")), None)


async def main():
    options = {"select_subprotocol": spoken, "max_size": LARGEST, "process_request": answer, "ssl": tls()}
    async with serve(handler(), "127.0.0.1", 0, **options) as server:
        scheme = "wss" if options["ssl"] else "ws"
        host, port = server.sockets[0].getsockname()
        print(f"listening at {scheme}://{host}:{port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
