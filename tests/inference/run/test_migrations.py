"""Descriptions that older editions wrote, brought up to today's."""

from __future__ import annotations

from typing import Any

import pytest

from vae4counts.inference.run import migrations
from vae4counts.models.config import Configured, find_class
from vae4counts.models.priors import StandardNormal

FLAT = {
    "epochs": 3,
    "prior_learning_rate": 0.01,
    "tempering": ["FreeNats(0.5)"],
    "stratify": None,
    "seed": 4,
    "strategy": "ddp",
    "precision": "32-true",
    "command": "vae4counts fit data --out run",
}


def up_to_date(model: Any, guide: Any = None, settings: Any = None) -> dict[str, Any]:
    config = {"format": 1, "model": model, "guide": guide, "settings": settings or {}}
    return migrations.MIGRATIONS[1](config)


def test_every_class_of_the_first_edition_is_where_the_table_says() -> None:
    for module, names in migrations._MODULES.items():
        for name in names:
            kind = find_class(f"{module}.{name}")
            assert kind.__name__ == name
            assert up_to_date({"type": name})["model"] == {"type": f"{module}.{name}"}


def test_classes_are_found_at_any_depth() -> None:
    model = {"type": "VAE", "n_features": 3, "prior": {"type": "VampPrior", "parts": [[{"a": 1}]]}}
    assert up_to_date(model)["model"] == {
        "type": "vae4counts.models.vae.VAE",
        "n_features": 3,
        "prior": {"type": "vae4counts.models.priors.vamp.VampPrior", "parts": [[{"a": 1}]]},
    }


def test_a_class_of_the_user_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Configured, "registry", dict(Configured.registry))

    class OfTheUser(StandardNormal):
        pass

    assert up_to_date({"type": "OfTheUser"})["model"]["type"].endswith("OfTheUser")
    with pytest.raises(ValueError, match="unknown class 'Elsewhere': import the module"):
        up_to_date({"type": "Elsewhere"})
    Configured.registry["another.OfTheUser"] = OfTheUser
    with pytest.raises(ValueError, match=r"may be .*OfTheUser or another\.OfTheUser"):
        up_to_date({"type": "OfTheUser"})


def test_settings_go_to_their_sections() -> None:
    assert up_to_date({}, settings=FLAT)["settings"] == {
        "epochs": 3,
        "seed": 4,
        "command": "vae4counts fit data --out run",
        "split": {"stratify": None},
        "schedule": {"prior_learning_rate": 0.01, "handlers": ["FreeNats(0.5)"]},
        "compute": {"precision": "32-true"},
    }
    assert up_to_date({}, settings={})["settings"] == {}
    with_schedule = {"settings": {"warm_start": True, "schedule": {"patience": 3}}}
    assert migrations.MIGRATIONS[3](with_schedule)["settings"] == {
        "schedule": {"patience": 3, "warm_start": True}
    }
