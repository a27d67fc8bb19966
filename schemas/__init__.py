"""What crosses a boundary: events, scales, labels, rows, dead letters, and their published schemas.

Imports no other room and no infrastructure, so that an upstream app can depend on it alone.
Read in this order: `scales` (bands and ranges), `events` (what senders write), `envelope` (CloudEvents 1.0 around it),
`labels` (what the model says), `rows` (what ClickHouse keeps), `dead_letter` (what could not be used),
`published` (JSON Schema and AsyncAPI made from all of these), `compatibility` (what may change under one version).
"""
