"""Says what went wrong at an object store in words that hold no secret: the library's own texts hold whole requests."""

from __future__ import annotations

import re

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_CLOUD = re.compile(r"Generic (\w{1,32}) error")

# What its texts say, and what that means for whoever set the store up.
_MEANINGS = {
    "incorrectly configured region": "the bucket is in another region: set AWS_REGION",
    "kind: Timeout": "no answer in time",
    "kind: Connect": "it cannot be reached",
    "BadScheme": "its address is not https",
    "builder error": "its address is no URL",
    "RelativeUrlWithoutBase": "its address is no URL",
    "MissingSecretAccessKey": "AWS_SECRET_ACCESS_KEY is not set",
    "MissingAccessKeyId": "AWS_ACCESS_KEY_ID is not set",
    "MissingAccount": "AZURE_STORAGE_ACCOUNT_NAME is not set",
    "InvalidAccessKey": "AZURE_STORAGE_ACCOUNT_KEY is no such key",
    "OpenCredentials": "the file of GOOGLE_APPLICATION_CREDENTIALS cannot be read",
    "DecodeCredentials": "the file of GOOGLE_APPLICATION_CREDENTIALS holds no credentials",
}
# The machine's own addresses for credentials, which are asked when the environment has none.
_METADATA = ("/latest/api/token", "/latest/meta-data", "/computeMetadata", "/metadata/identity", "/v2/credentials")


def told(error: Exception) -> str:
    """Describe an error of the library: its class, the HTTP status, the store's own code, the cause where it is known."""
    text = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return f"{type(error).__name__}: {error}"
    found = [
        match.expand(shown)
        for pattern, shown in ((_CLOUD, r"\1"), (_STATUS, r"HTTP \1"), (_CODE, r"\1"))
        if (match := pattern.search(text))
    ]
    found += [meaning for phrase, meaning in _MEANINGS.items() if phrase in text][:1]
    if any(path in text for path in _METADATA):
        found.append("no credentials are set, and this machine has none of its own")
    return ": ".join((type(error).__name__, ", ".join(found))) if found else type(error).__name__


def is_missing(error: Exception) -> bool:
    """Tell whether the store says for certain that there is no such bucket; `error` is of a listing."""
    status = _STATUS.search(str(error))
    return isinstance(error, FileNotFoundError) or (status is not None and status[1] == "404")
