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
        source=fixed(config["data"]["source"]),
    shell:
        "python -m culture_neurons.steps.prefetch --models {params.models:q} --source {params.source:q} --log {log:q}"
