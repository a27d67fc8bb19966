"""The S3 endpoint: the handful of calls that Tansu's object-store client makes, over HTTP on the loopback interface.

Requests come from the Tansu child and go to `RecordLog` (writes, listings of batches) and `ObjectStore` (the rest).
A caller must name the access key that was drawn at start; the signature itself is not checked, since the key never
leaves this machine's loopback and the environment of the child.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from email.utils import formatdate
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aiohttp import web

from infra.broker.batches import RECORDS
from infra.broker.log import RecordLog
from infra.broker.objects import Entry, Listing, PreconditionFailed

logger = logging.getLogger(__name__)

# The largest object: Tansu accepts messages of tens of megabytes, a batch may hold several.
MAX_BODY_BYTES = 256 * 1024 * 1024
_PAGE = 1000  # keys on a page when the caller names no number, as in S3
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_XML = '<?xml version="1.0" encoding="UTF-8"?>'


class S3Endpoint:
    """HTTP handlers over a `RecordLog`. `application()` is the aiohttp application to serve."""

    def __init__(self, log: RecordLog, *, access_key: str) -> None:
        self._log = log
        self._store = log.store
        self._access_key = access_key

    def application(self) -> web.Application:
        """An application that answers every path as `/bucket/key`."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not self._authorised(request):
            return _error(403, "InvalidAccessKeyId", "The access key of this broker is another one.")
        _, _, key = unquote(request.raw_path.partition("?")[0]).lstrip("/").partition("/")
        try:
            if not key:
                return await self._bucket(request)
            match request.method:
                case "PUT":
                    return await self._put(request, key)
                case "GET" | "HEAD":
                    return self._get(request, key)
                case "DELETE":
                    self._log.delete([key])
                    return web.Response(status=204)
        except PreconditionFailed as failure:
            return _error(412, "PreconditionFailed", str(failure))
        except ValueError as failure:
            return _error(400, "InvalidRequest", str(failure))
        return _error(405, "MethodNotAllowed", f"{request.method} is not served.")

    def _authorised(self, request: web.Request) -> bool:
        found = re.search(r"Credential=([^/,\s]+)", request.headers.get("Authorization", ""))
        return found is not None and hmac.compare_digest(found[1].encode(), self._access_key.encode())

    async def _bucket(self, request: web.Request) -> web.Response:
        if request.method == "POST" and "delete" in request.query:
            return self._delete_many(await request.read())
        if request.method == "GET":
            return self._list(request)
        if request.method in ("PUT", "HEAD"):  # every bucket exists
            return web.Response()
        return _error(405, "MethodNotAllowed", f"{request.method} of a bucket is not served.")

    async def _put(self, request: web.Request, key: str) -> web.Response:
        absent = request.headers.get("If-None-Match")
        if absent not in (None, "*"):
            return _error(501, "NotImplemented", "If-None-Match of a write must be *.")
        etag = self._log.put(
            key,
            await request.read(),
            content_type=request.headers.get("Content-Type", ""),
            if_match=_etag(request.headers.get("If-Match")),
            if_absent=absent is not None,
        )
        return web.Response(headers={"ETag": f'"{etag}"'})

    def _get(self, request: web.Request, key: str) -> web.Response:
        found = self._store.get(key)
        if found is None:
            return _error(404, "NoSuchKey", f"There is no object {key}.")
        entry, body = found
        headers = {
            "ETag": f'"{entry.etag}"',
            "Last-Modified": formatdate(entry.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": entry.content_type or "application/octet-stream",
        }
        if _etag(request.headers.get("If-None-Match")) == entry.etag:
            return web.Response(status=304, headers=headers)
        if _etag(request.headers.get("If-Match")) not in (None, entry.etag):
            raise PreconditionFailed(f"{key} is at etag {entry.etag}")
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(entry.size)})
        if wanted := request.headers.get("Range"):
            span = _span(wanted, entry.size)
            if span is None:
                return _error(416, "InvalidRange", f"{wanted} is not within {entry.size} bytes.")
            first, last = span
            headers["Content-Range"] = f"bytes {first}-{last}/{entry.size}"
            return web.Response(status=206, body=body[first : last + 1], headers=headers)
        return web.Response(body=body, headers=headers)

    def _list(self, request: web.Request) -> web.Response:
        query = request.query
        prefix = query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        limit = min(int(query.get("max-keys", _PAGE)), _PAGE)
        page = self._store.list(prefix, delimiter=query.get("delimiter", ""), after=after, limit=limit)
        if prefix.endswith(RECORDS):
            entries = self._log.visible(prefix.removesuffix(RECORDS), page.entries)
            complete = len(entries) == len(page.entries)
            page = Listing(entries, page.common_prefixes, page.token if complete else None)
        return _xml(_render(prefix, limit, page))

    def _delete_many(self, body: bytes) -> web.Response:
        try:
            root = ElementTree.fromstring(body)
        except ElementTree.ParseError as failure:
            raise ValueError(f"the list of keys to delete is not XML: {failure}") from failure
        keys = [node.text or "" for node in root.iter() if node.tag.rpartition("}")[2] == "Key"]
        self._log.delete(keys)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult>{deleted}</DeleteResult>")


def _etag(header: str | None) -> str | None:
    return None if header is None else header.strip().strip('"')


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single `Range`, also of the suffix form; None when it cannot be satisfied."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    return (first, last) if first <= last else None


def _render(prefix: str, limit: int, page: Listing) -> str:
    parts = [
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
        f"<Prefix>{escape(prefix)}</Prefix><MaxKeys>{limit}</MaxKeys>",
        f"<KeyCount>{len(page.entries) + len(page.common_prefixes)}</KeyCount>",
        f"<IsTruncated>{'true' if page.token else 'false'}</IsTruncated>",
    ]
    if page.token:
        parts.append(f"<NextContinuationToken>{escape(page.token)}</NextContinuationToken>")
    parts += map(_contents, page.entries)
    parts += (f"<CommonPrefixes><Prefix>{escape(p)}</Prefix></CommonPrefixes>" for p in page.common_prefixes)
    parts.append("</ListBucketResult>")
    return "".join(parts)


def _contents(entry: Entry) -> str:
    modified = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.modified))
    return (
        f"<Contents><Key>{escape(entry.key)}</Key><LastModified>{modified}.{int(entry.modified % 1 * 1000):03d}Z"
        f'</LastModified><ETag>"{entry.etag}"</ETag><Size>{entry.size}</Size></Contents>'
    )


def _xml(content: str, status: int = 200) -> web.Response:
    return web.Response(status=status, text=_XML + content, content_type="application/xml")


def _error(status: int, code: str, message: str) -> web.Response:
    return _xml(f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>", status)
