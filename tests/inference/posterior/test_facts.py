"""What results say of themselves where they are shown."""

from __future__ import annotations

from vae4counts.inference.posterior.evaluation import Evaluation
from vae4counts.inference.posterior.facts import as_html, as_text


def test_text_is_aligned_and_html_is_escaped() -> None:
    facts = {"a": "1", "long": "<b> & x"}
    assert as_text("Title", facts) == "Title\n    a     1\n    long  <b> & x"
    html = as_html("<T>", facts)
    assert "<caption>&lt;T&gt;</caption>" in html
    assert "&lt;b&gt; &amp; x</td>" in html
    assert "<b>" not in html


def test_an_evaluation_shows_what_it_knows() -> None:
    nothing = (
        "log_likelihood log_likelihood_se leave_one_out leave_one_out_se nmi accuracy n_labelled "
        "leave_one_out_pareto_k_high label_note"
    )
    found = Evaluation(
        n=1234,
        elbo=-671.4712,
        elbo_parts={"counts": -650.0, "z": -21.4712},
        iw_log_likelihood=-667.2,
        iw_log_likelihood_se=5.123,
        iw_samples=100,
        pareto_k_median=0.41234,
        pareto_k_high=0.5,
        effective_draws=0.03,
        components_used=10,
        component_perplexity=8.0,
        ari=0.0,
        **dict.fromkeys(nothing.split()),
    )
    lines = repr(found).splitlines()
    assert lines[0] == "Evaluation of 1,234 observations"
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:]}
    assert shown["elbo"] == "-671.47"
    assert shown["elbo_parts"] == "counts -650.00, z -21.47"
    assert shown["iw_log_likelihood"] == "-667.20 (s.e. 5.12)"
    assert shown["pareto_k_median"] == "0.412"
    assert shown["ari"] == "0"  # which is known, and not left out
    assert "heavy a tail" in shown["posterior_note"]
    assert not {"n", "nmi", "iw_log_likelihood_se", "log_likelihood"} & set(shown)
    assert "<td" in found._repr_html_()
