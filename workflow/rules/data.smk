# Data set -> questions that count, split in two.


rule prepare:
    """Read the data set, drop what can't be used with a reason, and split the rest into identify and evaluate."""
    input:
        source=local_sources(config["data"]["source"]),
        code=code("prepare"),
    output:
        samples=f"{RESULTS}/samples.parquet",
        dropped=f"{RESULTS}/dropped.csv",
        counts=f"{RESULTS}/counts.csv",
    log:
        f"{LOGS}/prepare.log",
    benchmark:
        f"{BENCHMARKS}/prepare.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 2
    resources:
        mem_mb=4000,
    params:
        source=fixed(config["data"]["source"]),
        filter=fixed(config["data"]["filter"]),
        split=fixed(config["data"]["split"]),
    shell:
        "python -m culture_neurons.steps.prepare --source {params.source:q} --filter {params.filter:q}"
        " --split {params.split:q} --threads {threads} --samples-out {output.samples:q}"
        " --dropped-out {output.dropped:q} --counts-out {output.counts:q} --log {log:q}"


use rule prepare as prepare_mentions with:
    input:
        source=local_sources(MENTIONS or {}),
        code=code("prepare"),
    output:
        samples=f"{RESULTS}/mentions/samples.parquet",
        dropped=f"{RESULTS}/mentions/dropped.csv",
        counts=f"{RESULTS}/mentions/counts.csv",
    log:
        f"{LOGS}/prepare_mentions.log",
    benchmark:
        f"{BENCHMARKS}/prepare_mentions.tsv"
    params:
        source=fixed(MENTIONS),
        filter=fixed({}),
        split=fixed({"by": "whole", "half": "identify"}),
