"""What pairs of a reference and a proxy score tell about the width of an interval.

The estimate weights the proxy: mean of (reference - weight * proxy) plus weight times the mean
proxy score of the population. A. N. Angelopoulos, J. C. Duchi and T. Zrnic, PPI++: Efficient
prediction-powered inference, arXiv:2311.01453.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Part of alpha for the mean proxy score, where it is estimated: it is cheap to estimate well.
PROXY_ALPHA_SHARE = 0.1
# A proxy is used if it is expected to save at least this share of the references.
_LEAST_SAVING = 0.05
_LEAST_PAIRS = 30
_WEIGHTS = np.linspace(0.0, 1.0, 51)
# Units that intervals at every look take, relative to the ideal bet: measured, see README.md.
_OVERHEAD = 1.1


@dataclass(frozen=True)
class Setting:
    """What is asked for, and how the mean proxy score is known.

    Attributes:
        population: units of the population.
        alpha: 1 - confidence.
        within: half width of the interval that is wanted, above 0.
        proxies: units that have or will have a proxy score.
    """

    population: int
    alpha: float
    within: float
    proxies: int

    @property
    def reference_alpha(self) -> float:
        """Part of alpha that is left for the references."""
        return self.alpha * (1 - PROXY_ALPHA_SHARE * (self.proxies < self.population))

    @property
    def proxy_alpha(self) -> float:
        """Part of alpha for the mean proxy score."""
        return self.alpha * PROXY_ALPHA_SHARE


@dataclass(frozen=True)
class PairMoments:
    """Variances and covariance of pairs, drawn a little towards a proxy that is of no use."""

    count: int
    reference_variance: float
    proxy_variance: float
    covariance: float

    @classmethod
    def of(cls, reference: Floats, proxy: Floats) -> PairMoments:
        """Moments of `reference` and `proxy`, both (n,)."""
        count = len(reference)
        if count == 0:
            return cls(0, 0.25, 0.25, 0.0)
        # A pseudo-observation keeps a variance above 0 where all numbers are equal.
        one, other = ((each.var() * count + 0.25) / (count + 1) for each in (reference, proxy))
        together = float(((reference - reference.mean()) * (proxy - proxy.mean())).mean())
        certain = max(0.0, together - math.sqrt(one * other / count))
        return cls(count, float(one), float(other), certain)

    def variances(self) -> Floats:
        """(weights,) variances of reference - weight * proxy."""
        known = self.reference_variance - 2 * _WEIGHTS * self.covariance
        return np.maximum(known + _WEIGHTS**2 * self.proxy_variance, 1e-9)

    def least_variance(self) -> float:
        """The smallest of `variances`."""
        return float(self.variances().min())

    def proxy_margin(self, setting: Setting) -> float:
        """Half width that is expected for the mean proxy score."""
        if setting.proxies >= setting.population:
            return 0.0
        left = 1 - setting.proxies / setting.population
        log = 2 * math.log(2 / setting.proxy_alpha)
        return math.sqrt(_OVERHEAD * log * self.proxy_variance * left / max(1, setting.proxies))

    def needed(self, setting: Setting) -> Floats:
        """(weights,) references expected until the interval is narrow enough; inf where never."""
        margins = setting.within - _WEIGHTS * self.proxy_margin(setting)
        log = 2 * math.log(2 / setting.reference_alpha)
        with np.errstate(divide="ignore"):
            draws = np.where(margins > 0, _OVERHEAD * log * self.variances() / margins**2, np.inf)
            return np.asarray(1 / (1 / draws + 1 / setting.population))

    def expected_half_width(self, setting: Setting) -> float:
        """Half width that is expected of these pairs with the best weight; `within` plays no part.

        Unlike the interval itself it knows no score of a unit without a reference.
        """
        if not self.count:
            return math.inf
        draws = 1 / self.count - 1 / setting.population
        log = 2 * math.log(2 / setting.reference_alpha)
        halves = np.sqrt(_OVERHEAD * log * self.variances() * draws)
        return float((halves + _WEIGHTS * self.proxy_margin(setting)).min())

    def best(self, setting: Setting) -> tuple[float, float]:
        """The weight of the proxy that needs the fewest references, and how many those are.

        0 unless the proxy saves enough: a weight from few pairs is mostly noise.
        """
        needed = np.where(self._within_reach(setting), self.needed(setting), np.inf)
        best = int(np.argmin(needed))
        if self.count < _LEAST_PAIRS or needed[best] > (1 - _LEAST_SAVING) * needed[0]:
            best = 0
        return float(_WEIGHTS[best]), float(needed[best])

    def _within_reach(self, setting: Setting) -> npt.NDArray[np.bool_]:
        spent = _WEIGHTS * self.proxy_margin(setting)
        return np.asarray(spent <= 0.75 * setting.within)
