"""Posts bodies to a receiver and reads its answers in whichever format they come; the one user of urllib3 here."""

from __future__ import annotations

import html
import json
import re
from typing import Annotated, NamedTuple, Self
from urllib.parse import parse_qs

import urllib3
from pydantic import AfterValidator, SecretStr
from urllib3.util import Timeout, Url, parse_url

from common.environment import Group, load
from common.errors import ConfigurationError

DEFAULT_TIMEOUT_SECONDS = 5.0
NO_ANSWER = 0
_MEMBER = re.compile(r"<name>\s*(err|errdesc)\s*</name>\s*<value>\s*(?:<\w+>)?([^<]*)", re.IGNORECASE)


class Answer(NamedTuple):
    """What came back: the HTTP status (0: no answer), `err` if the body has one, its description, the whole text."""

    http_status: int
    err: int | None
    errdesc: str
    text: str

    @property
    def taken(self) -> bool:
        """Whether the provider would take it as delivered and not post it again."""
        return self.http_status == 200

    @property
    def stored(self) -> bool:
        """Whether the receiver says that the CDR is stored."""
        return self.taken and self.err == 0


def describe(answer: Answer) -> str:
    """Tell an answer in one line: `HTTP 200 err 0 OK`."""
    if answer.http_status == NO_ANSWER:
        return f"no answer: {answer.errdesc}"
    err = "" if answer.err is None else f" err {answer.err} {answer.errdesc}"
    return f"HTTP {answer.http_status}{err}".rstrip()


class Poster:
    """Keeps connections to one receiver open and posts over them, from any number of threads.

    `url` is the receiver's full address, secret included; it never appears in an answer. `timeout` is in seconds and
    holds for connecting and for each wait for bytes. ConfigurationError: the address cannot be posted to.
    """

    def __init__(self, url: str, timeout: float = DEFAULT_TIMEOUT_SECONDS, connections: int = 1) -> None:
        self._path = _parse_address(url).request_uri
        self._pool = urllib3.connection_from_url(
            url, maxsize=connections, block=True, timeout=Timeout(timeout), retries=False
        )

    def post(self, body: bytes, content_type: str) -> Answer:
        """Post one body; whatever goes wrong on the way is an answer with HTTP status 0."""
        try:
            response = self._pool.request(
                "POST", self._path, body=body, headers={"Content-Type": content_type}, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            return Answer(NO_ANSWER, None, _describe(error), "")
        return read_answer(response.status, response.data)

    def close(self) -> None:
        """Close the connections that wait for the next post."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def post(url: str, body: bytes, content_type: str, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Answer:
    """Post one body over a connection of its own; see Poster."""
    with Poster(url, timeout) as poster:
        return poster.post(body, content_type)


def read_answer(http_status: int, body: bytes) -> Answer:
    """Read `err` and `errdesc` from JSON (a number or its text), XML-RPC or form; None where there is no err."""
    text = body.decode("utf-8", "replace").strip()
    found = (
        _read_json(text) if text.startswith("{") else _read_xmlrpc(text) if text.startswith("<") else _read_form(text)
    )
    return Answer(http_status, _integer(found.get("err")), found.get("errdesc", ""), text)


def receiver_url(url: str | None) -> str:
    """Give the address to post to: `url`, or else CDR_RECEIVER_URL; ConfigurationError if there is neither."""
    return url if url is not None else load(_SenderSettings).receiver_url.get_secret_value()


def _parse_address(url: str) -> Url:
    try:
        address = parse_url(url)
    except urllib3.exceptions.LocationParseError:
        address = Url()
    if address.scheme not in ("http", "https") or not address.host:
        # The address holds the secret, so the message does not repeat it, nor does the error it came from.
        raise ConfigurationError("the receiver's address must be http://HOST[:PORT]/PATH or https://...") from None
    return address


def _check_setting(value: SecretStr) -> SecretStr:
    try:
        _parse_address(value.get_secret_value())
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return value


class _SenderSettings(Group):
    """Where the provider's part is played to. The address holds the account's secret."""

    receiver_url: Annotated[SecretStr, AfterValidator(_check_setting)]


def _describe(error: urllib3.exceptions.HTTPError) -> str:
    """Say what went wrong without the library's text, which may hold the address."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "cannot connect"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "timed out"
    return f"connection lost ({type(error).__name__})"


def _read_json(text: str) -> dict[str, str]:
    try:
        members = json.loads(text)
    except ValueError:
        return {}
    return {name: str(members[name]) for name in ("err", "errdesc") if name in members}


def _read_xmlrpc(text: str) -> dict[str, str]:
    """Read the two members by their names, so that the specification's own broken examples are read too."""
    return {name.lower(): html.unescape(value).strip() for name, value in _MEMBER.findall(text)}


def _read_form(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text).items()}


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
