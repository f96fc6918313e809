"""Rows as they are read -> a file beside the output that a killed sweep goes on from.

SQLite writes each batch whole or not at all, keeps two sweeps apart, and gives the rows back in
order without having them all in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from interop.errors import ConfigError
from interop.facts import Json

ENDING = ".journal"
_FORM = 1  # of the file; another is begun anew


class Journal:
    """Rows by their address, each with the stamp of the files that it was read from.

    `key` is what the rows depend on beside the files: rows of another are dropped. Raises
    ConfigError if it cannot be written, or another sweep writes it.
    """

    def __init__(self, output: Path, store: str, key: str) -> None:
        self.path = output.with_name(output.name + ENDING)
        self._open = self._refusing(sqlite3.connect, str(self.path), timeout=0.5)
        try:
            self._refusing(self._begin, store, key)
        except ConfigError:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def stamps(self) -> dict[str, str]:
        """Return the address of each row -> its stamp."""
        return {
            address.decode("utf-8", "surrogateescape"): stamp
            for address, stamp in self._open.execute("SELECT address, stamp FROM rows")
        }

    def add(self, rows: Iterable[Mapping[str, Json]]) -> None:
        """Keep rows, all or none of them; a later one of an address replaces the earlier."""
        lines = [(_name(str(r["address"])), r["stamp"], json.dumps(r)) for r in rows]
        self._refusing(self._put, lines)

    def drop(self, addresses: Iterable[str]) -> None:
        """Forget the rows of models that are gone."""
        with self._open:
            gone = ((_name(address),) for address in addresses)
            self._open.executemany("DELETE FROM rows WHERE address = ?", gone)

    def rows(self) -> Iterator[dict[str, Json]]:
        """Yield the rows by their address."""
        for (text,) in self._open.execute("SELECT row FROM rows ORDER BY address"):
            yield json.loads(text)

    def remove(self) -> None:
        """Close and delete the file."""
        self._open.close()
        for ending in ("", "-wal", "-shm"):
            Path(f"{self.path}{ending}").unlink(missing_ok=True)

    def _begin(self, store: str, key: str) -> None:
        run = self._open.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")  # no waiting for the disk after each batch
        run("PRAGMA synchronous = NORMAL")
        with self._open:
            run("CREATE TABLE IF NOT EXISTS about (form INTEGER, store TEXT, key TEXT)")
            run("CREATE TABLE IF NOT EXISTS rows (address BLOB PRIMARY KEY, stamp TEXT, row TEXT)"
                " WITHOUT ROWID")  # fmt: skip
            known = run("SELECT form, store, key FROM about").fetchone()
            if known is not None and known[1] != store:
                raise ConfigError(
                    f"has the rows of another sweep, of {known[1]}", where=str(self.path),
                    fix="finish that one, remove the file, or give another --out",
                )  # fmt: skip
            if known != (_FORM, store, key):
                run("DELETE FROM rows")
                run("DELETE FROM about")
                run("INSERT INTO about VALUES (?, ?, ?)", (_FORM, store, key))

    def _put(self, lines: list[tuple[bytes, Json, str]]) -> None:
        with self._open:
            self._open.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", lines)

    def _refusing(self, act: object, *given: object, **named: object) -> sqlite3.Connection:
        """Do something to the file; what SQLite refuses as a ConfigError."""
        try:
            return act(*given, **named)  # type: ignore[operator, no-any-return]
        except sqlite3.OperationalError as error:
            locked = "locked" in str(error)
            what = "another sweep writes it" if locked else f"cannot be written ({error})"
            fix = "wait for that one, or give another --out" if locked else "give another --out"
            raise ConfigError(what, where=str(self.path), fix=fix) from None
        except sqlite3.DatabaseError:
            what, fix = "is not the journal of a sweep", "remove it, or give another --out"
            raise ConfigError(what, where=str(self.path), fix=fix) from None


def _name(address: str) -> bytes:
    """An address as it is sorted by: names that are no UTF-8 have their own bytes."""
    return address.encode("utf-8", "surrogateescape")
