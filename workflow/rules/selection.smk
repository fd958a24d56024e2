# Statistics -> scores and masks per selector; masks by attribution; masks of other projects; masks of shuffled labels.


MASKS = [F("masks", fraction=fraction) for fraction in run.fractions]


rule select:
    """Score every neuron for every culture with one selector, and choose the top fractions of all neurons."""
    input:
        statistics=lambda w: F("statistics", model=w.model, of=run.choosing_folder(w.selector)),
        references=lambda w: run.references(w.model, w.selector),
        code=lambda w: code("select", *run.modules(w.selector)),
    output:
        scores=F("scores"),
        masks=MASKS,
    wildcard_constraints:
        selector=one_of(run.from_statistics),
    log:
        F("log", job="{model}/select_{selector}"),
    benchmark:
        F("benchmark", job="{model}/select_{selector}")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=30, mb=4000),
    params:
        method=lambda w: run.methods[w.selector],
        entry=lambda w: run.registry_entry(w.selector),
        options=lambda w: as_json(run.selectors[w.selector]),
        chosen_on=lambda w: run.chosen_on(w.selector),
        fractions=run.fractions,
    shell:
        "python -m culture_neurons.steps.select --statistics {input.statistics:q} --selector {params.method}"
        " --options {params.options:q} --chosen-on {params.chosen_on:q} --top-fraction {params.fractions}"
        " --reference {input.references:q}"
        " --scores-out {output.scores:q} --masks-out {output.masks:q} --log {log:q}"


rule attribute:
    """Attribute the right answers of one shard to units: of the identify questions, their controls, or mentions."""
    input:
        samples=lambda w: F("samples", of="mentions/" if w.kind == "mentions" else ""),
        # For the cultures that are recorded, so that all selectors judge the same ones.
        predictions=F("predictions", of=""),
        model=lambda w: run.model_files(w.model),
        code=code("attribute"),
    output:
        attributions=F("attributions"),
    wildcard_constraints:
        kind=one_of(run.attributions),
    log:
        F("log", job="{model}/attribute_{kind}_{shard}"),
    benchmark:
        F("benchmark", job="{model}/attribute_{kind}_{shard}")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    resources:
        **model_job(minutes=480),
    params:
        **MODEL,
        sites=run.attributed_sites,
        control=lambda w: ["--control"] * (w.kind == "controls"),
        min_correct=config["recording"]["min_correct"],
        shards=run.shards["record"],
    shell:
        ask(
            "python -m culture_neurons.steps.attribute --samples {input.samples:q} --predictions {input.predictions:q}"
            " --sites {params.sites} {params.control} --min-correct {params.min_correct} --shard {wildcards.shard}"
            " --shards {params.shards} --attributions-out {output.attributions:q}"
        )


rule select_units:
    """Choose units of projections by attribution; or at random, as many per projection and layer as such a selector."""
    input:
        questions=lambda w: run.attribution_files(w.model, w.selector, "questions"),
        controls=lambda w: run.attribution_files(w.model, w.selector, "controls"),
        mentions=lambda w: run.attribution_files(w.model, w.selector, "mentions"),
        references=lambda w: run.references(w.model, w.selector),
        code=code("select_units"),
    output:
        masks=MASKS,
    wildcard_constraints:
        selector=one_of([*run.attributed, *run.matched]),
    log:
        F("log", job="{model}/select_units_{selector}"),
    benchmark:
        F("benchmark", job="{model}/select_units_{selector}")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=20, mb=4000),
    params:
        method=lambda w: run.methods[w.selector],
        options=lambda w: as_json(run.selectors[w.selector]),
        fractions=run.fractions,
    shell:
        "python -m culture_neurons.steps.select_units --selector {params.method} --options {params.options:q}"
        " --attributions {input.questions:q} --control {input.controls:q} --mention {input.mentions:q}"
        " --reference {input.references:q} --top-fraction {params.fractions} --out {output.masks:q} --log {log:q}"


rule import_masks:
    """Take over the masks of another project; they have a size of their own, the same for all top fractions."""
    input:
        masks=lambda w: run.selectors[w.selector]["masks"][w.model],
        # For the model's revision and size, and the cultures that were recorded.
        statistics=F("statistics", of=""),
        samples=F("samples", of=""),
        code=code("import_masks"),
    output:
        masks=MASKS,
    wildcard_constraints:
        selector=one_of(run.imported),
    log:
        F("log", job="{model}/import_masks_{selector}"),
    benchmark:
        F("benchmark", job="{model}/import_masks_{selector}")
    conda:
        "../../envs/model.yaml"
    threads: 1
    resources:
        **cpu(minutes=10, mb=4000),
    params:
        cultures=lambda w: run.selectors[w.selector]["cultures"],
        fractions=run.fractions,
    shell:
        "python -m culture_neurons.steps.import_masks --masks {input.masks:q} --cultures {params.cultures:q}"
        " --statistics {input.statistics:q} --samples {input.samples:q} --top-fraction {params.fractions}"
        " --out {output.masks:q} --log {log:q}"


rule permute:
    """Choose neurons again and again under shuffled culture labels, one selector at the top fraction shown."""
    input:
        statistics=F("statistics", of=""),
        samples=F("samples", of=""),
        code=lambda w: code("permute", *run.modules(w.selector)),
    output:
        masks=F("permuted_masks"),
    wildcard_constraints:
        selector=one_of(run.repeated),
    log:
        F("log", job="{model}/permute_{selector}"),
    benchmark:
        F("benchmark", job="{model}/permute_{selector}")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=120, mb=6000), # ten seconds per permutation of a 7B model
    params:
        method=lambda w: run.methods[w.selector],
        entry=lambda w: run.registry_entry(w.selector),
        options=lambda w: as_json(run.selectors[w.selector]),
        top=run.top,
        permutations=run.permutations,
        seed=run.evidence["seed"],
    shell:
        "python -m culture_neurons.steps.permute --statistics {input.statistics:q} --samples {input.samples:q}"
        " --selector {params.method} --options {params.options:q} --top-fraction {params.top}"
        " --permutations {params.permutations} --seed {params.seed} --out {output.masks:q} --log {log:q}"


rule stability:
    """Would other samples have chosen the same neurons? Choose again on resamples of a model's, and on halves of them."""
    input:
        statistics=F("statistics", of=""),
        samples=F("samples", of=""),
        masks=lambda w: run.all("masks", model=w.model, selector=run.resampled),
        code=code("stability", *run.modules(*run.resampled)),
    output:
        neurons=F("stability"),
        cultures=F("stability_cultures"),
    log:
        F("log", job="{model}/stability"),
    benchmark:
        F("benchmark", job="{model}/stability")
    conda:
        "../../envs/analysis.yaml"
    threads: lambda w: min(2, run.models[w.model]["threads"]) # more would need more memory
    resources:
        **cpu(minutes=120, mb=6000), # a second or two per resample of a 7B model
    params:
        selectors=lambda w: run.described(run.resampled),
        resamples=run.evidence["resamples"],
        halves=run.evidence["split_halves"],
        seed=run.evidence["seed"],
    shell:
        "python -m culture_neurons.steps.stability --statistics {input.statistics:q} --samples {input.samples:q}"
        " --selectors {params.selectors:q} --masks {input.masks:q} --resamples {params.resamples}"
        " --split-halves {params.halves} --seed {params.seed} --threads {threads}"
        " --neurons-out {output.neurons:q} --cultures-out {output.cultures:q} --log {log:q}"
