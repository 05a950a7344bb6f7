"""From the URL of a bucket, and from what the environment says, to how its server is spoken with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from kept.exceptions import ConfigurationError
from kept.store.aws import AwsSettings, aws_settings
from kept.store.troubles import Place

SCHEMES = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    **dict.fromkeys(("az", "azure", "abfs", "abfss", "adl"), "az"),
}
"""The schemes of the URLs of buckets, and what kept calls them."""
EXTRAS = {"s3": "aws", "gs": "gcp", "az": "azure"}


class Connection(NamedTuple):
    """All that the client of a bucket is made of. Equal ones are one client."""

    config: tuple[tuple[str, str], ...]
    """What obstore's store of this kind calls its config, without keys that a provider gives."""
    client: tuple[tuple[str, object], ...]
    """What obstore calls client options."""
    keys: tuple[str, str, str | None] | None
    """Access key, secret key and session token, for S3."""
    profile: str | None
    """The profile that boto3 has to be asked about, for S3."""
    place: Place

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must appear nowhere."""
        hidden = [value for name, value in self.config if _is_secret(name)]
        return (*hidden, *(key for key in self.keys or () if key))

    def __repr__(self) -> str:
        return f"Connection({self.place.server!r})"


class Address(NamedTuple):
    """A folder of a bucket, and what is said of its server beside the environment."""

    scheme: str
    """s3, gs or az."""
    bucket: str
    folder: str = ""
    options: tuple[tuple[str, str], ...] = ()
    """What was said explicitly: for S3 the fields of `AwsSettings`, else names that obstore's config has."""

    @classmethod
    def of(cls, url: str, options: Mapping[str, str | None] | None = None) -> Address:
        """The address of a URL such as s3://bucket/folder. Raises `ConfigurationError`."""
        scheme, separator, rest = url.partition("://")
        name, _, folder = rest.partition("/")
        said = dict(options or {})
        if scheme.lower() not in SCHEMES or not separator:
            raise ConfigurationError(
                f"{_harmless(url)!r} is no address of a bucket: it begins with s3://, gs:// or az://"
            )
        if "@" in name and scheme.lower() in ("abfs", "abfss") and ":" not in name:
            name, _, host = name.partition("@")
            said.setdefault("account_name", host.partition(".")[0])
        if "@" in name or "?" in rest:
            raise ConfigurationError(
                f"The address {_harmless(url)!r} has room for a bucket and a folder only: credentials and options "
                "belong in the environment, or in a block."
            )
        parts = [part for part in folder.split("/") if part]
        if not name or {".", ".."} & {name, *parts}:
            raise ConfigurationError(
                f"The address {url!r} needs a bucket, and no '..', as in {scheme}://bucket/folder."
            )
        given = tuple(sorted((key, str(value)) for key, value in said.items() if value is not None))
        return cls(SCHEMES[scheme.lower()], name, "/".join(parts), given)

    @property
    def url(self) -> str:
        """The address in words, without options."""
        return f"{self.scheme}://{self.bucket}" + (f"/{self.folder}" if self.folder else "")

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    def connection(self) -> Connection:
        """How the server is spoken with, as the environment is now. Raises `ConfigurationError`."""
        if self.scheme == "s3":
            return _s3(self.bucket, aws_settings(dict(self.options), os.environ))
        return _other(self)


def _s3(bucket: str, said: AwsSettings) -> Connection:
    region = said.region or "us-east-1"
    server = said.endpoint_url or f"https://s3.{region}.amazonaws.com"
    _check_server(server, "AWS_ENDPOINT_URL, or the endpoint_url of the block")
    config = {"region": region, "disable_bulk_delete": "true"}
    if said.endpoint_url:
        # By both names, or a variable of the environment would win.
        config |= {"endpoint": server, "aws_endpoint_url_s3": server, "virtual_hosted_style_request": "false"}
    client: dict[str, object] = {"allow_http": server.startswith("http://")}
    if not said.verify:
        client["allow_invalid_certificates"] = True
    if said.verify_cert_path:
        client["root_certificate"] = _certificate(said.verify_cert_path)
    place = Place("s3", bucket, server, region)
    return Connection(tuple(config.items()), tuple(client.items()), said.keys, said.boto3_profile, place)


def _other(address: Address) -> Connection:
    said = dict(address.options)
    variables = ("GOOGLE_", "SERVICE_ACCOUNT") if address.scheme == "gs" else ("AZURE_",)
    around = {name: value for name, value in os.environ.items() if name.startswith(variables)}
    if address.scheme == "gs":
        server = said.get("base_url") or around.get("GOOGLE_BASE_URL") or "https://storage.googleapis.com"
    else:
        account = said.get("account_name") or around.get("AZURE_STORAGE_ACCOUNT_NAME") or "ACCOUNT"
        server = said.get("endpoint") or around.get("AZURE_STORAGE_ENDPOINT") or ""
        server = server or around.get("AZURE_ENDPOINT") or f"https://{account}.blob.core.windows.net"
    _check_server(server, "the endpoint")
    client = (("allow_http", server.startswith("http://")), ("environment", tuple(sorted(around.items()))))
    return Connection(address.options, client, None, None, Place(address.scheme, address.bucket, server))


def _check_server(server: str, where: str) -> None:
    # The client panics on what is no URL.
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", server):
        raise ConfigurationError(
            f"{_harmless(server)!r} is no address of a server. Write it as http://host:port or https://host in {where}."
        )


def _certificate(path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:  # noqa: PTH111, PTH123 - text, as it came
            return file.read()
    except OSError as error:
        raise ConfigurationError(
            f"The certificate at verify_cert_path={path!r} can't be read: {error.strerror}."
        ) from None


def _is_secret(name: str) -> bool:
    return any(word in name for word in ("key", "secret", "token", "service_account"))


def _harmless(url: str) -> str:
    return re.sub(r"//[^/]*@", "//***@", url).partition("?")[0]
