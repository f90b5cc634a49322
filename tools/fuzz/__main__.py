"""Feeds every decoder of a model host broken answers.

    python tools/fuzz [--inputs 200000] [--from 0] [--only ChatDecoder,…] [--seed 1]

Each decoder gets that many inputs, mutations of what hosts of its kinds say; rows of server/hosts.py that share a decoder take turns. The
number and the seed of an input that finds something are printed, and make it again: --from NUMBER --inputs 1 --only DECODER. Exits 1 where
something was found.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from corpus import speakers
from fuzzing import endless, fuzz

SHOWN = 5  # findings of a decoder


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    given = argparse.ArgumentParser(
        prog="fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given.add_argument("--inputs", type=int, default=200_000, help="for each decoder")
    given.add_argument("--from", type=int, default=0, dest="first", help="number of the first input")
    given.add_argument("--only", default="", help="decoders, by comma")
    given.add_argument("--seed", default="1")
    args = given.parse_args()
    only = set(filter(None, args.only.split(",")))
    known = speakers()
    if only - set(known):
        given.error(f"{', '.join(sorted(only - set(known)))} is none of {', '.join(known)}")
    found: Counter[str] = Counter()
    for decoder, rows in known.items():
        if only and decoder not in only:
            continue
        began = time.perf_counter()
        if not args.first:
            for finding in endless(decoder, rows):
                found[decoder] += 1
                say(str(finding))
        for finding in fuzz(decoder, rows, args.seed, range(args.first, args.first + args.inputs)):
            found[decoder] += 1
            if found[decoder] <= SHOWN:
                say(str(finding))
        kinds = ", ".join(kind for kind, _ in rows)
        took = time.perf_counter() - began
        inputs = f"inputs {args.first} to {args.first + args.inputs - 1}, seed {args.seed}"
        say(f"{decoder:<24} {inputs}: {found[decoder]} found in {took:.0f} s ({kinds})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
