"""What an object store's refusal means, in a sentence of our own.

The texts of the client hold access keys, signatures and whole requests. Only the code and the first line of the
server's message are taken from them, and the kind of a failed connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from kept.exceptions import StoreError, StoreRefused, StoreUnreachable, StoreUnsupported


class Place(NamedTuple):
    """What a sentence about a bucket names."""

    scheme: str
    """s3, gs or az."""
    bucket: str
    server: str
    """The address of the server."""
    region: str = ""


class Trouble(NamedTuple):
    """Why a request was refused."""

    kind: str
    """missing (the object), exists, changed, bucket, credentials, denied, region, unreachable, unsupported or other."""
    why: str
    """The end of a sentence, and what to do."""

    def error(self, what: str) -> StoreError:
        """The exception that says so of `what` could not be done."""
        return _ERRORS.get(self.kind, StoreError)(f"{what}: {self.why}")


_ERRORS = {
    "credentials": StoreRefused,
    "denied": StoreRefused,
    "unreachable": StoreUnreachable,
    "unsupported": StoreUnsupported,
}
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, or the credentials of the block",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the credentials of the block",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or the credentials of the block",
}
_ENDPOINTS = {
    "s3": "AWS_ENDPOINT_URL, or the endpoint_url of the block",
    "gs": "GOOGLE_BASE_URL",
    "az": "AZURE_STORAGE_ENDPOINT, or the connection string of the block",
}

_BUCKET = ("bucket", "there is no {container} {bucket!r} at {server}. Create it, or correct its name")
_NAME = ("bucket", "{bucket!r} can't be the name of a {container}. Correct it")
_SECRET = ("credentials", "the secret key does not fit the access key. Check {keys}")
_UNKNOWN = ("credentials", "the access key is not known at {server}. Check {keys}")
_TOKEN = ("credentials", "the session token has expired or is not valid. Get a new one, or check {keys}")
_CLOCK = ("credentials", "the clock of this machine is too far from the server's. Set it, by NTP for instance")
_ACCESS = ("denied", "these credentials do not allow it{message}. Ask for the permission, or check {keys}")
_REGION = ("region", "the region {region!r} is wrong{expected}. Set AWS_REGION, or the region_name of the block")
_BUSY = ("unreachable", "the server at {server} is too busy or broken{message}. Try again later")
_LATE = ("unreachable", "the server at {server} did not answer in time. Check it, and {endpoints}")
_BROKEN_OFF = ("unreachable", "the connection to the server at {server} broke off. Check it, and {endpoints}")
_UNSUPPORTED = ("unsupported", "the server at {server} does not support it{message}")

_CODES = {
    "NoSuchBucket": _BUCKET,
    "ContainerNotFound": _BUCKET,
    "InvalidBucketName": _NAME,
    "InvalidResourceName": _NAME,
    "SignatureDoesNotMatch": _SECRET,
    "AuthenticationFailed": _SECRET,
    "AuthorizationFailure": _SECRET,
    "InvalidAccessKeyId": _UNKNOWN,
    "InvalidAuthenticationInfo": _UNKNOWN,
    "ExpiredToken": _TOKEN,
    "InvalidToken": _TOKEN,
    "TokenRefreshRequired": _TOKEN,
    "RequestTimeTooSkewed": _CLOCK,
    "AccessDenied": _ACCESS,
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "ServerBusy": _BUSY,
    "NotImplemented": _UNSUPPORTED,
    "MethodNotAllowed": _UNSUPPORTED,
}
_STATUSES = {
    "301": _REGION,
    "404": ("other", "what listens at {server} is no object store. Check {endpoints}"),
    "401": _UNKNOWN,
    "403": _ACCESS,
    "405": _UNSUPPORTED,
    "429": _BUSY,
    "500": _BUSY,
    "501": _UNSUPPORTED,
    "502": _BUSY,
    "503": _BUSY,
    "504": _BUSY,
}
_KINDS = {
    "AlreadyExistsError": ("exists", "it exists already"),
    "PreconditionError": ("changed", "it was changed meanwhile"),
    "NotSupportedError": _UNSUPPORTED,
}
# Where the client looks for the credentials of a machine or container, once it has found no others.
_MACHINES = re.compile(r"http://(169\.254\.\d+\.\d+|metadata(\.google\.internal)?)[:/]")
_NO_KEYS = "there are no credentials. Set {keys}"
_CONNECTIONS = (
    ("from session.get_credentials", ("credentials", _NO_KEYS)),  # a profile that has none, says boto3's provider
    ("NotPartial", _UNSUPPORTED),
    ("dns error", ("unreachable", "there is no host of that name: {server}. Check {endpoints}")),
    ("InvalidContentType", ("unreachable", "{server} does not speak https. Write http:// in {endpoints}")),
    (
        "UnknownIssuer",
        ("unreachable", "the certificate of {server} is not known here. Give its file as verify_cert_path"),
    ),
    ("invalid peer certificate", ("unreachable", "the certificate of {server} is not valid. Check {endpoints}")),
    ("Connection refused", ("unreachable", "no server listens at {server} (connection refused). Check {endpoints}")),
    ("kind: Timeout", _LATE),
    ("TimedOut", _LATE),
    ("error sending request", _BROKEN_OFF),
    ("HTTP error", _BROKEN_OFF),
)


def trouble_of(error: BaseException, place: Place, secrets: Iterable[str] = ()) -> Trouble:
    """What an exception of the client means. `secrets` are texts that appear in no sentence, whatever a server says."""
    text = str(error)
    status, code, message = _status(text), _tag("Code", text), _tag("Message", text)
    alone = bool(_MACHINES.search(text))
    if not alone and isinstance(error, FileNotFoundError) and code not in _CODES and (code or not _foreign(text)):
        return Trouble("missing", "there is no such object")
    # What never answers is remembered as an outage, or each request would wait for it.
    known = ("credentials" if status else "unreachable", _NO_KEYS) if alone else None
    known = (
        known
        or _KINDS.get(type(error).__name__)
        or _CODES.get(code)
        or _STATUSES.get(status)
        or _connection(text, status)
    )
    kind, sentence = known or ("other", "the server at {server} refused it" if status else "the client refused it")
    facts = {
        "bucket": place.bucket,
        "container": "container" if place.scheme == "az" else "bucket",
        "server": place.server,
        "region": place.region,
        "keys": _KEYS[place.scheme],
        "endpoints": _ENDPOINTS[place.scheme],
        "message": _shown(message, secrets),
        "expected": _expected(text),
    }
    rest = "" if known else _reported(status, code, _shown(message or _of_client(text, status), secrets))
    return Trouble(kind, sentence.format(**facts) + rest)


def _status(text: str) -> str:
    found = re.search(r"non-2xx status code: (\d{3})", text)
    return found[1] if found else ""


def _tag(name: str, text: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return found[1].strip() if found else ""


def _foreign(text: str) -> bool:
    """Whether a 404 has a body that no object store writes: something else listens at the endpoint."""
    body = text.partition("404 Not Found: ")[2].partition("Debug source")[0].strip()
    return bool(body) and not body.startswith("{")


def _connection(text: str, status: str) -> tuple[str, str] | None:
    return None if status else next((meaning for sign, meaning in _CONNECTIONS if sign in text), None)


def _expected(text: str) -> str:
    region = _tag("Region", text) or (re.findall(r"expecting '([\w-]+)'", text) or [""])[0]
    return f": the bucket is in {region!r}" if region else " for this bucket"


def _shown(message: str, secrets: Iterable[str]) -> str:
    message = message.split("\n")[0][:200].rstrip(".")
    for secret in secrets:
        if secret:
            message = message.replace(secret, "***")
    return f" ({message})" if message else ""


def _of_client(text: str, status: str) -> str:
    """What the client says of itself; what a server said may hold anything, and a URL a signature."""
    return "" if status else re.sub(r"https?://\S+", "...", text.split("\n")[0])


def _reported(status: str, code: str, message: str) -> str:
    facts = " ".join(fact for fact in (status, code) if fact)
    return f" with {facts}{message}" if facts else message
