"""Statistics counted again: a generated history, its facts by the reference of the metering rules, and every measure.

Nothing here reads a query of the product. What `recount` says is written from the domain text (section 10) alone.
"""
