# Models and data from the hub into its cache on this machine; nothing of this is part of rule all.


rule prefetch:
    """Fetch what the config names on the hub; here, where there is network, also when jobs run on a cluster."""
    localrule: True
    log:
        f"{LOGS}/prefetch.log",
    conda:
        "../../envs/data.yaml"
    params:
        models=fixed(MODELS),
        sources=fixed({"data": config["data"]["source"]} | {f"evaluation: sets: {name}": part["source"] for name, part in SETS.items()} | {f"finetuning: tasks: {name}": part["source"] for name, part in TASKS.items()}),
    shell:
        "python -m culture_neurons.steps.prefetch --models {params.models:q} --sources {params.sources:q} --log {log:q}"
