# Training on a task that has nothing to do with culture, of a few modules alone; then every data set is asked again.


wildcard_constraints:
    task=one_of(TASKS),
    choice=one_of(TUNING["choices"]),
    seed=r"[0-9]+",


use rule prepare as prepare_task with:
    input:
        source=lambda wildcards: local_sources(TASKS[wildcards.task]["source"]),
        code=code("prepare"),
    output:
        samples=f"{RESULTS}/tasks/{{task}}/samples.parquet",
        dropped=f"{RESULTS}/tasks/{{task}}/dropped.csv",
        counts=f"{RESULTS}/tasks/{{task}}/counts.csv",
    log:
        f"{LOGS}/prepare_task_{{task}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_task_{{task}}.tsv"
    params:
        source=lambda wildcards: as_json(TASKS[wildcards.task]["source"]),
        filter=fixed({}),
        split=fixed({"by": "whole", "half": "identify"}),


rule finetune:
    """Train the modules of one choice on one task; what comes out is what changed."""
    input:
        samples=f"{RESULTS}/tasks/{{task}}/samples.parquet",
        mask=f"{RESULTS}/{{model}}/masks/{TUNING['selector']}_top{TOP}.parquet",
        model=model_folder,
        code=code("finetune"),
    output:
        tuned=f"{RESULTS}/{{model}}/finetuned/{{task}}_{{choice}}_{{seed}}/update.safetensors",
        training=f"{RESULTS}/{{model}}/finetuned/{{task}}_{{choice}}_{{seed}}/training.json",
    log:
        f"{LOGS}/{{model}}/finetune_{{task}}_{{choice}}_{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/finetune_{{task}}_{{choice}}_{{seed}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: model_stanza("threads")
    priority: 5 # of all that follows the masks, the longest way
    resources:
        gpu=model_stanza("gpus"),
        mem_mb=growing("mem_mb"),
        batch_size=model_stanza("batch_size"),
        device_map=device_map,
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        modules=TUNING["modules"],
        training=training_settings,
    shell:
        "python -m culture_neurons.steps.finetune --samples {input.samples:q} --mask {input.mask:q}"
        " --model {params.model:q} --prompt {params.prompt:q} --modules {params.modules}"
        " --choice {wildcards.choice} --seed {wildcards.seed} --training {params.training:q}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --update-out {output.tuned:q} --training-out {output.training:q} --log {log:q}"


rule ask_finetuned:
    """Ask one fine-tuned model the evaluate questions of every data set."""
    input:
        samples=[f"{RESULTS}/samples.parquet", *(f"{RESULTS}/sets/{name}/samples.parquet" for name in SETS)],
        tuned=f"{RESULTS}/{{model}}/finetuned/{{task}}_{{choice}}_{{seed}}/update.safetensors",
        model=model_folder,
        code=code("ask_finetuned"),
    output:
        answers=expand(
            f"{RESULTS}/{{{{model}}}}/finetuned/{{{{task}}}}_{{{{choice}}}}_{{{{seed}}}}/{{name}}.parquet",
            name=ASKED_TUNED,
        ),
    log:
        f"{LOGS}/{{model}}/ask_finetuned_{{task}}_{{choice}}_{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/ask_finetuned_{{task}}_{{choice}}_{{seed}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: model_stanza("threads")
    priority: 5 # of all that follows the masks, the longest way
    resources:
        gpu=model_stanza("gpus"),
        mem_mb=growing("mem_mb"),
        batch_size=model_stanza("batch_size"),
        device_map=device_map,
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        samples=lambda wildcards, input: named(dict(zip(ASKED_TUNED, input.samples))),
    shell:
        "python -m culture_neurons.steps.ask_finetuned --samples {params.samples:q} --update {input.tuned:q}"
        " --model {params.model:q} --prompt {params.prompt:q}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --answers-out {output.answers:q} --log {log:q}"


rule tabulate_finetuning:
    """Compare the answers before and after, and the choices of modules with each other."""
    input:
        samples=[f"{RESULTS}/samples.parquet", *(f"{RESULTS}/sets/{name}/samples.parquet" for name in SETS)],
        predictions=answers_before().values(),
        answers=tuned_answers().values(),
        training=tuned_files("training.json").values(),
        code=code("tabulate_finetuning"),
    output:
        table=f"{RESULTS}/tables/finetuning.csv",
        modules=f"{RESULTS}/tables/finetuning_modules.csv",
        provenance=f"{RESULTS}/tables/provenance_finetuning.json",
    log:
        f"{LOGS}/tabulate_finetuning.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_finetuning.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        samples=lambda wildcards, input: named(dict(zip(ASKED_TUNED, input.samples))),
        predictions=named(answers_before()),
        answers=named(tuned_answers()),
        training=named(tuned_files("training.json")),
        planted=sorted(PLANTED),
        replicates=EVIDENCE["replicates"],
        seed=EVIDENCE["seed"],
    shell:
        "python -m culture_neurons.steps.tabulate_finetuning --samples {params.samples:q}"
        " --predictions {params.predictions:q} --answers {params.answers:q} --training {params.training:q}"
        " --planted {params.planted:q} --replicates {params.replicates} --seed {params.seed}"
        " --out {output.table:q} --modules-out {output.modules:q} --provenance-out {output.provenance:q} --log {log:q}"
