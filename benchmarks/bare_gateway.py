"""The gateway's server with validation and Kafka removed: the same framework, middleware and answers of the same size.

python -m benchmarks.bare_gateway PORT RESULT_BYTES
"""

import asyncio
import sys

import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from licmeter.producers.gateway import app as gateway_app
from licmeter.producers.gateway.bodies import decompress, read_body
from licmeter.producers.gateway.config import GatewayConfig
from licmeter.producers.gateway.gate import Gate
from licmeter.producers.gateway.responses import json_response

RESULT = b'{"id":"xxxxxxxxxxxx","source":"xxxxxxxx","outcome":"accepted","items":[{"item_id":"A","state":"active"}]}'


async def take(gate: Gate, request: Request, request_id: str) -> Response:
    """Read and unpack the body, and answer for each event without looking at it."""
    raw = await read_body(request.stream(), gate.config.body_bytes_max, lambda size: None)
    body = decompress(raw, request.headers.get("content-encoding", ""), gate.config.body_bytes_max)
    results = b",".join([RESULT] * body.count(b'"specversion"'))
    return json_response(202, b'{"request_id":"%b","results":[%b]}' % (request_id.encode(), results))


async def main(port: int) -> None:
    gateway_app.post_events = take
    app = gateway_app.create_app(Gate(GatewayConfig(bootstrap_servers="nowhere:9092")))
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, port=port, server_header=False)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
