"""Which hosts recordings may be fetched from: a small pattern language for names and paths, and the provider's own list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

OPEN = "open"
PROVIDER = "provider"

# What the provider's CDRs, specification and documents name: pages of its panel, and objects of a bucket, which S3 serves under
# several names. A bucket's name is anybody's to take, so that no pattern stands for buckets that nobody has seen.
_BUCKET = "starkey-centrex-recordings"
PROVIDER_PATTERNS = (
    *(f"{below}{domain}" for domain in ("voicenter.com", "voicenter.co", "voicenter.co.il") for below in ("", "*.")),
    *(f"{_BUCKET}.{s3}.amazonaws.com" for s3 in ("s3", "s3.*", "s3-*", "s3.dualstack.*")),
    *(f"{s3}.amazonaws.com/{_BUCKET}/" for s3 in ("s3", "s3.*", "s3-*", "s3.dualstack.*")),
)

_LABEL = re.compile(r"(?!-)[a-z0-9_*-]{1,63}(?<!-)")
_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*")
_DOTS = frozenset({".", ".."})
# What leads to another path than it seems to, at one server or another: empty and dot segments, and what a server may
# decode into a dot or a slash.
_MISLEADING = re.compile(r"//|/\.{1,2}(?:/|$)|%2e|%2f|%5c|\\", re.IGNORECASE)


@dataclass(frozen=True)
class _Pattern:
    host: re.Pattern[str]
    path: str


@dataclass(frozen=True)
class HostList:
    """The hosts that may be asked for recordings, by name; whether their addresses are public is the guard's to check."""

    patterns: tuple[_Pattern, ...] = ()
    is_open: bool = False

    @classmethod
    def parse(cls, text: str) -> HostList:
        """Read `host`, `*.host` (any depth below it), `*` within a label, each with a `/path/` that may follow; commas between.

        `provider` stands for the provider's own hosts; `open`, by itself, for any. Raises ValueError for anything else.
        """
        entries = [entry for entry in (part.strip() for part in text.split(",")) if entry]
        if entries == [OPEN]:
            return cls(is_open=True)
        if OPEN in entries:
            raise ValueError("`open` means any host, and stands by itself")
        return cls(tuple(_pattern(entry) for entry in _spelled_out(entries)))

    def allows(self, host: str, path: str) -> bool:
        """Tell whether an object may be fetched; `path` is the one that is sent, as it is sent."""
        name = normalised(host)
        return self.is_open or any(
            each.host.fullmatch(name) is not None and _is_below(path, each.path) for each in self.patterns
        )


def normalised(host: str) -> str:
    """Return a host's name as it is compared: in small letters, without the dot that may end it."""
    return host.lower().removesuffix(".")


def _spelled_out(entries: Iterable[str]) -> list[str]:
    return [each for entry in entries for each in (PROVIDER_PATTERNS if entry == PROVIDER else (entry,))]


def _pattern(entry: str) -> _Pattern:
    name, slash, rest = entry.partition("/")
    path = slash + rest
    if path and (not _PATH.fullmatch(path) or _DOTS & set(path.split("/"))):
        raise ValueError(f"{entry!r}: a path begins and ends with a slash and is plain, such as s3.example.org/bucket/")
    return _Pattern(re.compile(_host_expression(entry, name)), path)


def _host_expression(entry: str, name: str) -> str:
    labels = _ascii(entry, normalised(name)).split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{entry!r} is no host, such as recordings.example.org or *.example.org")
    if any("*" in label for label in labels[-2:]):
        raise ValueError(f"{entry!r}: a * may not stand in the last two parts of a name; `open` means any host")
    if labels[0] == "*":
        return r"(?:[^.]+\.)+" + _joined(labels[1:])
    return _joined(labels)


def _joined(labels: list[str]) -> str:
    return r"\.".join(re.escape(label).replace(r"\*", "[^.]+") for label in labels)


def _ascii(entry: str, name: str) -> str:
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{entry!r} is no host: its name cannot be written in ASCII") from None


def _is_below(path: str, prefix: str) -> bool:
    return not prefix or (path.startswith(prefix) and not _MISLEADING.search(path))
