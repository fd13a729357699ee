"""`grantwell serve` as a child process: its address from its own first line, its end by the signal an operator sends."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType

from emulator import without_aws

_STARTED = "listening on "


class LocalServer:
    """Use as a context manager; `url` is the base that callers use."""

    def __init__(self, grantwell: Path, data: Path) -> None:
        self._process = subprocess.Popen(
            [str(grantwell), "serve", "--listen", "127.0.0.1:0", "--store", f"file:{data}"],
            env=without_aws(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()
        try:
            self.url = self._address(lines)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> int:
        """Stops the server as an operator does and returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        return self._process.returncode

    def _read(self, lines: queue.Queue[str | None]) -> None:
        # Reads to the end, so that the server never waits for a full pipe.
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                lines.put(line.rstrip("\n"))
        lines.put(None)

    @staticmethod
    def _address(lines: queue.Queue[str | None]) -> str:
        while (line := lines.get(timeout=30)) is not None:
            if line.startswith(_STARTED):
                return line.removeprefix(_STARTED)
        raise AssertionError("grantwell serve ended without a `listening on` line")
