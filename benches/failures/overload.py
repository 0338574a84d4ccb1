"""A backend that can answer 100 requests a second is asked for 300: how many are answered in time, and how soon.

`run` calls it. Who waits for longer than a second gives up, as people do; the backend works on what they have left
behind, as apps do. Everything is on loopback and bounded.
"""

import asyncio
import multiprocessing
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

WORKERS, WORK, OFFERED, PATIENCE = 5, 0.05, 300, 1.0
WARM, MEASURED = 8, 8
CAPACITY = WORKERS / WORK
CONFIG = """
[server]
http = "127.0.0.1:0"
metrics = "127.0.0.1:0"
workers = 2
[backends.app]
url = "http://127.0.0.1:{port}"
{keys}
[[routes]]
name = "web"
stable = "app"
[access_log]
target = "off"
"""
BOUNDS = {
    "without bounds": "max_in_flight = 100000",
    "max_in_flight = 10": 'max_in_flight = 10\nmax_queue = 30\nqueue_timeout = "400ms"',
    "adaptive": 'adaptive_concurrency = true\nmax_queue = 30\nqueue_timeout = "400ms"',
}


def backend(listener):
    """Five at a time, the others wait inside, whether or not anybody waits for them."""

    async def serve():
        places = asyncio.Semaphore(WORKERS)

        async def connection(reader, writer):
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    async with places:
                        await asyncio.sleep(WORK)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            except (asyncio.IncompleteReadError, OSError):
                writer.close()

        server = await asyncio.start_server(connection, sock=listener)
        await server.serve_forever()

    asyncio.run(serve())


async def ask(port, outcomes, began):
    sent = time.monotonic()

    async def exchange():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
        finally:
            writer.close()

    try:
        status = await asyncio.wait_for(exchange(), PATIENCE)
    except asyncio.TimeoutError:
        status = "gave up"
    except (OSError, asyncio.IncompleteReadError) as error:
        status = type(error).__name__
    if sent - began >= WARM:
        outcomes.append((status, time.monotonic() - sent))


async def visit(port):
    outcomes, asking, began = [], set(), time.monotonic()
    for number in range(int(OFFERED * (WARM + MEASURED))):
        await asyncio.sleep(max(0.0, began + number / OFFERED - time.monotonic()))
        asking.add(asyncio.create_task(ask(port, outcomes, began)))
    await asyncio.gather(*asking)
    return outcomes


def once(binary, keys):
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        app = multiprocessing.Process(target=backend, args=(listener,), daemon=True)
        app.start()
        file, log = Path(folder) / "crossfade.toml", Path(folder) / "log"
        file.write_text(CONFIG.format(port=listener.getsockname()[1], keys=keys))
        with open(log, "w") as errors:
            proxy = subprocess.Popen([binary, "run", "--config", str(file)], stdout=subprocess.DEVNULL, stderr=errors)
        try:
            until = time.monotonic() + 20
            while "serving" not in log.read_text() and time.monotonic() < until:
                time.sleep(0.01)
            port = int(re.search(r"listening on http://127.0.0.1:(\d+)", log.read_text()).group(1))
            return asyncio.run(visit(port))
        finally:
            proxy.send_signal(signal.SIGKILL)
            proxy.wait()
            app.kill()
            app.join()
            listener.close()


def overload(arguments):
    lines, good = [], True
    for name, keys in BOUNDS.items():
        outcomes = once(arguments.bin, keys)
        served = sorted(took for status, took in outcomes if status == 200)
        shed = sorted(took for status, took in outcomes if status == 503)
        goodput, p99 = len(served) / MEASURED, served[len(served) * 99 // 100] if served else float("inf")
        others = Counter(str(status) for status, _ in outcomes if status not in (200, 503))
        told = f"{shed[len(shed) // 2] * 1000:.0f} ms" if shed else "none"
        lines.append(f"\n     {name}: {goodput:.0f}/s of {CAPACITY:.0f}/s served in time, p99 {p99 * 1000:.0f} ms; "
                     f"{len(shed)} shed (median {told}); {dict(others) or 'nobody gave up'}")
        if name.startswith("max_in_flight"):
            good &= goodput >= 0.75 * CAPACITY and p99 < PATIENCE
    return f"{OFFERED}/s offered" + "".join(lines), good
