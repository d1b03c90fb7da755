"""The command `cdr send`: posts CDR files as the provider would, as they are or in another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cdr.post_cdr import Poster, describe, receiver_url
from cdr.printing import print_line, print_warning
from cdr.simulate.bodies import CONTENT_TYPES, FORMATS, Body, BodyFormat, encode_body
from common.errors import ConfigurationError, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_send(files: list[Path], url: str | None, format: str | None) -> int:  # noqa: A002 - named as the option is
    """Post each file and print each answer; exit code 0: all stored, 1: not all, 2: a file cannot be read.

    Without `format` a file's bytes go out as they are. With it, each CDR in the file becomes a post of its own. Raises
    ConfigurationError for wrong usage.
    """
    try:
        body_format = _known_format(format)
        bodies = [(file, file.read_bytes()) for file in files]
        with Poster(receiver_url(url)) as poster:
            results = [_send_file(poster, file, body, body_format) for file, body in bodies]
    except OSError as error:
        print_warning(f"cdr send: {error}")
        return 2
    return 0 if all(results) else 1


def _known_format(name: str | None) -> BodyFormat | None:
    if name is None or name in FORMATS:
        return name
    raise ConfigurationError(f"--format must be one of {', '.join(FORMATS)}")


def _send_file(poster: Poster, file: Path, data: bytes, body_format: BodyFormat | None) -> bool:
    """Post what is in one file; tell whether all of it was stored."""
    if body_format is None:
        return _send_body(poster, str(file), Body(data, guess_content_type(data)))
    try:
        parts = list(_reencode(data, body_format))
    except Rejected as error:
        print_line(f"{file}: not sent: {error}")
        return False
    names = [str(file)] if len(parts) == 1 else [f"{file}[{place}]" for place in range(len(parts))]
    results = [_send_part(poster, name, part) for name, part in zip(names, parts, strict=True)]
    return all(results)


def _reencode(data: bytes, body_format: BodyFormat) -> Iterator[Body | str]:
    """Read a file of any format; give its CDRs in another, and the error of what is none."""
    from common.wire import Fields, read_body

    for element in read_body(data).elements:
        yield encode_body(element.fields, body_format) if isinstance(element, Fields) else element.error


def _send_part(poster: Poster, name: str, part: Body | str) -> bool:
    if isinstance(part, Body):
        return _send_body(poster, name, part)
    print_line(f"{name}: not sent: {part}")
    return False


def _send_body(poster: Poster, name: str, body: Body) -> bool:
    answer = poster.post(*body)
    print_line(f"{name}: {describe(answer)}")
    return answer.stored


def guess_content_type(data: bytes) -> str:
    """Name the content type that the provider would send with these bytes."""
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return CONTENT_TYPES["json" if start in (b"{", b"[") else "xmlrpc" if start == b"<" else "form"]
