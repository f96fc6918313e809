"""A web server on loopback that knows what it was asked for."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Files(SimpleHTTPRequestHandler):
    """A file server that keeps a list of what it was asked for, (path, first byte, bytes sent)."""

    asked: list[tuple[str, int, int]]
    ranges = True

    def log_message(self, *_: object) -> None: ...

    def send_head(self):  # type: ignore[no-untyped-def]
        if self.path.startswith("/broken"):
            return self.send_error(500)
        if self.path.startswith("/secret"):
            return self.send_error(403)
        self.left = -1
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            return super().send_head()
        size, wanted = file.stat().st_size, self.headers.get("Range")
        first, last = 0, size - 1
        if wanted and self.ranges:
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or size), size - 1)
        self.send_response(206 if wanted and self.ranges else 200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if wanted and self.ranges:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if self.command == "GET":
            self.asked.append((self.path, first, last - first + 1))
        opened = file.open("rb")
        opened.seek(first)
        self.left = last - first + 1
        return opened

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        while self.left > 0 and (data := source.read(min(self.left, 1 << 20))):
            outputfile.write(data)
            self.left -= len(data)


class Server:
    """Serves a folder, in parts where `ranges` says so."""

    def __init__(self, folder: Path, ranges: bool = True, kind: type[Files] = Files) -> None:
        self.asked: list[tuple[str, int, int]] = []
        kind = type("Kind", (kind,), {"asked": self.asked, "ranges": ranges})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, name: str) -> tuple[int, int]:
        """Requests and bytes sent for one file."""
        sent = [size for path, _, size in self.asked if path == f"/{name}"]
        return len(sent), sum(sent)
