"""The key of an endpoint reaches neither disk nor screen nor report: where it may stand, how it is blotted out."""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from jaxunlearn.errors import InputError

NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")  # of an environment variable, as everybody writes them
LOCAL = (".localhost", ".local", ".lan", ".internal", ".home.arpa")
SECRET = 8  # characters: a shorter "key" is a placeholder (EMPTY, ollama), and may be a word of a reply


def refuse_secrets(section: str, base_url: str, variable: str) -> None:
    """Raise InputError, which shows none of it, where a setting of this section of the configuration holds a key.

    variable: the name of the environment variable that holds the key. The configuration is written to disk, shown and
    shared, so a key has no place there.
    """
    if not NAME.fullmatch(variable) or (variable not in os.environ and len(variable) >= 20 and "_" not in variable):
        raise InputError(
            f"{section}.key_variable is no name of an environment variable. If it is the key itself, put the key into "
            "OPENAI_API_KEY, and take it out of configuration and shell history"
        )
    url, key = base_url or os.environ.get("OPENAI_BASE_URL", ""), os.environ.get(variable, "").strip()
    if any(c in url for c in "@?#") or (len(key) >= SECRET and key in url):
        raise InputError(
            f"{section}.base_url (or OPENAI_BASE_URL) holds a key, a name with a password or a query. Give "
            f"http(s)://HOST[:PORT]/v1 alone, and the key in the environment variable {variable}"
        )


def is_address(url: str) -> bool:
    """Return whether a text is an http(s) address with a host and, if any, a port that is a number."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


def is_clear(url: str) -> bool:
    """Return whether strangers could read what is sent to this address: http:// to a host that is not local.

    Local are this machine, addresses of private networks, and names without a dot or in .local, .lan and .internal.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "http" or not {".", ":"} & {*host} or host.endswith(LOCAL):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:  # a name
        return True


def blotted(data: bytes, key: str) -> bytes:
    """Return the body of a reply with the key, plain or in JSON's escapes, replaced by ***.

    An endpoint may echo it, in an error above all.
    """
    if len(key) < SECRET:
        return data
    escaped = "".join(rf"(?:{re.escape(c)}|\\u{ord(c):04x}|\\{re.escape(c)})" for c in key)
    return re.sub(escaped.encode(), b"***", data, flags=re.IGNORECASE)
