"""The model that lm-evaluation-harness knows as `--model jaxunlearn`: whatever --model takes in this package.

    lm_eval --model jaxunlearn --model_args pretrained=DIR --tasks piqa

The package names the class as an entry point "lm_eval.models" (setup.py), by which the harness finds models of other
packages. Its release 0.4.13 does not look for them yet: there `python -m jaxunlearn.cli.harness` stands in the place of
`lm_eval`, with the same arguments, and who calls lm_eval.simple_evaluate(model="jaxunlearn") imports this module first.
Needs `pip install 'jaxunlearn[eval]'`.
"""

import sys
from typing import Any

import lm_eval.models  # noqa: F401  first: the harness lists its own models only where none was registered before
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from jaxunlearn.cli import ending
from jaxunlearn.cli.common import one_model_mesh
from jaxunlearn.errors import InputError
from jaxunlearn.evals.harness import JaxLM
from jaxunlearn.methods import inference
from jaxunlearn.models.transformer import context_fits
from jaxunlearn.run.store import found_model, read_model

BATCH = 8
DTYPES = ("float32", "bfloat16")


@register_model("jaxunlearn")
class JaxUnlearn(JaxLM, TemplateLM):
    """A model as the harness makes it from --model_args, on one device, with a mesh of its own.

    pretrained: the model, as --model of the other commands. batch_size: rows at once ("auto": 8). max_length: tokens of
    a row at most (0: the model's context). dtype: of the computation, float32 or bfloat16. seed: of sampling. `device`
    and `max_batch_size`, which the harness hands on, are not read: JAX chooses the device. Raises InputError for other
    arguments, and as found_model does.
    """

    def __init__(
        self, pretrained: str = "", *, batch_size: int | str = BATCH, max_length: int = 0, dtype: str = "float32",
        seed: int = 0, device: Any = None, max_batch_size: Any = None, **unknown: Any,
    ):  # fmt: skip
        if unknown or not pretrained:
            given = f" (got {', '.join(sorted(unknown))})" if unknown else ""
            raise InputError(f"--model_args: expected pretrained=DIR, and max_length, dtype or seed{given}")
        if dtype not in DTYPES:
            raise InputError(f"--model_args dtype={dtype}: expected {' or '.join(DTYPES)}")
        path, tokenizer, shape = found_model(str(pretrained))
        if inference.prefix(path):
            raise InputError(f"{pretrained} is a request before every prompt and no model; give its baseline's folder")
        longest = _whole("max_length", max_length) if max_length else 0
        context_fits(shape, longest, "max_length")
        with one_model_mesh():
            super().__init__(read_model(path, dtype), tokenizer, _rows(batch_size), int(seed), longest)

    def _loglikelihood_tokens(self, requests, **options) -> list[tuple[float, bool]]:
        with one_model_mesh():
            return super()._loglikelihood_tokens(requests, **options)

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> list[float]:
        """Return each text's log-likelihood, as JaxLM does."""
        with one_model_mesh():
            return super().loglikelihood_rolling(requests, disable_tqdm)

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """Return what follows each context, as JaxLM does."""
        with one_model_mesh():
            return super().generate_until(requests, disable_tqdm)


def _rows(batch_size: int | str) -> int:
    """Return the rows at once. Raises InputError for what is neither a number above 0 nor auto."""
    return BATCH if str(batch_size).startswith("auto") else _whole("batch_size", batch_size, ", or auto")


def _whole(name: str, value: int | str, more: str = "") -> int:
    """Return a number that --model_args gave. Raises InputError for what is no whole number above 0."""
    if not str(value).isdecimal() or int(value) < 1:
        raise InputError(f"{name}={value}: expected a whole number above 0{more}")
    return int(value)


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    sys.exit(ending.coded(cli_evaluate))
