"""Backends and visitors, all in one thread with one event loop: small, so that many of them cost little.

Used by stage.py. A backend listens on one port for its life, also after it was away; a visitor opens a connection for
each request and never minds what comes of it.
"""

import asyncio
import contextlib
import threading


class Loop:
    """The thread in which they all run."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine):
        """Runs it in the thread, and answers with what it answers."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def stop(self):
        self.run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


async def _cancel_all():
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class App:
    """A backend that answers as it is told: with a status, now and then with another, after a delay, or not at all."""

    def __init__(self, loop):
        self.status = 200
        # Each so many-th answer is a 500; 0 for none.
        self.fails_each = 0
        self._answers = 0
        self.delay = 0.0
        self.port = 0
        self._loop = loop
        self._open = set()
        self.come()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def come(self):
        self._loop.run(self._come())

    def leave(self):
        """Closes its port and its connections."""
        self._loop.run(self._leave())

    async def _come(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _leave(self):
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    def _next_status(self):
        self._answers += 1
        return 500 if self.fails_each and self._answers % self.fails_each == 0 else self.status

    async def _serve(self, reader, writer):
        self._open.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(self.delay)
                writer.write(b"HTTP/1.1 %d Told\r\nContent-Length: 2\r\n\r\nok" % self._next_status())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


class Visitors:
    """They ask for a path, so many times a second, until they are stopped."""

    def __init__(self, loop, address, path, per_second):
        self._loop = loop
        host, port = address.rsplit(":", 1)
        self._place = (host, int(port))
        self._path = path
        self._pause = 1 / per_second
        loop.run(self._begin())

    def stop(self):
        self._task.cancel()

    async def _begin(self):
        self._task = asyncio.create_task(self._come())

    async def _come(self):
        clock = asyncio.get_running_loop().time
        under_way = set()
        at = clock()
        while True:
            visit = asyncio.create_task(self._visit())
            under_way.add(visit)
            visit.add_done_callback(under_way.discard)
            at += self._pause
            await asyncio.sleep(max(0, at - clock()))

    async def _visit(self):
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(*self._place)
                try:
                    writer.write(f"GET {self._path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                    await reader.read()
                finally:
                    writer.close()
