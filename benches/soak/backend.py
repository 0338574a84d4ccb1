"""A backend that benches/soak can kill and spoil: what it was paid for it writes down before it answers.

    backend.py PORT NAME PAID    SIGUSR1: hang until the next one; SIGUSR2: reset every connection
"""

import asyncio
import base64
import hashlib
import signal
import socket
import struct
import sys

PORT, NAME, PAID = int(sys.argv[1]), sys.argv[2], open(sys.argv[3], "ab", buffering=0)
BIG = b"x" * 262_144
connections = set()
hanging = False


def answer(body, fields=""):
    return f"HTTP/1.1 200 OK\r\nX-From: {NAME}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def frames(reader, writer):
    """Echoes WebSocket frames, without their masks."""
    while True:
        first, second = await reader.readexactly(2)
        length = second & 127
        if length == 126:
            length = struct.unpack(">H", await reader.readexactly(2))[0]
        mask = await reader.readexactly(4)
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(await reader.readexactly(length)))
        head = bytes([first, length]) if length < 126 else bytes([first, 126]) + struct.pack(">H", length)
        writer.write(head + payload)
        if first & 15 == 8:
            return


async def serve(reader, writer):
    connections.add(writer)
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            fields = {name.lower(): value.strip() for name, _, value in
                      (line.partition(":") for line in head.split("\r\n")[1:] if line)}
            if "chunked" in fields.get("transfer-encoding", ""):
                raise ConnectionError("nobody here sends chunks")
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            if hanging and not target.startswith("/bulk"):
                await asyncio.sleep(60)
            if "sec-websocket-key" in fields:
                key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
                writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
                return await frames(reader, writer)
            if method == "POST":
                PAID.write(fields.get("x-pay", "-").encode() + b"\n")
                writer.write(answer(f"{fields.get('x-pay')} {len(body)}".encode()))
            else:
                writer.write(answer(BIG if target.startswith("/big") else target.encode()))
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError, ValueError):
        pass
    finally:
        connections.discard(writer)
        writer.close()


def hang():
    global hanging
    hanging = not hanging


def reset():
    for writer in list(connections):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, hang)
    loop.add_signal_handler(signal.SIGUSR2, reset)
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, reuse_address=True, backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
