"""Compact experts: small networks in the ecosystem's own formats, quick enough for a CPU."""
