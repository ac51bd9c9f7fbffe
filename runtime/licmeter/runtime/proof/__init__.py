"""Proof: the raw reports behind a number, as a signed statement that another machine can check.

`canonical`, `statement`, `originals`, `keys` and `checks` are the verifier. They know the standard library, pydantic
and cryptography, and no Kafka and no ClickHouse; `listing` and `issuing` are for who makes a statement.
"""
