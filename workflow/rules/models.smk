# Demo models, where no weights can be downloaded: one per real architecture, and a positive control.


rule train:
    """Train a demo model to the asked accuracy on held-out images; the dev split decides, never evaluate."""
    input:
        code=code("train"),
    output:
        model=directory(f"{RESULTS}/{{model}}/model"),
    wildcard_constraints:
        model=one_of(name for name in TRAINED if name not in PLANTED),
    log:
        f"{LOGS}/{{model}}/train.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/train.tsv"
    conda:
        "../../envs/model.yaml"
    # Sums in another order would train another model: one thread, or two for a language model, which find two gradients
    # side by side.
    threads: 2 if config["data"]["source"]["type"] == "synthetic-text" else 1
    priority: 10
    resources:
        mem_mb=2000,
    params:
        source=fixed(config["data"]["source"]),
        prompt=fixed(config["prompt"]),
        architecture=lambda wildcards: MODELS[wildcards.model]["train"]["architecture"],
        options=train_options,
    shell:
        "python -m culture_neurons.steps.train --source {params.source:q} --prompt {params.prompt:q}"
        " --architecture {params.architecture} --options {params.options:q}"
        " --out {output.model:q} --log {log:q}"


rule plant:
    """Plant culture neurons in a trained model: the positive control, whose answer is known."""
    input:
        start=planted_start,
        code=code("train"),
    output:
        model=directory(f"{RESULTS}/{{model}}/model"),
        planted=f"{RESULTS}/{{model}}/planted.csv",
    wildcard_constraints:
        model=one_of(PLANTED),
    log:
        f"{LOGS}/{{model}}/plant.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/plant.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 1
    priority: 10
    resources:
        mem_mb=2000,
    params:
        source=fixed(config["data"]["source"]),
        prompt=fixed(config["prompt"]),
        architecture=lambda wildcards: MODELS[wildcards.model]["train"]["architecture"],
        options=train_options,
        start=lambda wildcards, input: ["--init", input.start] if input.start else [],
    shell:
        "python -m culture_neurons.steps.train --plant --source {params.source:q} --prompt {params.prompt:q}"
        " --architecture {params.architecture} --options {params.options:q} {params.start:q}"
        " --out {output.model:q} --planted-out {output.planted:q} --log {log:q}"
