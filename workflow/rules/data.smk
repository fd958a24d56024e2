# Data set -> questions that count, split in two.


rule prepare:
    """Read a data set, drop what can't be used with a reason, and split the rest into identify and evaluate."""
    input:
        source=lambda w: run.local_files(run.source(w.of)[0]),
        judging=lambda w: run.all("samples", of=run.judged_elsewhere(w.of)),
        code=code("prepare"),
    output:
        samples=F("samples"),
        dropped=F("dropped"),
        counts=F("counts"),
    wildcard_constraints:
        of=one_of(run.of("own", "mentions", "choose", "sets", "tasks")),
    log:
        F("log", job="{of}prepare"),
    benchmark:
        F("benchmark", job="{of}prepare")
    conda:
        "../../envs/data.yaml"
    threads: lambda w: run.prepare_threads(w.of)
    priority: 20 # before models are trained: all else waits for it
    resources:
        **cpu(minutes=120, mb=4000), # decodes every image once
    params:
        source=lambda w: as_json(run.source(w.of)[0]),
        filter=lambda w: as_json(run.source(w.of)[1]),
        split=lambda w: as_json(run.source(w.of)[2]),
    shell:
        "python -m culture_neurons.steps.prepare --source {params.source:q} --filter {params.filter:q}"
        " --split {params.split:q} --judging {input.judging:q} --threads {threads} --samples-out {output.samples:q}"
        " --dropped-out {output.dropped:q} --counts-out {output.counts:q} --log {log:q}"
