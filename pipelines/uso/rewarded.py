"""Which samples of a batch get the reward, and whose style comes after whose, whatever number of members share it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.training import Group
from pipelines.uso.reward import RewardConfig


@dataclass(frozen=True)
class ChosenRows:
    """Samples as (member, row): `all_members` in the order of the whole batch; `own` rows of this member, in order."""

    all_members: list[tuple[int, int]]
    own: list[int]
    group: Group

    def next_of(self, values: Tensor) -> Tensor:
        """Of one value for each of the own samples, (own or 1, ...): that of the sample after each, the last one's that
        of the first, wherever it lies. All members call it."""
        rows_of: dict[int, list[int]] = {member: [] for member in range(self.group.world)}
        for member, row in self.all_members:
            rows_of[member].append(row)
        most = max(len(rows) for rows in rows_of.values())
        padding = values.new_zeros(most - min(len(values), most), *values.shape[1:])
        everyones = self.group.gather(torch.cat([values[:most], padding]))
        following = [*self.all_members[1:], *self.all_members[:1]]
        after = [
            everyones[member, rows_of[member].index(row)]
            for here, (member, row) in zip(self.all_members, following, strict=True)
            if here[0] == self.group.rank
        ]
        return torch.stack(after) if after else values


def reward_rows(reward: RewardConfig | None, drop_style: Tensor, step: int, *, members: int) -> list[int]:
    """The samples of one of `members` that may get the reward at a step: the first `reward.batch` of those that have a
    style reference. In a group others may come before some of the last ones; and a member without any takes one that
    will not count, since all must make the same calls.
    """
    if reward is None or reward.weight_at(step) == 0:
        return []
    rows: list[int] = torch.nonzero(~drop_style)[:, 0].tolist()
    return rows[: reward.batch] or ([0] if members > 1 else [])


def chosen_rows(drop_style: Tensor, most: int | None, group: Group) -> ChosenRows:
    """The first `most` samples with a style reference of all members' batches together; `drop_style`: bool (B,).

    Row i of member r is sample i * members + r of the whole batch, as `TripletStream` deals them.
    """
    seen = group.gather((~drop_style).int()).T.flatten()
    places: list[int] = torch.nonzero(seen)[:most, 0].tolist()
    chosen = [(place % group.world, place // group.world) for place in places]
    return ChosenRows(chosen, [row for member, row in chosen if member == group.rank], group)
