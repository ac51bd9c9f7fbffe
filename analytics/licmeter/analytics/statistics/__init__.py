"""Statistics of the domain, section 10: questions as values, and the answers as tables."""
