# Answers and masks of all models -> tables. `tables.py` of the package says which tables each rule writes.


rule tabulate:
    """What masks do: effects, summary, verdicts, cultures, differences, layers, baseline, planted neurons found."""
    input:
        samples=F("samples", of=""),
        predictions=run.all("predictions", of=""),
        masks=run.all("masks"),
        outcomes=run.all("outcomes", of=""),
        planted=run.all("planted", model=run.planted),
        code=code("tabulate"),
    output:
        **run.tables_of("tabulate"),
    log:
        F("log", job="tabulate"),
    benchmark:
        F("benchmark", job="tabulate")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=8000),
    params:
        **run.resampling,
        controls=sorted(run.controls),
        folder=subpath(output.provenance, parent=True),
    shell:
        "python -m culture_neurons.steps.tabulate --samples {input.samples:q} --predictions {input.predictions:q}"
        " --masks {input.masks:q} --outcomes {input.outcomes:q} --planted {input.planted:q}"
        " --random {params.controls:q} --replicates {params.replicates} --seed {params.seed}"
        " --out-dir {params.folder:q} --log {log:q}"


rule tabulate_robustness:
    """What masks of shuffled labels do, and the same masks at other strengths."""
    input:
        samples=F("samples", of=""),
        predictions=run.all("predictions", of=""),
        outcomes=run.all("outcomes", of="", selector=sorted(run.repeated), variant=f"top{run.top}"),
        permuted=run.permuted_outcomes,
        strengths=run.strength_outcomes,
        code=code("tabulate_robustness"),
    output:
        **run.tables_of("tabulate_robustness"),
    log:
        F("log", job="tabulate_robustness"),
    benchmark:
        F("benchmark", job="tabulate_robustness")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=8000),
    params:
        **run.resampling,
        planted=run.planted,
        folder=subpath(output.provenance, parent=True),
    shell:
        "python -m culture_neurons.steps.tabulate_robustness --samples {input.samples:q}"
        " --predictions {input.predictions:q} --outcomes {input.outcomes:q} --permuted {input.permuted:q}"
        " --strengths {input.strengths:q} --planted {params.planted:q} --replicates {params.replicates}"
        " --seed {params.seed} --out-dir {params.folder:q} --log {log:q}"


rule tabulate_sets:
    """What masks do to further data sets, and to each of their cultures."""
    input:
        # In the order of the config: tables and figures keep it.
        samples=[F("samples", of=run.set_folder(name)) for name in run.all_sets],
        predictions=run.answers,
        masks=run.all("masks", selector=run.evaluated, fraction=run.top),
        own=run.own_outcomes,
        outcomes=run.set_outcomes,
        code=code("tabulate_sets"),
    output:
        **run.tables_of("tabulate_sets"),
    log:
        F("log", job="tabulate_sets"),
    benchmark:
        F("benchmark", job="tabulate_sets")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=8000),
    params:
        **run.resampling,
        controls=sorted(run.controls),
        planted=run.planted,
        folder=subpath(output.provenance, parent=True),
    shell:
        "python -m culture_neurons.steps.tabulate_sets --samples {input.samples:q}"
        " --predictions {input.predictions:q} --masks {input.masks:q} --outcomes {input.outcomes:q}"
        " --own-outcomes {input.own:q} --random {params.controls:q} --planted {params.planted:q}"
        " --replicates {params.replicates} --seed {params.seed} --out-dir {params.folder:q} --log {log:q}"


rule tabulate_changed_answers:
    """Compare answers to the same questions, with other images or of fine-tuned models, with those of the run."""
    input:
        # In the order of the config: tables and figures keep it.
        samples=run.all("samples", of=run.asked_again),
        predictions=run.all("predictions", of=run.asked_again),
        controls=run.controlled_answers,
        finetuned=run.finetuned_answers,
        training=run.all("finetuning"),
        code=code("tabulate_changed_answers"),
    output:
        **run.tables_of("tabulate_changed_answers"),
    log:
        F("log", job="tabulate_changed_answers"),
    benchmark:
        F("benchmark", job="tabulate_changed_answers")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=8000),
    params:
        **run.resampling,
        # Where no question has an image, the table has no row.
        controls=["--controls"] * bool(run.image_controls),
        planted=run.planted,
        folder=subpath(output.provenance, parent=True),
    shell:
        "python -m culture_neurons.steps.tabulate_changed_answers --samples {input.samples:q}"
        " --predictions {input.predictions:q} {params.controls} {input.controls:q} --finetuned {input.finetuned:q}"
        " --training {input.training:q} --planted {params.planted:q} --replicates {params.replicates}"
        " --seed {params.seed} --out-dir {params.folder:q} --log {log:q}"


rule tabulate_overlaps:
    """How stable masks are, how they overlap, and whether they hurt the cultures that they share neurons with."""
    input:
        masks=run.all("masks", selector=sorted(run.at_neurons)),
        tokens=run.all("statistics", of=run.of("tokens")),
        effects=F("table", table="effects"),
        baseline=F("table", table="baseline"),
        stability=run.all("stability_cultures") if run.resampled else [],
        code=code("tabulate_overlaps", *run.modules(*run.scored_on_own)),
    output:
        **run.tables_of("tabulate_overlaps"),
    log:
        F("log", job="tabulate_overlaps"),
    benchmark:
        F("benchmark", job="tabulate_overlaps")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=4000),
    params:
        selectors=lambda w: run.described(run.scored_on_own),
        rule=config["recording"]["tokens"],
        # In the order of the config: tables and figures keep it.
        across=run.across_data,
        planted=run.planted,
        seed=run.evidence["seed"],
        folder=subpath(output.provenance, parent=True),
    shell:
        "python -m culture_neurons.steps.tabulate_overlaps --masks {input.masks:q} --effects {input.effects:q}"
        " --baseline {input.baseline:q} --token-rule {params.rule} --tokens {input.tokens:q}"
        " --selectors {params.selectors:q} --across-data {params.across:q} --stability {input.stability:q}"
        " --planted {params.planted:q} --seed {params.seed} --out-dir {params.folder:q} --log {log:q}"


rule benchmark_selectors:
    """Judge the selectors on the planted models, whose culture neurons are known; fewer questions, wrong labels."""
    input:
        statistics=run.all("statistics", of="", model=run.planted),
        planted=run.all("planted", model=run.planted),
        code=code("benchmark_selectors", *run.modules(*run.benchmarked)),
    output:
        **run.tables_of("benchmark_selectors"),
    log:
        F("log", job="benchmark_selectors"),
    benchmark:
        F("benchmark", job="benchmark_selectors")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=4000),
    params:
        **run.evidence["benchmark"],
        selectors=given({name: config["selectors"][name] for name in run.benchmarked}),
        fractions=run.fractions,
        seed=run.evidence["seed"],
        folder=subpath(output.provenance, parent=True),
    shell:
        "python -m culture_neurons.steps.benchmark_selectors --statistics {input.statistics:q}"
        " --planted {input.planted:q} --selectors {params.selectors:q} --top-fraction {params.fractions}"
        " --samples {params.samples} --noise {params.noise} --repeats {params.repeats} --seed {params.seed}"
        " --out-dir {params.folder:q} --log {log:q}"
