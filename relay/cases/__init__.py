# sans-I/O
"""The cases that operators work on. One alarm with its Updates is one case, whichever message arrives first."""

from relay.cases.opening import Case, Phase, fold, read

__all__ = ["Case", "Phase", "fold", "read"]
