"""The tables: what was received (and so what is a repeat), and what is to be delivered."""

import asyncio
import os

import asyncpg

TABLES = """
CREATE TABLE IF NOT EXISTS events (
    message_id text PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    event json NOT NULL
);
CREATE INDEX IF NOT EXISTS events_received_at ON events USING brin (received_at);
CREATE TABLE IF NOT EXISTS outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action json NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS outbox_due_at ON outbox (due_at);
"""


async def main() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute(TABLES)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
