"""Who is answered: nobody but a page of ours, in a browser on this machine.

Listening on 127.0.0.1 does not keep other web pages out, for they run in the same
browser. A name that resolves to 127.0.0.1 later (DNS rebinding) is told by `Host`, a
request that another page makes by `Origin` and `Sec-Fetch-Site`, and none of them knows
the token in the address. Ports are not compared with ours, so that a tunnel may end at
another; `Origin` has to be that of `Host`.
"""

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost")
METHODS = ("GET", "HEAD", "POST", "DELETE")
# Vega writes styles, charts are saved as data, and the clip is played from memory.
POLICY = (
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
  "img-src 'self' data: blob:; media-src blob:; connect-src 'self'; base-uri 'none'; "
  "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
  "content-security-policy": POLICY,
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(self), microphone=(self), geolocation=()",
  "cache-control": "no-store",
}


def new_token() -> str:
  """256 bits that cannot be guessed, for an address."""
  return secrets.token_urlsafe(32)


class Guard:
  """Hands on what may be answered, with the token taken from its path.

  Args:
    app: what answers.
    token: the first part of every path.
  """

  def __init__(self, app: ASGIApp, token: str):
    self._app, self._token = app, token

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """One request."""
    if scope["type"] == "lifespan":
      return await self._app(scope, receive, send)
    if scope["type"] != "http":
      return None

    async def answer(message: Message) -> None:
      if message["type"] == "http.response.start":
        headers = MutableHeaders(scope=message)
        headers.update(HEADERS)
        if message["status"] >= 400:  # what is refused is not read to its end
          headers["connection"] = "close"
      await send(message)

    token, _, rest = scope["path"].removeprefix("/").partition("/")
    known = secrets.compare_digest(token.encode(), self._token.encode())
    if refused := refusal(scope["method"], Headers(scope=scope)):
      status, why = refused
      return await PlainTextResponse(why, status)(scope, receive, answer)
    if not known:
      why = "There is nothing here. The address is in the terminal, and new each time."
      return await PlainTextResponse(why, 404)(scope, receive, answer)
    path = f"/{rest}"
    inner = scope | {"path": path, "raw_path": path.encode()}
    return await self._app(inner, receive, answer)


def refusal(method: str, headers: Headers) -> tuple[int, str] | None:
  """(status, why) where a request is not one of our page's, else None."""
  hosts = headers.getlist("host")
  try:
    where = urlsplit(f"//{hosts[0]}") if len(hosts) == 1 else None
  except ValueError:
    where = None
  # Before an @ stands who asks, which no browser puts there.
  name = where.hostname if where and where.username is None else None
  if name not in NAMES:
    return 421, f"This page is at {NAMES[0]}, and answers to no other name."
  if method not in METHODS:
    return 405, "There is no such method here."
  origins = headers.getlist("origin")
  wanted = [] if method in ("GET", "HEAD") and not origins else [f"http://{hosts[0]}"]
  if origins != wanted:
    return 403, "Another page asks."
  site = headers.get("sec-fetch-site", "none")
  if site not in ("same-origin", "none") and (
    headers.get("sec-fetch-mode") != "navigate"
    or headers.get("sec-fetch-dest") != "document"
  ):
    return 403, "Another page asks."
  return None
