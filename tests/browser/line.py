"""The line between the browser and the bucket, which a test can cut, or have keep the answers: a TCP relay."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time left: close() sends a reset


class Line:
    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.whole = True
        self.answering = threading.Event()
        self.answering.set()
        self.lock = threading.Lock()
        self.ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and each that is made from now on."""
        self.whole = False
        with self.lock:
            for end in self.ends:
                # A shutdown wakes the thread that reads from it; the close there sends the reset.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def keep_answers(self) -> None:
        """Take all that is put, as a proxy does that sends it on by and by, and hold back what the bucket says to it."""
        self.answering.clear()

    def mend(self) -> None:
        self.whole = True
        self.answering.set()

    def close(self) -> None:
        self.cut()
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.whole:
                threading.Thread(target=self._relay, args=(near,), daemon=True).start()
            else:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                near.close()

    def _relay(self, near: socket.socket) -> None:
        with near, socket.create_connection(self.target) as far:
            with self.lock:
                self.ends |= {near, far}
            putting = threading.Event()
            back = threading.Thread(target=self._pump, args=(far, near, putting), daemon=True)
            back.start()
            self._pump(near, far, putting)
            back.join()
            with self.lock:
                self.ends -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket, putting: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if data.startswith(b"PUT "):
                    putting.set()
                elif data.startswith(b"HTTP/") and putting.is_set():  # a preflight is answered
                    self.answering.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
