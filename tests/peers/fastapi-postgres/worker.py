"""Delivers the outbox in batches, each in one transaction, and forgets events after 24 hours."""

import asyncio
import os

import aiohttp
import asyncpg
import uvloop

SINK = os.environ["SINK"]
LOOPS, BATCH = 4, 100

TAKE = """
SELECT id, action FROM outbox WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
"""
DONE = "DELETE FROM outbox WHERE id = ANY($1)"
# 100 ms, 200 ms, ... 30 s, without end.
LATER = """
UPDATE outbox SET attempts = attempts + 1,
    due_at = clock_timestamp() + least(0.1 * 2 ^ least(attempts, 20), 30) * interval '1 second'
WHERE id = ANY($1)
"""
FORGET = "DELETE FROM events WHERE received_at < now() - interval '24 hours'"


async def deliver(session: aiohttp.ClientSession, action: str) -> bool:
    try:
        async with session.post(SINK, data=action, headers={"content-type": "application/json"}) as answer:
            await answer.read()
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


async def drain(pool: asyncpg.Pool, session: aiohttp.ClientSession) -> None:
    while True:
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(TAKE, BATCH)
            if rows:
                answers = await asyncio.gather(*(deliver(session, row["action"]) for row in rows))
                ids = {True: [], False: []}
                for row, delivered in zip(rows, answers, strict=True):
                    ids[delivered].append(row["id"])
                await connection.execute(DONE, ids[True])
                if ids[False]:
                    await connection.execute(LATER, ids[False])
        if not rows:
            await asyncio.sleep(0.05)


async def forget(pool: asyncpg.Pool) -> None:
    while True:
        await asyncio.sleep(60)
        await pool.execute(FORGET)


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=LOOPS * BATCH)
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=LOOPS + 1, max_size=LOOPS + 1) as pool,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(forget(pool))
        for _ in range(LOOPS):
            tasks.create_task(drain(pool, session))


if __name__ == "__main__":
    uvloop.run(main())
