"""The spine of triplet-curate: everything that is not a model (plan, store, engine, seal, report, CLI)."""

__version__ = "0.1.0"
