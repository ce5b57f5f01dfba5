"""Batches of a question, counted as they are worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from anndata import AnnData

from vae4counts.data import CountLoader
from vae4counts.inference.run import watched_batches


def test_each_batch_is_counted_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    @contextmanager
    def bar(title: str, total: int, **how: Any) -> Iterator[Callable[[int], None]]:
        said.append((total, how))
        yield said.append

    monkeypatch.setattr(watched_batches, "observation_bar", bar)
    loader = CountLoader(AnnData(np.ones((10, 3), np.float32)), batch_size=4, shuffle=False)
    batches = iter(watched_batches.WatchedBatches(loader, visible=True))
    assert len(next(batches)) == 4
    assert said == [(10, {"visible": True, "after": 5.0})]
    assert [len(batch) for batch in batches] == [4, 2]
    assert said[1:] == [4, 4, 2]
