"""The HTTP gateway: reports and requests for leave come in by HTTP and go to `usage.events`.

`docs/gateway.md` is the contract. `bodies` and `incoming` make events of a request, `judging` decides what becomes of
each, `publishing` puts them into Kafka; `directory` has catalogs, keys and item states in memory, `following` keeps it
current; `admission` bounds who may send how much; `authorizing` asks the stream; `gate` wires these; `events`,
`authorizations`, `app`, `contract` and `server` are HTTP itself.
"""
