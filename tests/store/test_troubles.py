"""What is made of the client's texts, for troubles that no server here can be brought to."""

from __future__ import annotations

import pytest

from kept.exceptions import StoreError, StoreRefused, StoreUnreachable
from kept.store.troubles import Place, trouble_of

PLACE = Place("s3", "my-bucket", "https://s3.eu-west-1.amazonaws.com", "eu-west-1")


class GenericError(Exception):
    """As the client's own is called."""


def refused(status: str, code: str = "", message: str = "") -> str:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else message
    return f"Generic S3 error: Error performing GET https://x - Server returned non-2xx status code: {status}: {body}"


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        (refused("400 Bad Request", "ExpiredToken", "..."), "credentials", "the session token has expired"),
        (refused("403 Forbidden", "RequestTimeTooSkewed", "..."), "credentials", "the clock of this machine"),
        (refused("403 Forbidden", "InvalidAccessKeyId", "..."), "credentials", "the access key is not known"),
        (refused("301 Moved Permanently", "PermanentRedirect", "..."), "region", "the region 'eu-west-1' is wrong"),
        (refused("403 Forbidden", "AccessDenied", "You may not."), "denied", r"do not allow it \(You may not\)"),
        (refused("503 Service Unavailable"), "unreachable", "too busy or broken"),
        (refused("418 I'm a teapot", "Teapot", "Tea?"), "other", r"refused it with 418 Teapot \(Tea\?\)"),
        ("HTTP error: error sending request\n\nDebug source: UnknownIssuer", "unreachable", "verify_cert_path"),
        ("HTTP error: error sending request\n\nDebug source: kind: Timeout", "unreachable", "did not answer in time"),
        ("Received None from session.get_credentials", "credentials", "there are no credentials"),
        ("Error performing PUT http://169.254.169.254/latest/api/token", "unreachable", "there are no credentials"),
        (refused("404 Not Found").replace("https://x", "http://169.254.169.254/a"), "credentials", "no credentials"),
        (
            "Generic S3 error: Odd thing at https://x?sig=s3cret",
            "other",
            r"the client refused it \(.*Odd thing at",
        ),
    ],
)
def test_each_refusal_has_a_sentence(text: str, kind: str, sentence: str) -> None:
    trouble = trouble_of(GenericError(text), PLACE)
    with pytest.raises(StoreError, match=sentence) as caught:
        raise trouble.error("s3://my-bucket/x can't be read")
    assert trouble.kind == kind
    assert "s3cret" not in str(caught.value)
    assert isinstance(caught.value, StoreUnreachable) == (kind == "unreachable")
    assert isinstance(caught.value, StoreRefused) == (kind in ("credentials", "denied"))


def test_no_credentials_are_not_a_missing_object() -> None:
    text = refused("404 Not Found").replace("https://x", "http://169.254.169.254/latest")
    assert trouble_of(FileNotFoundError(text), PLACE).kind == "credentials"
    assert trouble_of(FileNotFoundError(refused("404 Not Found")), PLACE).kind == "missing"


def test_a_secret_that_a_server_repeats_is_not_repeated_here() -> None:
    text = refused("403 Forbidden", "AccessDenied", "the key my-secret may not")
    assert "my-secret" not in trouble_of(GenericError(text), PLACE, ["my-secret"]).why
