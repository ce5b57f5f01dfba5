"""The section that opens the page: what to think of the run, in words."""

from __future__ import annotations

from collections.abc import Iterator

from vae4counts.inference.report.elements import bullets
from vae4counts.inference.report.subject import Section, Subject

# From which adjusted Rand index on components agree with classes in which way.
AGREEMENT = ((0.9, "almost completely"), (0.65, "largely"), (0.3, "in part"), (-1.0, "hardly"))
# A discrepancy of data and replicates that is worth a word.
FAR = 1.5
# A share of posteriors that are not to be trusted that is.
MANY = 0.1
# Standard errors that a gain has to be from zero.
CERTAIN = 2


def verdict(subject: Subject) -> Section:
    """Say in words how well the model explains the data, and how far it can be trusted."""
    said = [*_fit(subject), *_mixture(subject), *_posteriors(subject), *_checks(subject)]
    return Section("In short", [bullets(said)])


def _fit(subject: Subject) -> Iterator[str]:
    metrics, run = subject.metrics, subject.run
    names = ("log_likelihood", "refined_iw_log_likelihood", "iw_log_likelihood")
    name = next(name for name in names if metrics.get(name) is not None)
    what = "log-likelihood" if name == "log_likelihood" else "a lower bound of the log-likelihood"
    error = metrics.get(f"{name}_se")
    within = "" if error is None else f" ± {error:.1f}"
    n = f"{len(subject.on.held_out):,} observations"
    where = f"{n} that training has not seen" if subject.on.is_fitted else f"these {n}"
    yield (
        f"{run.model.title} explains {where} with {metrics[name]:,.1f}{within} nats each ({what}); "
        "compare it with that of other models on the same data."
    )
    is_still_growing = metrics.get("epoch_kept") == len(run.history) > 1
    if is_still_growing and not metrics.get("stopped_early", True):
        yield "The validation ELBO was still growing when training ended: more epochs may help."


def _mixture(subject: Subject) -> Iterator[str]:
    metrics = subject.metrics
    if subject.components is None or metrics.get("components_used") is None:
        return
    n = len(subject.component_table)
    words = f"{metrics['components_used']} of {n} components are in use"
    gain, error = metrics.get("nats_over_one_gaussian"), metrics.get("nats_standard_error")
    if gain is not None and error is not None:
        is_gain = gain > CERTAIN * error
        words += (
            f"; together they are {'better' if is_gain else 'no better'} than one Gaussian "
            f"({gain:+.1f} ± {error:.1f} nats each)"
        )
    yield words + "."
    if warning := metrics.get("component_warning"):
        yield f"At the end of the fit, {warning}."
    if subject.classes is not None and metrics.get("ari") is not None:
        how = next(word for least, word in AGREEMENT if metrics["ari"] >= least)
        yield (
            f"The components agree {how} with the known classes in '{subject.classes.name}' (ARI "
            f"{metrics['ari']:.2f}, NMI {metrics['nmi']:.2f}), which training has not used."
        )


def _posteriors(subject: Subject) -> Iterator[str]:
    by_guide = subject.metrics.get("pareto_k_high")
    refined = subject.metrics.get("refined_pareto_k_high")
    if subject.run.model.is_exact or by_guide is None:
        return
    if by_guide <= MANY:
        yield f"The guide's posteriors can be trusted (Pareto k above 0.7 for {by_guide:.0%})."
        return
    words = (
        f"The guide's own posteriors are too rough for {by_guide:.0%} of the observations (Pareto "
        "k above 0.7): refine them before you rely on single observations"
    )
    yield words + ("." if refined is None else f"; refined, {refined:.0%} remain.")


def _checks(subject: Subject) -> Iterator[str]:
    for name, found in subject.checks.items():
        of = "" if len(subject.run.model.tables) == 1 else f" of {name}"
        known = found.table[found.table["p_value"].notna()].sort_values("discrepancy")
        far = known[known["discrepancy"] > FAR]
        if known.empty:
            continue
        if far.empty:
            yield f"Counts{of} that the model draws look like the data in all that was checked."
            continue
        worst = str(far.index[-1])
        yield (
            f"Counts{of} that the model draws differ from the data in {len(far)} of {len(known)} "
            f"checks, most in '{worst}' (discrepancy {far['discrepancy'].iloc[-1]:.1f}, where 1 is "
            f"none; {found.p_value_text(worst)})."
        )
