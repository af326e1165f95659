"""A pocket calculator: recompute a worked line from the numbers that its formula names, and nothing else."""

from __future__ import annotations

import math
import re
from typing import Any

from charlm.insight.worked_records import WorkedLine

FUNCTIONS: dict[str, Any] = {
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "relu": lambda a: max(0.0, a),
    "exp": math.exp,
    "sqrt": math.sqrt,
    "min": min,
    "ln": math.log,
}


def calculate(line: WorkedLine) -> float:
    """Return what a line's formula gives for its terms."""
    names = {term.symbol: f"number_{place}" for place, term in enumerate(line.terms)}
    longest_first = "|".join(re.escape(symbol) for symbol in sorted(names, key=len, reverse=True))
    formula = re.sub(rf"(?<![\w'])(?:{longest_first})(?![\w'])", lambda found: names[found[0]], line.formula)
    formula = re.sub(r"ln (\w+)", r"ln(\1)", formula).replace("^", "**")
    return eval(formula, FUNCTIONS | {names[term.symbol]: term.value for term in line.terms})
