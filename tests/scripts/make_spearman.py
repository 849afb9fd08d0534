"""Records Spearman's rank correlations for the tests of studies: `tests/fixtures/spearman.json`.

Each row is two lists of numbers and `rho` by `scipy.stats.spearmanr`, null where all numbers of one list are equal.

usage: python tests/scripts/make_spearman.py
Deterministic. Lists of several lengths, with and without equal numbers, of several strengths of correlation.
"""
import json
import math
import random
import warnings
from pathlib import Path

from scipy.stats import spearmanr

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def row(x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rho = spearmanr(x, y).statistic
    return {"x": x, "y": y, "rho": None if math.isnan(rho) else float(rho)}


def main():
    rng = random.Random(0)
    rows = [row([1, 2, 3], [1, 2, 3]), row([1, 2, 3], [3, 2, 1]), row([1, 1, 1], [1, 2, 3]), row([1, 2, 2, 3], [1, 3, 2, 2])]
    for length in (3, 4, 5, 8, 12, 30):
        for digits in (0, 1, 6):
            for share in (-0.9, 0.0, 0.7):
                x = [round(rng.gauss(0, 1), digits) for _ in range(length)]
                y = [round(share * value + (1 - abs(share)) * rng.gauss(0, 1), digits) for value in x]
                rows.append(row(x, y))
    with open(FIXTURES / "spearman.json", "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(one) for one in rows) + "\n]\n")


if __name__ == "__main__":
    main()
