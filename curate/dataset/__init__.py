"""Sealed datasets for those who read them: the folder and its samples, and the notebook's view of a run."""

from curate.dataset.sealed import SealedFolder

__all__ = ["SealedFolder"]
