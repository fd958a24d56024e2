# Outcomes -> tables -> figures and report.
from culture_neurons.report import registry

FIGURES = registry.figures_of(run)


rule tabulate:
    """Put the outcomes of all models into tables; with intervals, tests and what the evidence says."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        predictions=[f"{RESULTS}/{model}/predictions.parquet" for model in sorted(MODELS)],
        masks=per_mask_file("masks").values(),
        outcomes=per_mask_file("ablation").values(),
        planted=[f"{RESULTS}/{model}/planted.csv" for model in PLANTED],
        code=code("tabulate"),
    output:
        TABLES,
        f"{RESULTS}/tables/cultures.csv",
        f"{RESULTS}/tables/differences.csv",
        PROVENANCE[0],
    log:
        f"{LOGS}/tabulate.log",
    benchmark:
        f"{BENCHMARKS}/tabulate.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        predictions=named({model: f"{RESULTS}/{model}/predictions.parquet" for model in sorted(MODELS)}),
        masks=named(per_mask_file("masks")),
        outcomes=named(per_mask_file("ablation")),
        planted=named({model: f"{RESULTS}/{model}/planted.csv" for model in PLANTED}),
        controls=sorted(CONTROLS),
        replicates=EVIDENCE["replicates"],
        seed=EVIDENCE["seed"],
        folder=subpath(output[0], parent=True),
    shell:
        "python -m culture_neurons.steps.tabulate --samples {input.samples:q} --predictions {params.predictions:q}"
        " --masks {params.masks:q} --ablations {params.outcomes:q} --planted {params.planted:q}"
        " --random {params.controls:q} --replicates {params.replicates} --seed {params.seed}"
        " --out-dir {params.folder:q} --log {log:q}"


rule tabulate_again:
    """Put the outcomes of shuffled labels and of other strengths into tables."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        predictions=[f"{RESULTS}/{model}/predictions.parquet" for model in sorted(MODELS)],
        outcomes=[path for kind in ("plain", "permuted", "strength") for path in again(kind).values()],
        code=code("tabulate_again"),
    output:
        expand(f"{RESULTS}/tables/{{name}}.csv", name=["permutations", "strengths"]),
        f"{RESULTS}/tables/provenance_again.json",
    log:
        f"{LOGS}/tabulate_again.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_again.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        predictions=named({model: f"{RESULTS}/{model}/predictions.parquet" for model in sorted(MODELS)}),
        plain=named(again("plain")),
        permuted=named(again("permuted")),
        strengths=named(again("strength")),
        planted=sorted(PLANTED),
        replicates=EVIDENCE["replicates"],
        seed=EVIDENCE["seed"],
        folder=subpath(output[0], parent=True),
    shell:
        "python -m culture_neurons.steps.tabulate_again --samples {input.samples:q}"
        " --predictions {params.predictions:q} --plain {params.plain:q} --permuted {params.permuted:q}"
        " --strengths {params.strengths:q} --planted {params.planted:q} --replicates {params.replicates}"
        " --seed {params.seed} --out-dir {params.folder:q} --log {log:q}"


rule tabulate_images:
    """Compare answers with a grey image, and without one, with those to the questions as they are."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        predictions=[f"{RESULTS}/{model}/predictions.parquet" for model in sorted(MODELS)],
        controls=image_control_files().values(),
        code=code("tabulate_images"),
    output:
        table=f"{RESULTS}/tables/images.csv",
        provenance=f"{RESULTS}/tables/provenance_images.json",
    log:
        f"{LOGS}/tabulate_images.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_images.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        predictions=named({model: f"{RESULTS}/{model}/predictions.parquet" for model in sorted(MODELS)}),
        controls=named(image_control_files()),
        planted=sorted(PLANTED),
        replicates=config["evidence"]["replicates"],
        seed=config["evidence"]["seed"],
    shell:
        "python -m culture_neurons.steps.tabulate_images --samples {input.samples:q}"
        " --predictions {params.predictions:q} --controls {params.controls:q} --planted {params.planted:q}"
        " --replicates {params.replicates} --seed {params.seed}"
        " --out {output.table:q} --provenance-out {output.provenance:q} --log {log:q}"


rule figures:
    """Draw and caption all figures, from the tables alone."""
    input:
        tables=[*TABLES, *more_tables()],
        code=code("figures"),
    output:
        [
            report(
                multiext(f"{RESULTS}/figures/{figure.stem}", ".pdf", ".png"),
                category=figure.model or "all models",
                subcategory=figure.selector,
                caption="../report/figures.rst",
            )
            for figure in FIGURES
        ],
        captions=f"{RESULTS}/figures/captions.rst",
    log:
        f"{LOGS}/figures.log",
    benchmark:
        f"{BENCHMARKS}/figures.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 2
    resources:
        mem_mb=2000,
    params:
        tables=tables_folder,
        more=MORE,
        figures=lambda wildcards: registry.write_list(FIGURES),
        selectors=SHOWN,
        top=TOP,
        folder=subpath(output.captions, parent=True),
    shell:
        "python -m culture_neurons.steps.figures --tables {params.tables:q} --more {params.more:q}"
        " --figures {params.figures:q} --selectors {params.selectors:q} --top-fraction {params.top}"
        " --threads {threads} --out-dir {params.folder:q} --log {log:q}"


rule latex:
    """Write tables for a paper."""
    input:
        tables=[*TABLES, *(f"{RESULTS}/tables/sets.csv" for _ in JUDGED[:1])],
        code=code("latex"),
    output:
        summary=f"{RESULTS}/tables/summary.tex",
        drops=f"{RESULTS}/tables/drops.tex",
        sets=[f"{RESULTS}/tables/sets.tex"] if JUDGED else [],
    log:
        f"{LOGS}/latex.log",
    benchmark:
        f"{BENCHMARKS}/latex.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        tables=tables_folder,
        # The selector of the cards first: the table of cultures shows one.
        selectors=sorted(SHOWN, key=lambda name: name != CARD_SELECTOR),
        top=TOP,
    shell:
        "python -m culture_neurons.steps.latex --tables {params.tables:q} --selectors {params.selectors:q}"
        " --top-fraction {params.top} --summary {output.summary:q} --drops {output.drops:q} --sets {output.sets:q}"
        " --log {log:q}"


rule cards:
    """Describe the strongest neurons of each culture of a model, one by one."""
    input:
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        mask=f"{RESULTS}/{{model}}/masks/{CARD_SELECTOR}_top{TOP}.parquet",
        scores=[f"{RESULTS}/{{model}}/scores/{name}.h5" for name in SCORED],
        samples=f"{RESULTS}/samples.parquet",
        planted=planted_file,
        stability=stability_file,
        code=code("cards"),
    output:
        cards=f"{RESULTS}/{{model}}/cards.json",
    log:
        f"{LOGS}/{{model}}/cards.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/cards.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        selector=CARD_SELECTOR,
        top=TOP,
        scores=lambda wildcards: [
            f"{name}={RESULTS}/{wildcards.model}/scores/{name}.h5" for name in SCORED
        ],
        known=lambda wildcards, input: [
            *(f"--planted={path}" for path in input.planted), *(f"--stability={path}" for path in input.stability)
        ],
        cards=CARDS,
        resamples=config["evidence"]["resamples"],
        seed=config["evidence"]["seed"],
    shell:
        "python -m culture_neurons.steps.cards --statistics {input.statistics:q} --mask {input.mask:q}"
        " --selector {params.selector:q} --top-fraction {params.top} --scores {params.scores:q}"
        " --samples {input.samples:q} {params.known:q} --count {params.cards} --resamples {params.resamples}"
        " --seed {params.seed} --out {output.cards:q} --log {log:q}"


rule report:
    """Write the one self-contained page."""
    input:
        tables=[*TABLES, *more_tables(), *PROVENANCE],
        figures=[f"{RESULTS}/figures/{figure.stem}.{suffix}" for figure in FIGURES for suffix in ("pdf", "png")],
        dropped=f"{RESULTS}/dropped.csv",
        counts=f"{RESULTS}/counts.csv",
        models=[f"{RESULTS}/{model}/model" for model in TRAINED],
        cards=card_files().values(),
        code=code("report"),
    output:
        page=f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        run=fixed(run_settings()),
        tables=tables_folder,
        more=MORE,
        figures=lambda wildcards, input: os.path.dirname(input.figures[0]),
        shown=lambda wildcards: registry.write_list(FIGURES),
        cards=named(card_files()),
        training=named({model: f"{RESULTS}/{model}/model/training.json" for model in TRAINED}),
    shell:
        "python -m culture_neurons.steps.report --tables {params.tables:q} --more {params.more:q}"
        " --figures {params.figures:q} --show {params.shown:q} --dropped {input.dropped:q} --counts {input.counts:q} --run {params.run:q}"
        " --training {params.training:q} --cards {params.cards:q} --out {output.page:q} --log {log:q}"
