"""What the dynamic section of a shared library says: which libraries and versions of symbols it needs, where it looks."""

from __future__ import annotations

import pathlib
import struct

_LOAD, _DYNAMIC = 1, 2
_NULL, _NEEDED, _STRTAB, _RPATH, _RUNPATH = 0, 1, 5, 15, 29
_VERNEED, _VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF


class Library:
    """A 64-bit little-endian ELF file, in memory."""

    def __init__(self, path: pathlib.Path) -> None:
        self.bytes = bytearray(path.read_bytes())
        if self.bytes[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path} is no 64-bit little-endian ELF file")
        offset, size, count = *struct.unpack_from("<Q", self.bytes, 32), *struct.unpack_from("<HH", self.bytes, 54)
        # type, flags, offset, address, physical address, size in the file, ...
        headers = [struct.unpack_from("<IIQQQQ", self.bytes, offset + i * size) for i in range(count)]
        self._loaded = [(h[3], h[5], h[2]) for h in headers if h[0] == _LOAD]
        self._dynamic = next(h[2] for h in headers if h[0] == _DYNAMIC)
        self._tags: list[tuple[int, int]] = []
        while not self._tags or self._tags[-1][0] != _NULL:
            self._tags.append(struct.unpack_from("<qQ", self.bytes, self._dynamic + 16 * len(self._tags)))
        self._strings = self._offset(self._first(_STRTAB))

    def needed(self) -> list[str]:
        """The libraries that it is linked with."""
        return [self._text(value) for tag, value in self._tags if tag == _NEEDED]

    def versions(self) -> set[tuple[str, str]]:
        """Library and version of the symbols that it takes from others: ``("libc.so.6", "GLIBC_2.34")``."""
        found = set()
        if not any(tag == _VERNEED for tag, _ in self._tags):
            return found
        at = self._offset(self._first(_VERNEED))
        for _ in range(self._first(_VERNEEDNUM)):
            _, count, file, first, following = struct.unpack_from("<HHIII", self.bytes, at)
            entry = at + first
            for _ in range(count):
                _, _, _, name, step = struct.unpack_from("<IHHII", self.bytes, entry)
                found.add((self._text(file), self._text(name)))
                entry += step
            at += following
        return found

    def run_paths(self) -> list[str]:
        """Where it looks for the libraries that it needs."""
        return [self._text(value) for tag, value in self._tags if tag in (_RPATH, _RUNPATH)]

    def remove_run_paths(self) -> None:
        """Takes these folders out, and their text."""
        kept = []
        for tag, value in self._tags:
            if tag in (_RPATH, _RUNPATH):
                start = self._strings + value
                self.bytes[start : self.bytes.index(0, start)] = b"\0" * len(self._text(value).encode())
            else:
                kept.append((tag, value))
        kept += [(_NULL, 0)] * (len(self._tags) - len(kept))
        for index, entry in enumerate(kept):
            struct.pack_into("<qQ", self.bytes, self._dynamic + 16 * index, *entry)
        self._tags = kept

    def _first(self, tag: int) -> int:
        return next(value for found, value in self._tags if found == tag)

    def _offset(self, address: int) -> int:
        return next(offset + address - start for start, size, offset in self._loaded if start <= address < start + size)

    def _text(self, index: int) -> str:
        start = self._strings + index
        return self.bytes[start : self.bytes.index(0, start)].decode()
