"""The way of a referral code through the shop's web pages: from the link into a cookie, and to the sign-up."""

import re
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

COOKIE = "referral_code"
MAX_AGE_S = 30 * 24 * 60 * 60
# What a code of any program looks like. Anything else is not worth keeping.
CODE = re.compile(r"[A-Za-z0-9]{6,32}")


def cookie_for(url: str) -> str | None:
    """The Set-Cookie header that answers a visit to this URL, if the URL brings a code."""
    code = parse_qs(urlsplit(url).query).get("ref", [""])[0]
    if not CODE.fullmatch(code):
        return None
    return f"{COOKIE}={code}; Max-Age={MAX_AGE_S}; Path=/; Secure; HttpOnly; SameSite=Lax"


def code_from(cookie_header: str) -> str:
    """The code in a request's Cookie header; empty if there is none."""
    cookie = SimpleCookie(cookie_header).get(COOKIE)
    return cookie.value if cookie and CODE.fullmatch(cookie.value) else ""
