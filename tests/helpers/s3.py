"""An S3 server on loopback: moto's, which is Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

_SERVER = (
    "from moto.server import ThreadedMotoServer as S\n"
    "s = S(ip_address='127.0.0.1', port=0, verbose=False); s.start()\n"
    "print(s.get_host_and_port()[1], flush=True)\n"
    "import sys; sys.stdin.read()\n"
)


@contextmanager
def served(name: str) -> Iterator[str]:
    """The address of an empty bucket; the environment variables that point to its server are for
    its users, processes that are started among them."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdin is not None
    port = process.stdout.readline().strip()
    known = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    try:
        with patch.dict(os.environ, known):
            import s3fs

            from interop.reading.bytes import remote

            # Neither keeps what it knows of another server of the same names.
            s3fs.S3FileSystem.clear_instance_cache()
            remote._filesystem.cache_clear()
            s3fs.S3FileSystem(use_listings_cache=False).mkdir(name)
            yield f"s3://{name}"
    finally:
        process.stdin.close()
        process.wait(10)
