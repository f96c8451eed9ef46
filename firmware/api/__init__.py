"""The HTTP API: server, access guard, endpoint table, errors, OpenAPI."""
