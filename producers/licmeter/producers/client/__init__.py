"""The SDK: what an application embeds. `docs/sdk.md` has its use; `client` and `blocking` are its faces.

`recorder` takes what is recorded into a `tally`, a file mapped into memory that survives the process; `spool` makes
reports of tallies and keeps them in SQLite until the server confirms them; `courier` carries them, over `http` or
`kafka`.
"""
