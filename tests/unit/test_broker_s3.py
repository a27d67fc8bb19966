"""The S3 endpoint over HTTP, in process: what an object-store client sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp.test_utils import TestClient, TestServer

from infra.broker.log import RecordLog
from infra.broker.objects import ObjectStore
from infra.broker.s3 import S3Endpoint
from tests.unit.broker_batches import PARTITION, batch, key

AUTH = {"Authorization": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, Signature=x"}
NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
Client = TestClient  # type: ignore[type-arg]  # its parameters are aiohttp's own affair


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    store = ObjectStore(tmp_path / "o.sqlite", clock=lambda: 1_700_000_000.25)
    log = RecordLog(store, hold_seconds=5.0, monotonic=lambda: 0.0)
    async with TestClient(TestServer(S3Endpoint(log, access_key="k").application()), headers=AUTH) as made:
        yield made
    store.close()


async def test_another_access_key_is_refused(client: Client) -> None:
    for value in ("AWS4-HMAC-SHA256 Credential=other/2026", "", "Credential="):
        answer = await client.get("/b/a", headers={"Authorization": value})
        assert answer.status == 403


async def test_put_get_head_delete(client: Client) -> None:
    put = await client.put("/b/dir/a%20b", data=b"body", headers={"Content-Type": "application/json"})
    assert put.status == 200
    got = await client.get("/b/dir/a%20b")
    assert await got.read() == b"body"
    assert got.headers["ETag"] == put.headers["ETag"]
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    head = await client.head("/b/dir/a%20b")
    assert (head.status, head.headers["Content-Length"]) == (200, "4")
    assert (await client.delete("/b/dir/a%20b")).status == 204
    missing = await client.get("/b/dir/a%20b")
    assert missing.status == 404
    assert "<Code>NoSuchKey</Code>" in await missing.text()


async def test_conditional_writes(client: Client) -> None:
    first = await client.put("/b/a", data=b"1", headers={"If-None-Match": "*"})
    assert (await client.put("/b/a", data=b"2", headers={"If-None-Match": "*"})).status == 412
    second = await client.put("/b/a", data=b"1", headers={"If-Match": first.headers["ETag"]})
    assert second.headers["ETag"] != first.headers["ETag"]
    late = await client.put("/b/a", data=b"3", headers={"If-Match": first.headers["ETag"]})
    assert late.status == 412
    assert (await client.put("/b/a", data=b"3", headers={"If-None-Match": '"1"'})).status == 501


async def test_conditional_reads(client: Client) -> None:
    etag = (await client.put("/b/a", data=b"1")).headers["ETag"]
    assert (await client.get("/b/a", headers={"If-None-Match": etag})).status == 304
    assert (await client.get("/b/a", headers={"If-None-Match": '"other"'})).status == 200
    assert (await client.get("/b/a", headers={"If-Match": '"other"'})).status == 412


@pytest.mark.parametrize(
    ("wanted", "body", "content_range"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", b"0123456789", "bytes 0-9/10"),
    ],
)
async def test_ranges(client: Client, wanted: str, body: bytes, content_range: str) -> None:
    await client.put("/b/a", data=b"0123456789")
    answer = await client.get("/b/a", headers={"Range": wanted})
    assert (answer.status, await answer.read()) == (206, body)
    assert answer.headers["Content-Range"] == content_range


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=5-2", "bytes=-", "lines=1-2"])
async def test_a_range_outside_is_refused(client: Client, wanted: str) -> None:
    await client.put("/b/a", data=b"0123456789")
    assert (await client.get("/b/a", headers={"Range": wanted})).status == 416


async def listing(client: Client, **query: str) -> ElementTree.Element:
    answer = await client.get("/b", params={"list-type": "2", **query})
    assert answer.status == 200
    return ElementTree.fromstring(await answer.text())


async def test_listing_pages(client: Client) -> None:
    for name in ("p/1", "p/2&<", "p/d/3", "p/d/4", "q"):
        await client.put(f"/b/{name}".replace("&<", "%26%3C"), data=b"12")
    page = await listing(client, prefix="p/", delimiter="/", **{"max-keys": "2"})
    assert [node.text for node in page.iter(f"{NS}Key")] == ["p/1", "p/2&<"]
    assert page.findtext(f"{NS}IsTruncated") == "true"
    first = page.find(f"{NS}Contents")
    assert first is not None
    assert first.findtext(f"{NS}LastModified") == "2023-11-14T22:13:20.250Z"
    assert first.findtext(f"{NS}Size") == "2"
    token = page.findtext(f"{NS}NextContinuationToken") or ""
    rest = await listing(client, prefix="p/", delimiter="/", **{"continuation-token": token})
    assert [node.text for node in rest.iter(f"{NS}Key")] == []
    assert [node.findtext(f"{NS}Prefix") for node in rest.iter(f"{NS}CommonPrefixes")] == ["p/d/"]
    assert rest.findtext(f"{NS}IsTruncated") == "false"
    after = await listing(client, prefix="p/", **{"start-after": "p/d/3"})
    assert [node.text for node in after.iter(f"{NS}Key")] == ["p/d/4"]


async def test_delete_many(client: Client) -> None:
    for name in ("a", "b%26c", "d"):
        await client.put(f"/b/{name}", data=b"")
    body = "<Delete><Object><Key>a</Key></Object><Object><Key>b&amp;c</Key></Object></Delete>"
    assert (await client.post("/b?delete", data=body)).status == 200
    assert [node.text for node in (await listing(client)).iter(f"{NS}Key")] == ["d"]
    assert (await client.post("/b?delete", data="not xml")).status == 400


async def test_batches_behind_a_hole_are_not_listed(client: Client) -> None:
    prefix = f"{PARTITION}/records/"
    await client.put(f"/b/{key(0)}", data=batch(2))
    await client.put(f"/b/{key(3)}", data=batch(1))
    page = await listing(client, prefix=prefix, **{"max-keys": "1"})
    assert page.findtext(f"{NS}IsTruncated") == "true"
    token = page.findtext(f"{NS}NextContinuationToken") or ""
    rest = await listing(client, prefix=prefix, **{"continuation-token": token})
    assert list(rest.iter(f"{NS}Key")) == []
    assert rest.findtext(f"{NS}IsTruncated") == "false"
    # Whoever deletes the topic lists above `records/` and must see all.
    assert len(list((await listing(client, prefix=f"{PARTITION}/")).iter(f"{NS}Key"))) == 2
    await client.put(f"/b/{key(2)}", data=batch(1))
    assert len(list((await listing(client, prefix=prefix)).iter(f"{NS}Key"))) == 3


async def test_what_is_not_a_batch_is_refused_as_one(client: Client) -> None:
    assert (await client.put(f"/b/{key(0)}", data=b"short")).status == 400
    assert list((await listing(client)).iter(f"{NS}Key")) == []


async def test_other_calls_are_refused(client: Client) -> None:
    assert (await client.head("/b")).status == 200
    assert (await client.post("/b/a", data=b"")).status == 405
    assert (await client.delete("/b")).status == 405
