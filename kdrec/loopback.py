"""Loopback is never asked through a proxy: a company's knows nothing of our 127.0.0.1, and answers in its place.

`HTTP_PROXY` without `NO_PROXY` sends every call to loopback to the proxy, whichever library makes it (urllib, requests,
httpx, botocore). So this process and its children are told the exceptions in the environment, beside the user's own.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.request
from typing import Any, Final
from urllib.parse import urlsplit

HOSTS: Final = ("127.0.0.1", "localhost", "::1")


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is this machine.

    >>> [is_loopback(url) for url in ("http://127.0.1.1:5000", "http://[::1]/api", "https://host.example")]
    [True, True, False]
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def ask_directly(*urls: str | None) -> None:
    """See to it that no library asks loopback, or the loopback hosts of these URLs, through a proxy from now on."""
    if not set(urllib.request.getproxies_environment()) - {"no"}:
        return  # a lone NO_PROXY would hide the proxies of a system's own settings
    user = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    kept = [part.strip() for part in user.split(",") if part.strip()]
    if "*" in kept:
        return
    kept = [
        part[1:-1] if part.startswith("[") and part.endswith("]") else part for part in kept
    ]  # httpx fails on [::1]
    hosts = [urlsplit(url).hostname for url in urls if url and is_loopback(url)]
    whole = ",".join(dict.fromkeys([*kept, *HOSTS, *(host for host in hosts if host)]))
    os.environ |= {"no_proxy": whole, "NO_PROXY": whole}  # libraries differ in which one they read, and prefer


def open_url(request: str | urllib.request.Request, timeout: float, *handlers: Any) -> Any:
    """Open a URL as urllib does, loopback without a proxy; other handlers of urllib may be added."""
    url = request if isinstance(request, str) else request.full_url
    direct = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    return urllib.request.build_opener(*direct, *handlers).open(request, timeout=timeout)
