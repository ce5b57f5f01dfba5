"""The command line says when training ended, and why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from vae4counts.inference.cli.fit import how_training_ended


@pytest.mark.parametrize(
    ("phases", "kept", "early", "said"),
    [
        (["full"] * 5, 2, True, ["stopped after 5 epochs", "had not grown for 3", "of epoch 2."]),
        (["full"] * 5, 5, False, ["all of its 5 epochs", "still growing"]),
        (["plain"] * 2 + ["full"] * 3, 4, False, ["components started after epoch 2"]),
    ],
)
def test_every_end_is_said(phases: list[str], kept: int, early: bool, said: list[str]) -> None:
    run: Any = SimpleNamespace(
        model=torch.nn.Linear(1, 1),
        guide=torch.nn.Identity(),
        history=pd.DataFrame({"phase": phases}),
        metrics={"epoch_kept": kept, "stopped_early": early},
        settings={"schedule": {"patience": 3}},
    )
    text = how_training_ended(run)
    assert all(words in text for words in said)
    assert ("still growing" in text) == (kept == len(phases))


def test_a_model_that_nothing_was_left_to_train_of() -> None:
    run: Any = SimpleNamespace(model=torch.nn.Identity(), guide=torch.nn.Identity())
    assert "in one pass" in how_training_ended(run)
