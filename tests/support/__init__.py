"""Builders and an independent oracle that several kinds of tests share."""
