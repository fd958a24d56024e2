# Masks + questions -> answers under ablation: of the run's own questions, of further data sets, and, to see how robust
# the first are, under other strengths and under masks of shuffled labels. {of} says which of them.


rule ablate:
    """Ask the questions of one shard again, under the masks of one shard of one group of selectors."""
    input:
        samples=lambda w: F("samples", of=run.samples_folder(w.of)),
        masks=lambda w: run.group_masks(w.model, w.of, w.group),
        permuted=lambda w: run.group_permuted(w.model, w.of, w.group),
        model=lambda w: run.model_files(w.model),
        code=code("ablate"),
    output:
        outcomes=temp(F("outcomes_shard")),
    wildcard_constraints:
        of=one_of(run.mask_folders),
        group=one_of(run.all_groups),
    log:
        F("log", job="{model}/{of}ablate_{group}_{mask_shard}-{shard}"),
    benchmark:
        F("benchmark", job="{model}/{of}ablate_{group}_{mask_shard}-{shard}")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    resources:
        **model_job(minutes=720),
    params:
        **MODEL,
        factors=lambda w: run.group_factors(w.of),
        shards=run.shards["ablate"],
        mask_shards=run.shards["ablate_masks"],
    shell:
        ask(
            "python -m culture_neurons.steps.ablate --samples {input.samples:q} --masks {input.masks:q}"
            " --factors {params.factors} --permuted {input.permuted:q} --shard {wildcards.shard} --shards {params.shards}"
            " --mask-shard {wildcards.mask_shard} --mask-shards {params.mask_shards}"
            " --outcomes-out {output.outcomes:q}"
        )


rule gather_outcomes:
    """Put the answers under one selector's masks of one size, or at one strength, together."""
    localrule: True # it takes a second, also when other jobs wait in a cluster's queue
    input:
        shards=lambda w: run.group_shards(w.model, w.of, w.selector),
        code=code("gather_outcomes"),
    output:
        outcomes=F("outcomes"),
    wildcard_constraints:
        of=one_of(run.mask_folders),
        variant=one_of(run.all_variants),
    log:
        F("log", job="{model}/{of}gather_outcomes_{selector}_{variant}"),
    benchmark:
        F("benchmark", job="{model}/{of}gather_outcomes_{selector}_{variant}")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=10, mb=2000),
    params:
        number=lambda w: run.mask_number(w.of, w.selector, w.variant),
    shell:
        "python -m culture_neurons.steps.gather_outcomes --shards {input.shards:q} --mask-file {params.number}"
        " --out {output.outcomes:q} --log {log:q}"
