"""Do units of a run come out the same when made again? `python benchmarks/regenerate.py RUN [--units 20] [--seed 0]`

Bar: every image of 20 random units is byte-identical (on CPU). Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from curate.store import RunStore
from curate.trust.evidence import gather
from curate.trust.regenerate import Remaker


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    store = RunStore.open(args.run, sweep=False)
    made = store.committed(include_failed=False)
    units = [unit.unit_id for unit in store.units() if unit.unit_id in made]
    chosen = random.Random(args.seed).sample(units, min(args.units, len(units)))
    remaker = Remaker(store, gather(store, chosen[0]).config)
    images = [one for unit_id in chosen for one in remaker.remake(gather(store, unit_id))]
    same = sum(one.same_bytes for one in images)
    print(f"{same} of {len(images)} images of {len(chosen)} random units are byte-identical: "
          f"{'met' if same == len(images) else 'MISSED'}")
    return 0 if same == len(images) else 1


if __name__ == "__main__":
    sys.exit(main())
