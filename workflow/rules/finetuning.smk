# Training on a task that has nothing to do with culture, of a few modules alone; then every data set is asked again.


rule finetune:
    """Train the modules of one choice on one task; what comes out is what changed."""
    input:
        samples=lambda w: F("samples", of=f"tasks/{w.task}/"),
        mask=F("masks", selector=run.tuning["selector"], fraction=run.top),
        model=lambda w: run.model_files(w.model),
        code=code("finetune"),
    output:
        tuned=F("update"),
        training=F("finetuning"),
    wildcard_constraints:
        task=one_of(run.tasks),
    log:
        F("log", job="{model}/finetune_{task}_{choice}_{seed}"),
    benchmark:
        F("benchmark", job="{model}/finetune_{task}_{choice}_{seed}")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    priority: 5 # of all that follows the masks, the longest way
    resources:
        **model_job(minutes=480),
    params:
        **MODEL,
        modules=run.tuning["modules"],
        training=lambda w: run.finetuning_settings(w.task),
    shell:
        ask(
            "python -m culture_neurons.steps.finetune --samples {input.samples:q} --mask {input.mask:q}"
            " --modules {params.modules} --choice {wildcards.choice} --seed {wildcards.seed}"
            " --training {params.training:q} --update-out {output.tuned:q} --training-out {output.training:q}"
        )


rule infer_finetuned:
    """Ask one fine-tuned model the evaluate questions of every data set."""
    input:
        samples=[F("samples", of=run.set_folder(name)) for name in run.all_sets],
        tuned=F("update"),
        model=lambda w: run.model_files(w.model),
        code=code("infer_finetuned"),
    output:
        answers=[F("finetuned_answers", set=name) for name in run.all_sets],
    wildcard_constraints:
        task=one_of(run.tasks),
    log:
        F("log", job="{model}/infer_finetuned_{task}_{choice}_{seed}"),
    benchmark:
        F("benchmark", job="{model}/infer_finetuned_{task}_{choice}_{seed}")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    priority: 5 # of all that follows the masks, the longest way
    resources:
        **model_job(minutes=480),
    params:
        **MODEL,
    shell:
        ask(
            "python -m culture_neurons.steps.infer_finetuned --samples {input.samples:q} --update {input.tuned:q}"
            " --answers-out {output.answers:q}"
        )
