"""Every built-in sampler keeps the contract that other packages' samplers are held to."""

from __future__ import annotations

import pytest

from kai_tracing_core.sampling.adaptive import Adaptive
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.sampling.config import create_sampler
from kai_tracing_core.testing.sampler_contract import SamplerContract

_RULES = {
    "type": "rules",
    "rules": [
        {"name": "GET /health*", "sampler": "always_off"},
        {"attributes": {"http.response.status_code": ">= 500", "odd": "x*"}, "sampler": "always_on"},
        {"kind": "client", "sampler": {"type": "ratio", "probability": 0.25}},
    ],
    "default": "rate_limiting:5",
}


@pytest.mark.parametrize(
    "description",
    [
        "always_on",
        "always_off",
        "traceidratio:0.3",
        "consistent_probability:0.3",
        "ratio:0",
        "ratio:1",
        "parent_based",
        "parent_based:traceidratio:0.5",
        "rate_limiting:3",
        "rate_limiting:0",
        "adaptive:2",
        "remote:http://127.0.0.1:9/sampling",
        "jaeger_remote:endpoint=http://127.0.0.1:9,initialSamplingRate=0.5",
        "tail",
        pytest.param({**_RULES, "follow_parent": False}, id="rules"),
        pytest.param(_RULES, id="rules under parents"),
        pytest.param(
            {
                "type": "parent_based",
                "root": "ratio:0.5",
                "remote_parent_sampled": "ratio:0.25",
                "remote_parent_not_sampled": "traceidratio:0.1",
                "local_parent_sampled": "rate_limiting:5",
            },
            id="five branches",
        ),
    ],
)
class TestBuiltIn(SamplerContract):
    """The samplers as they are named."""

    @pytest.fixture
    def sampler(self, description: object) -> Sampler:
        return create_sampler(description)


class TestBareAdaptive(SamplerContract):
    """One that decides about every span, not only about new traces."""

    @pytest.fixture
    def sampler(self) -> Sampler:
        return Adaptive(1.0, floor=0.0, max_operations=2)
