// ClickHouse's Node client against the store: STORE_URL may write, READER_URL only reads. Prints NPS by touchpoint.
const { createClient } = require('@clickhouse/client');
const assert = require('assert');
const url = process.env.STORE_URL;
async function main() {
  for (const compression of [{}, { request: true, response: true }]) {
    const client = createClient({ url, compression });
    assert.strictEqual((await client.ping()).success, true);
    assert.strictEqual((await client.ping({ select: true })).success, true);
    const columns = '(id UInt64, name String)';
    await client.command({ query: `CREATE OR REPLACE TABLE n ${columns} ENGINE = MergeTree ORDER BY id` });
    const values = [{ id: 1, name: 'a' }, { id: '2', name: 'ü' }];
    const inserted = await client.insert({ table: 'n', format: 'JSONEachRow', values });
    assert.ok(inserted.executed);
    assert.strictEqual(inserted.summary.written_rows, '2');
    const { Readable } = require('stream');
    await client.insert({ table: 'n', format: 'JSONEachRow', values: Readable.from((function* () {
      for (let i = 3; i <= 1000; i++) yield { id: i, name: 'row ' + i };
    })(), { objectMode: true }) });
    const rows = await client.query({
      query: 'SELECT id, name FROM n WHERE id <= {top:UInt64} ORDER BY id',
      query_params: { top: 2 }, format: 'JSONEachRow' });
    assert.deepStrictEqual(await rows.json(), [{ id: 1, name: 'a' }, { id: 2, name: 'ü' }]);
    const whole = await client.query({ query: 'SELECT count() AS c FROM n', format: 'JSON' });
    assert.deepStrictEqual((await whole.json()).data, [{ c: 1000 }]);
    const many = await client.query({ query: 'SELECT number FROM numbers(200000)', format: 'JSONCompactEachRow' });
    const stream = many.stream();
    let seen = 0;
    for await (const block of stream) seen += block.length;
    assert.strictEqual(seen, 200000);
    const done = await client.exec({ query: 'SELECT 42 FORMAT CSV' });
    let text = '';
    for await (const part of done.stream) text += part;
    assert.strictEqual(text, '42\n');
    const unknown = (error) => error.code === '60' && error.type === 'UNKNOWN_TABLE';
    await assert.rejects(client.query({ query: 'SELECT * FROM nope' }), unknown);
    const settings = await client.query({ query: "SELECT getSetting('max_block_size') AS s",
      format: 'JSONEachRow', clickhouse_settings: { max_block_size: '321' } });
    assert.deepStrictEqual(await settings.json(), [{ s: 321 }]);
    await client.close();
    const session_id = 'node' + JSON.stringify(compression).length;
    const session = createClient({ url, session_id, max_open_connections: 1 });
    await session.command({ query: 'CREATE TEMPORARY TABLE tmp (x UInt8)' });
    await session.insert({ table: 'tmp', values: [[1], [2]], format: 'JSONCompactEachRow' });
    const temporary = await session.query({ query: 'SELECT sum(x) AS s FROM tmp', format: 'JSONEachRow' });
    assert.deepStrictEqual(await temporary.json(), [{ s: 3 }]);
    await session.close();
    const abort = new AbortController();
    const slow = createClient({ url });
    setTimeout(() => abort.abort(), 300);
    await assert.rejects(slow.query({ query: 'SELECT sleep(3)', abort_signal: abort.signal }));
    await slow.close();
  }
  const reader = createClient({ url: process.env.READER_URL, database: 'feedback' });
  const nps = await reader.query({
    query: `SELECT touchpoint, npsScore(sum(promoters), sum(detractors), sum(n)) AS score FROM scores_daily
            WHERE tenant = {tenant:String} AND metric = {metric:String} GROUP BY touchpoint ORDER BY touchpoint`,
    query_params: { tenant: 'acme', metric: 'nps' }, format: 'JSONEachRow' });
  const scores = await nps.json();
  assert.ok(scores.length > 0);
  const readonly = (error) => error.code === '164' && error.type === 'READONLY';
  const values = [{ tenant: 'x', timezone: 'UTC' }];
  await assert.rejects(reader.insert({ table: 'tenants', format: 'JSONEachRow', values }), readonly);
  await assert.rejects(reader.command({ query: 'TRUNCATE TABLE responses' }), readonly);
  await reader.close();
  console.log(JSON.stringify(scores));
}
main().catch((error) => { console.error(error); process.exit(1); });
