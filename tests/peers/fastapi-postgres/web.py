"""Takes webhooks: verifies the raw body, stores event and action at once, and answers after the commit."""

import hashlib
import hmac
import os
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response

SECRET = os.environ["SECRET"].encode()

# One statement is one transaction: a repeat adds neither an event nor an action.
STORE = """
WITH fresh AS (
    INSERT INTO events (message_id, event) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING message_id
)
INSERT INTO outbox (action) SELECT $3::json FROM fresh WHERE $3::json IS NOT NULL
"""


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=16, max_size=16) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


def action(event: dict[str, Any]) -> dict[str, Any] | None:
    user, message_id = event.get("userId"), event["messageId"]
    match event.get("type"), event.get("event"):
        case "identify", _:
            traits = event.get("traits") or {}
            email, name = traits.get("email"), traits.get("name")
            return {"kind": "identify", "id": user, "email": email, "name": name, "messageId": message_id}
        case "track", "Order Completed":
            return {
                "kind": "trigger",
                "workflow": "order-completed",
                "recipient": user,
                "data": event.get("properties"),
                "messageId": message_id,
            }
    return None


@app.post("/webhook")
async def webhook(request: Request) -> Response:
    body = await request.body()
    wanted = hmac.new(SECRET, body, hashlib.sha1).hexdigest()
    if not hmac.compare_digest(wanted.encode(), request.headers.get("x-signature", "").encode()):
        return Response(status_code=401)
    try:
        event = orjson.loads(body)
        message_id, text = event["messageId"], body.decode()
    except (ValueError, KeyError, TypeError):
        return Response(status_code=400)
    mapped = action(event)
    await request.app.state.pool.execute(STORE, message_id, text, mapped and orjson.dumps(mapped).decode())
    return Response(status_code=202)
