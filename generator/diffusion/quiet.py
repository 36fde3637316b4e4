"""Keeps the diffusion libraries from writing on the terminal while they load and paint."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_KNOWN = (
    "__array__ implementation doesn't accept a copy keyword",
    "Already found a `peft_config` attribute in the model",
    r"Adapter lora\d+ was active which is now deleted",
    "The configuration file of this scheduler",
    "Should have (ta>=t0|tb<=t1) but got",
)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from diffusers and transformers inside; as it was afterwards.

    A few warnings are silenced: diffusers' multistep solvers convert arrays in a way that numpy 2
    deprecates, peft remarks that a model has a LoRA already when it is given its second and that it loses
    the one that did not fit, torchsde that the first and last noise level were rounded, and diffusers that
    a checkpoint's own scheduler, whose place the recipe's sampler takes, has settings it would not choose.
    """
    from diffusers.utils import logging as diffusers
    from transformers.utils import logging as transformers

    libraries = (diffusers, transformers)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            for message in _KNOWN:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for library, (verbosity, bar) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bar:
                library.enable_progress_bar()
