"""Bounds Hypothesis: the core's tests run on every change, so they stay within seconds.

HYPOTHESIS_PROFILE=thorough looks for much longer.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "bounded", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "bounded"))
