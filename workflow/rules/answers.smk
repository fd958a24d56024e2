# Questions + model -> answers without masks.


rule infer:
    """Ask one model the questions of one shard: of the run, or of a further data set."""
    input:
        samples=F("samples"),
        model=lambda w: run.model_files(w.model),
        code=code("infer"),
    output:
        answers=temp(F("answers")),
    wildcard_constraints:
        of=one_of(run.of("own", "choose", "sets")),
    log:
        F("log", job="{model}/{of}infer_{shard}"),
    benchmark:
        F("benchmark", job="{model}/{of}infer_{shard}")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    resources:
        **model_job(minutes=240),
        # Checked before anything is asked. No parameter: a selector by attribution that is added asks nothing again.
        sites=lambda wildcards: " ".join(run.attributed_sites) or "none",
        # Answers that other runs have are those that it would get, so that a change of them reruns nothing.
        reuse=os.pathsep.join(config["reuse"]) or "none",
    params:
        **MODEL,
        shards=run.shards["infer"],
    shell:
        ask(
            "python -m culture_neurons.steps.infer --samples {input.samples:q} --shard {wildcards.shard}"
            " --shards {params.shards} --check-sites {resources.sites} --reuse {resources.reuse:q}"
            " --answers-out {output.answers:q}"
        )


rule gather_answers:
    """Put the answers of all shards together."""
    localrule: True # it takes a second, also when other jobs wait in a cluster's queue
    input:
        shards=[F("answers", shard=shard) for shard in range(run.shards["infer"])],
        code=code("gather_answers"),
    output:
        predictions=F("predictions"),
    wildcard_constraints:
        of=one_of(run.of("own", "choose", "sets")),
    log:
        F("log", job="{model}/{of}gather_answers"),
    benchmark:
        F("benchmark", job="{model}/{of}gather_answers")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=10, mb=2000),
    shell:
        "python -m culture_neurons.steps.gather_answers --shards {input.shards:q} --out {output.predictions:q}"
        " --log {log:q}"


rule infer_image_controls:
    """Ask one model the evaluate questions again with grey images, without any, and with those of other cultures."""
    input:
        samples=F("samples"),
        model=lambda w: run.model_files(w.model),
        code=code("infer_image_controls"),
    output:
        # A rule needs an output, also where no file of it is asked for.
        answers=[F("image_control", control=control) for control in run.image_controls or ["no"]],
    wildcard_constraints:
        of=one_of(run.with_images),
    log:
        F("log", job="{model}/{of}infer_image_controls"),
    benchmark:
        F("benchmark", job="{model}/{of}infer_image_controls")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    resources:
        **model_job(minutes=240),
    params:
        **MODEL,
    shell:
        ask(
            "python -m culture_neurons.steps.infer_image_controls --samples {input.samples:q}"
            " --answers-out {output.answers:q}"
        )
