# Right answers -> activation statistics per sample.


rule record:
    """Record one shard of the right answers: to the run's identify questions, or to a data set that chooses neurons."""
    input:
        samples=lambda w: F("samples", of=run.samples_folder(w.of)),
        predictions=lambda w: F("predictions", model=w.model, of=run.samples_folder(w.of)),
        model=lambda w: run.model_files(w.model),
        code=code("record"),
    output:
        statistics=temp(F("statistics_shard")),
    wildcard_constraints:
        of=one_of(run.of("own", "choose", "tokens")),
    log:
        F("log", job="{model}/{of}record_{shard}"),
    benchmark:
        F("benchmark", job="{model}/{of}record_{shard}")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    resources:
        **model_job(minutes=240),
    params:
        **MODEL,
        site=config["recording"]["site"],
        tokens=lambda w: run.token_rule(w.of),
        min_correct=config["recording"]["min_correct"],
        mantissa_bits=config["recording"]["mantissa_bits"],
        negative_sum=["--negative-sum"] * config["recording"]["negative_sum"],
        options=["--options"] * config["recording"]["options"],
        shards=run.shards["record"],
    shell:
        ask(
            "python -m culture_neurons.steps.record --samples {input.samples:q} --predictions {input.predictions:q}"
            " --site {params.site} --token-rule {params.tokens} --min-correct {params.min_correct}"
            " --mantissa-bits {params.mantissa_bits} {params.negative_sum} {params.options} --shard {wildcards.shard}"
            " --shards {params.shards} --statistics-out {output.statistics:q}"
        )


rule merge:
    """Merge the shards into one file per model, data set and token rule."""
    input:
        shards=[F("statistics_shard", shard=shard) for shard in range(run.shards["record"])],
        code=code("merge"),
    output:
        statistics=F("statistics"),
    wildcard_constraints:
        of=one_of(run.of("own", "choose", "tokens")),
    log:
        F("log", job="{model}/{of}merge"),
    benchmark:
        F("benchmark", job="{model}/{of}merge")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=4000),
    shell:
        "python -m culture_neurons.steps.merge --shards {input.shards:q} --statistics-out {output.statistics:q}"
        " --log {log:q}"
