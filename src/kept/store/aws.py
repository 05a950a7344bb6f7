"""What AWS's variables and files say of S3: keys, region and endpoint.

The variables and the files are those that AWS documents for all its tools:
https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html. What is said explicitly wins over the
variables, and these over the profile; a profile that is named explicitly wins over variables with keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple

from kept.exceptions import ConfigurationError


class AwsSettings(NamedTuple):
    """How S3 is reached."""

    keys: tuple[str, str, str | None] | None = None
    """Access key, secret key and session token; None where the machine itself has a role, or a profile has them."""
    region: str | None = None
    endpoint_url: str | None = None
    verify: bool = True
    verify_cert_path: str | None = None
    boto3_profile: str | None = None
    """The profile whose keys only boto3 can get: of single sign-on, a role, a process."""


def aws_settings(said: Mapping[str, str], environ: Mapping[str, str]) -> AwsSettings:
    """What is said explicitly, completed by the environment and by the profile. Raises `ConfigurationError`.

    Arguments:
        said: aws_access_key_id, aws_secret_access_key, aws_session_token, profile_name, region_name, endpoint_url,
            use_ssl, verify, verify_cert_path; texts, all optional.
        environ: the variables.
    """
    name = said.get("profile_name") or environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    profile = _profile(name, environ)
    keys = _keys(said, "AwsCredentials")
    if keys is None and not said.get("profile_name"):
        keys = _keys(
            {key.lower(): value for key, value in environ.items() if key.startswith("AWS_")}, "the environment"
        )
    keys = keys or _keys(profile, f"the profile {name or 'default'!r}")
    region = said.get("region_name") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    region = region or profile.get("region")
    endpoint = said.get("endpoint_url") or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    endpoint = endpoint or profile.get("endpoint_url")
    if not endpoint and said.get("use_ssl") == "False":
        endpoint = f"http://s3.{region or 'us-east-1'}.amazonaws.com"
    return AwsSettings(
        keys=keys,
        region=region,
        endpoint_url=endpoint.rstrip("/") if endpoint else None,
        verify=said.get("verify") != "False",
        verify_cert_path=said.get("verify_cert_path") or environ.get("AWS_CA_BUNDLE") or profile.get("ca_bundle"),
        boto3_profile=_for_boto3(name or "default", profile) if keys is None else None,
    )


def _keys(said: Mapping[str, str], where: str) -> tuple[str, str, str | None] | None:
    access, secret = said.get("aws_access_key_id"), said.get("aws_secret_access_key")
    if not access and not secret:
        return None
    if not access or not secret:
        missing = "aws_secret_access_key" if access else "aws_access_key_id"
        raise ConfigurationError(f"One half of the AWS credentials is missing: {where} has no {missing}.")
    return access, secret, said.get("aws_session_token") or None


def _profile(name: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The fields of a profile in the two files; empty if none is named and there is no default one."""
    home = os.path.join(os.path.expanduser("~"), ".aws")  # noqa: PTH111, PTH118 - text; a Path costs more
    config = _read(environ.get("AWS_CONFIG_FILE") or f"{home}/config")
    secrets = _read(environ.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/credentials")
    wanted = name or "default"
    sections = [config.get("default" if wanted == "default" else f"profile {wanted}"), secrets.get(wanted)]
    if name and sections == [None, None]:
        named = {one.removeprefix("profile ") for one in config if one == "default" or one.startswith("profile ")}
        known = sorted(named | set(secrets))
        raise ConfigurationError(
            f"There is no AWS profile {name!r}: the files ~/.aws/config and ~/.aws/credentials have "
            f"{', '.join(known) or 'none'}."
        )
    return {key: value for section in sections for key, value in (section or {}).items()}


def _read(path: str) -> dict[str, dict[str, str]]:
    if not os.path.exists(path := os.path.expanduser(path)):  # noqa: PTH110, PTH111 - as above
        return {}
    import configparser  # noqa: PLC0415 - 2 ms that only those with such a file need

    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        # Not its text: that shows the line, which may be the secret.
        raise ConfigurationError(f"The AWS file {path} can't be read. Correct it, or name another one.") from None
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _for_boto3(name: str, profile: Mapping[str, str]) -> str | None:
    if not any(
        key.startswith(("sso_", "role_", "credential_", "source_", "web_identity_", "login_")) for key in profile
    ):
        return None
    if find_spec("boto3") is None:
        raise ConfigurationError(
            f"The AWS profile {name!r} takes its keys from elsewhere, which needs pip install boto3."
        )
    return name
