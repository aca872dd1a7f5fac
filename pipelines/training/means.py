"""Running means of named numbers. Checkpoints hold them: a resumed training logs what an unbroken one does."""

from collections.abc import Mapping


class Means:
    """Means since they were last taken."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """One observation of each."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means, and begin anew."""
        means = {name: value / self.counts[name] for name, value in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, object]:
        """For checkpoints."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Inverse of `state_dict`."""
        self.sums = dict(state["sums"])
        self.counts = {name: int(count) for name, count in state["counts"].items()}
