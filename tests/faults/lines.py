"""The lines between the site and its servers, which can be cut, swallow what is said, and be slow: TCP relays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator

from uploadkit.localstack import HOST

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time left: close() sends a reset


class Line:
    """A port of its own that leads to `target`. Its faults are for the line as a whole, connections to come included."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server((HOST, 0), backlog=200)
        self.port: int = self.listener.getsockname()[1]
        self.whole = True
        self.delay = 0.0  # seconds that each piece waits, in both directions
        self.there, self.back = asyncio.Event(), asyncio.Event()  # set: what is said in that direction passes
        self.ends: set[StreamWriter] = set()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ended = asyncio.Event()

    @contextlib.contextmanager
    def open(self) -> Iterator[Line]:
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            self._tell(self.ended.set)
            thread.join()

    def cut(self) -> None:
        """Reset every connection, and each that is made from now on."""
        self.whole = False
        self._tell(self._reset_all)

    def swallow(self, *, requests: bool = True) -> None:
        """Let nothing through, or no answers only: what is said waits, and comes when the line is mended."""
        if requests:
            self._tell(self.there.clear)
        self._tell(self.back.clear)

    def mend(self) -> None:
        self.whole, self.delay = True, 0.0
        self._tell(self.there.set)
        self._tell(self.back.set)

    def hang_up(self) -> None:
        """Reset every connection, so that nothing old is under way."""
        self._tell(self._reset_all)

    def _tell(self, act: Callable[[], None]) -> None:
        """Have it done in the line's thread, and wait until it is."""
        assert self.loop is not None
        done = threading.Event()

        def act_there() -> None:
            act()
            done.set()

        self.loop.call_soon_threadsafe(act_there)
        done.wait()

    # --- in the thread of the line ---

    async def _serve(self, ready: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self.there.set()
        self.back.set()
        server = await asyncio.start_server(self._relay, sock=self.listener)
        ready.set()
        await self.ended.wait()
        server.close()
        self._reset_all()

    async def _relay(self, near_reader: StreamReader, near: StreamWriter) -> None:
        ends = [near]
        try:
            if self.whole:
                self.ends.add(near)
                far_reader, far = await asyncio.open_connection(HOST, self.target)
                ends.append(far)
                self.ends.add(far)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(near_reader, far, self.there))
                    both.create_task(self._pump(far_reader, near, self.back))
        except (OSError, ExceptionGroup):
            pass  # whichever end broke, the other is broken below
        finally:
            self.ends.difference_update(ends)
            for end in ends:
                self._reset(end)

    async def _pump(self, source: StreamReader, sink: StreamWriter, passes: asyncio.Event) -> None:
        while data := await source.read(65536):
            await passes.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            sink.write(data)
            await sink.drain()
        await passes.wait()
        sink.write_eof()

    def _reset_all(self) -> None:
        for end in self.ends:
            self._reset(end)

    @staticmethod
    def _reset(end: StreamWriter) -> None:
        with contextlib.suppress(OSError):
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.transport.abort()
