"""A server of the files of a folder as S3 serves objects; for benchmarks on this machine.

Reading alone: lists in pages of a thousand, objects and ranges of them. It checks no signature, and
shares the machine's cores with who asks. `serve` starts one in a process of its own.

python benchmarks/_store.py FOLDER [--delay-ms 0]
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

__all__ = ["serve"]

PAGE = 1000
DATE = "2026-01-01T00:00:00.000Z"
MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"


@contextmanager
def serve(folder: Path, *, delay_ms: float = 0) -> Iterator[dict[str, str]]:
    """Yield the environment in which a folder is the bucket `bucket` of a store."""
    words = [sys.executable, __file__, str(folder), "--delay-ms", str(delay_ms)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            yield {
                **os.environ,
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "nobody",
                "AWS_SECRET_ACCESS_KEY": "nothing",
                "AWS_REGION": "us-east-1",
            }
        finally:
            process.terminate()


class Folder:
    """Files by their names below a folder, sorted."""

    def __init__(self, root: Path, delay_s: float) -> None:
        self.root = root
        self.delay_s = delay_s
        paths = {str(one.relative_to(root)): one for one in root.rglob("*") if one.is_file()}
        self.keys = sorted(paths)
        self.sizes = {key: path.stat().st_size for key, path in paths.items()}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                target = head.split(" ", 2)[1]
                await asyncio.sleep(self.delay_s)
                path, _, query = target.partition("?")
                key = "/".join(unquote(path).split("/")[2:])
                writer.write(self.read(key, head) if key else self.list(query))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def read(self, key: str, head: str) -> bytes:
        """Return the answer to a request for an object, or for a range of it."""
        if key not in self.sizes:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        size, status, more = self.sizes[key], "200 OK", ""
        start, end = 0, size
        asked = head.lower().partition("\r\nrange: bytes=")[2].partition("\r\n")[0]
        if asked:
            first, last = asked.split("-")
            start, end = int(first), min(int(last) + 1, size) if last else size
            status, more = "206 Partial", f"Content-Range: bytes {start}-{end - 1}/{size}\r\n"
        with (self.root / key).open("rb") as stream:
            stream.seek(start)
            body = stream.read(end - start)
        headers = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}"
        return f'{headers}ETag: "{size}"\r\nLast-Modified: {MODIFIED}\r\n\r\n'.encode() + body

    def list(self, query: str) -> bytes:
        """Return the answer to a request for a page of the list."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        prefix = asked.get("prefix", "")
        after = max(asked.get("continuation-token", ""), asked.get("start-after", ""))
        at = max(bisect.bisect_left(self.keys, prefix), bisect.bisect_right(self.keys, after))
        page = [key for key in self.keys[at : at + PAGE] if key.startswith(prefix)]
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{DATE}</LastModified><ETag>e</ETag>"
            f"<Size>{self.sizes[key]}</Size></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if page else ""
        body = f"<ListBucketResult>{more if len(page) == PAGE else ''}{items}</ListBucketResult>"
        content = body.encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content


async def main() -> None:
    """Print the port, and serve until the end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay-ms", type=float, default=0, help="before every answer")
    arguments = parser.parse_args()
    folder = Folder(arguments.folder, arguments.delay_ms / 1000)
    server = await asyncio.start_server(folder.talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
