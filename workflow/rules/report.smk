# Tables -> figures, tables for a paper, cards of single neurons, and the report.
from culture_neurons.report.registry import write_list


TABLES = [F("table", table=name) for name in run.tables]


rule figures:
    """Draw all figures, from the tables alone."""
    input:
        tables=TABLES,
        code=code("figures"),
    output:
        [
            report(
                run.all("figure", figure=figure.stem),
                category=figure.model or "all models",
                subcategory=figure.selector,
                caption="../report/figures.rst",
            )
            for figure in run.figures
        ],
        captions=update(F("captions")),  # what it lists tells files of an earlier version from a reader's own
    log:
        F("log", job="figures"),
    benchmark:
        F("benchmark", job="figures")
    conda:
        "../../envs/figures.yaml"
    threads: 2
    resources:
        **cpu(minutes=30, mb=4000),
    params:
        tables=lambda w, input: os.path.dirname(input.tables[0]),
        more=run.further_tables,
        figures=lambda w: write_list(run.figures),
        selectors=run.shown,
        top=run.top,
        noun=run.config["group_noun"],
        folder=subpath(output.captions, parent=True),
    shell:
        "python -m culture_neurons.steps.figures --tables {params.tables:q} --more {params.more:q} --figures {params.figures:q}"
        " --selectors {params.selectors:q} --top-fraction {params.top} --group-noun {params.noun:q} --threads {threads}"
        " --out-dir {params.folder:q} --log {log:q}"


rule cards:
    """Describe the strongest neurons of each culture of a model, one by one."""
    input:
        statistics=F("statistics", of=""),
        mask=F("masks", selector=run.card_selector, fraction=run.top),
        scores=[F("scores", selector=name) for name in run.scored_on_own],
        samples=F("samples", of=""),
        planted=lambda w: run.all("planted", model=w.model) if w.model in run.planted else [],
        stability=[F("stability")] if run.card_selector in run.resampled else [],
        code=code("cards"),
    output:
        cards=F("cards"),
    log:
        F("log", job="{model}/cards"),
    benchmark:
        F("benchmark", job="{model}/cards")
    conda:
        "../../envs/model.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=8000),
    params:
        selector=run.card_selector,
        top=run.top,
        cards=run.cards,
        resamples=run.evidence["resamples"],
        seed=run.evidence["seed"],
    shell:
        "python -m culture_neurons.steps.cards --statistics {input.statistics:q} --mask {input.mask:q}"
        " --selector {params.selector:q} --top-fraction {params.top} --scores {input.scores:q}"
        " --samples {input.samples:q} --planted {input.planted:q} --stability {input.stability:q}"
        " --count {params.cards} --resamples {params.resamples} --seed {params.seed} --out {output.cards:q}"
        " --log {log:q}"


rule report:
    """Write the one self-contained page, and tables for a paper."""
    input:
        tables=TABLES,
        provenance=run.provenance,
        figures=run.figure_files,
        dropped=F("dropped", of=""),
        counts=F("counts", of=""),
        models=run.all("model", model=run.trained),
        cards=run.all("cards") if run.cards else [],
        code=code("report"),
    output:
        page=F("report"),
        summary=[F("latex", table="summary")] * bool(run.shown),
        drops=[F("latex", table="drops")] * bool(run.shown),
        sets=[F("latex", table="sets")] * bool(run.shown and run.evaluated),
    log:
        F("log", job="report"),
    benchmark:
        F("benchmark", job="report")
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        **cpu(minutes=10, mb=4000),
    params:
        run=given(run.report_settings),
        training=run.all("training", model=run.trained),
        more=run.further_tables,
        shown=lambda w: write_list(run.figures),
        tables=lambda w, input: os.path.dirname(input.tables[0]),
        figures=lambda w, input: os.path.dirname(input.figures[0]),
        selectors=run.latex_selectors,
        top=run.top,
    shell:
        "python -m culture_neurons.steps.report --tables {params.tables:q} --more {params.more:q}"
        " --figures {params.figures:q} --show {params.shown:q} --dropped {input.dropped:q} --counts {input.counts:q}"
        " --run {params.run:q} --provenance {input.provenance:q} --training {params.training:q} --cards {input.cards:q}"
        " --out {output.page:q} --selectors {params.selectors:q} --top-fraction {params.top}"
        " --summary {output.summary:q} --drops {output.drops:q} --sets {output.sets:q} --log {log:q}"
