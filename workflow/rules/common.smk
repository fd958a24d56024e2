# What the rules share: the checked config, names of files, wildcard constraints, and inputs.
import json
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

SOURCE = os.path.relpath(os.path.join(workflow.basedir, "src"))
# Steps run as `python -m culture_neurons.steps.X`: with this Python (a conda environment comes before it), and
# with the package found in src, in conda environments and on cluster nodes too.
sys.path.insert(0, SOURCE)
for variable, folder in [("PYTHONPATH", os.path.abspath(SOURCE)), ("PATH", os.path.dirname(sys.executable))]:
    before = os.environ.get(variable, "").split(os.pathsep)
    os.environ[variable] = os.pathsep.join([folder, *(path for path in before if path and path != folder)])
# Compute nodes of a cluster often reach no network: there a job takes what `snakemake prefetch` has put into the hub's
# cache, and says at once what is missing. HF_HUB_OFFLINE=0 in the environment lets jobs ask the hub.
if "SLURM_JOB_ID" in os.environ:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

from culture_neurons import config as settings
from culture_neurons import selectors, slurm
from culture_neurons.errors import CultureNeuronsError
from culture_neurons.provenance import ROOT, closure

SCHEMA = os.path.join(workflow.basedir, "workflow", "schemas", "config.schema.yaml")
try:
    settings.check(config, settings.read_schema(SCHEMA))
except CultureNeuronsError as error:
    raise WorkflowError(f"config: {error}")
validate(config, SCHEMA)

RESULTS = f"results/{config['dataset']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
MODELS = config["models"]
TRAINED = [name for name, model in MODELS.items() if "train" in model]
PLANTED = [name for name in TRAINED if MODELS[name]["train"].get("plant")]
SELECTORS = {name: dict(options or {}) for name, options in config["selectors"].items()}
METHODS = {name: options.pop("method", name) for name, options in SELECTORS.items()}
IMPORTED = [name for name, method in METHODS.items() if method == settings.IMPORTED]
#: Selectors by attribution; neither they nor masks of another project have scores.
ATTRIBUTED = [name for name, method in METHODS.items() if method in settings.CULNIG]
SCORELESS = IMPORTED + ATTRIBUTED
CONTROLS = [name for name, method in METHODS.items() if name not in SCORELESS and selectors.resolve(method).control]
SHOWN = [name for name in SELECTORS if name not in CONTROLS]
#: Random controls of selectors by attribution: as many units per projection and layer, without scores either.
MATCHED = [name for name in CONTROLS if SELECTORS[name].get("match") in ATTRIBUTED]
#: Questions that merely mention a culture: units that answer to its name are left out by selectors by attribution.
MENTIONS = config["data"]["mentions"] if ATTRIBUTED else None
#: Where units are attributed, and of what: the identify questions, their options alone, and mere mentions.
ATTRIBUTED_SITES = ["gate_proj", "q_proj", "k_proj", "v_proj"]
ATTRIBUTIONS = ["questions", "controls"] + ["mentions"] * bool(MENTIONS)
#: Further data sets that masks are judged on; all that are asked, the run's own among them; what masks do there; and
#: whose masks.
SETS = config["evaluation"]["sets"]
ASKED = [config["dataset"], *SETS] if SETS else []
FACTORS = [f"{factor:g}" for factor in config["evaluation"]["factors"]]
#: Tasks that a few modules are trained on, as the choice of modules and the seed stand in file names; and what is asked
#: of the trained models.
TUNING = config["finetuning"]
TASKS = TUNING["tasks"]
TUNED = [f"{task}_{choice}_{seed}" for task in TASKS for choice in TUNING["choices"] for seed in TUNING["seeds"]]
ASKED_TUNED = [config["dataset"], *SETS]
JUDGED = sorted(config["evaluation"]["selectors"] or SELECTORS) if SETS else []
FRACTIONS = [settings.fraction_text(fraction) for fraction in config["top_fractions"]]
TOP = settings.fraction_text(config["figures"].get("top_fraction", config["top_fractions"][0]))
#: Keys of a model's stanza that say how jobs run, and not what is loaded.
JOB_KEYS = ("train", "batch_size", "device_map", "threads", "gpus", "mem_mb")
SHARDS = config["shards"]
NEGATIVE_SUM = ["--negative-sum"] * config["recording"]["negative_sum"]
EVIDENCE = config["evidence"]
#: Selectors whose chain is repeated, and the strengths of ablation as they stand in file names.
STRENGTHS = [f"{strength:g}" for strength in EVIDENCE["strengths"]]
AGAIN = EVIDENCE["selectors"] if STRENGTHS or EVIDENCE["permutations"] else []
#: Image controls: ways to ask the evaluate questions without what their images show.
IMAGE_CONTROLS = EVIDENCE["image_controls"]
#: How selectors are judged on planted models.
BENCHMARK = EVIDENCE["benchmark"]
#: Selectors with scores of their own; those that are run again on redrawn samples, and on other token rules.
SCORED = [name for name in SHOWN if name not in SCORELESS]
REDRAWN = SCORED if EVIDENCE["resamples"] or EVIDENCE["split_halves"] else []
TOKEN_RULES = EVIDENCE["token_rules"] if SCORED else []
TABLES = [f"{RESULTS}/tables/{name}.csv" for name in ("effects", "summary", "layers", "baseline", "evidence", "planted")]
#: Further tables that figures and report show, by the file that says what made them: names of `figures.tables.OPTIONAL`.
FURTHER = {
    "provenance": ["cultures", "differences"],
    "provenance_again": ["permutations", "strengths"] * bool(AGAIN),
    "provenance_benchmark": ["benchmark"] * bool(PLANTED and BENCHMARK["repeats"]),
    "provenance_finetuning": ["finetuning", "finetuning_modules"] * bool(TASKS),
    "provenance_images": ["images"] * bool(IMAGE_CONTROLS),
    "provenance_overlaps": ["overlaps", "related"] * any(name not in ATTRIBUTED for name in SHOWN),
    "provenance_sets": ["sets", "sets_effects", "sets_transfer"] * bool(JUDGED),
    "provenance_stability": ["stability"] * bool(REDRAWN),
}
MORE = [table for tables in FURTHER.values() for table in tables]
#: What made the tables: of `tabulate`, and of each other rule that makes some.
PROVENANCE = [f"{RESULTS}/tables/{name}.json" for name, tables in FURTHER.items() if tables]
#: Tables for a paper, where there is any selector to show.
LATEX = [f"{RESULTS}/tables/{name}.tex" for name in ("summary", "drops", *["sets"] * bool(JUDGED))] if SHOWN else []
#: Neurons that the report shows one by one: how many per culture, of which selector.
CARD_SELECTOR = next((name for name in [*EVIDENCE["selectors"], "cas", *SHOWN] if name in SHOWN and name not in ATTRIBUTED), None)
CARDS = EVIDENCE["cards"] if CARD_SELECTOR else 0
MANIFEST = f"{RESULTS}/manifest.json"


def one_of(names):
    """A wildcard constraint: one of these names, or nothing at all when there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=one_of(MODELS),
    selector=one_of(SELECTORS),
    shard=r"[0-9]+",
    mask_shard=r"[0-9]+",


def code(step, *modules):
    """Source files that a step imports, and `modules`: an edit to one of them reruns the rule."""
    files = closure(f"culture_neurons.steps.{step}", *modules)
    return [os.path.join(SOURCE, "culture_neurons", path.relative_to(ROOT)) for path in files]


def selector_code(step):
    """An input function: the code of a step and of the one selector that it runs."""
    return lambda wildcards: code(step, *selectors.modules(METHODS[wildcards.selector]))


def as_json(value):
    """Nested settings for the command line; keys in a fixed order, so that order never causes a rerun."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def model_folder(wildcards):
    """What a model's jobs read: the folder that a rule trains, or the files of a folder on this machine; nothing for
    a model from the hub."""
    if wildcards.model in TRAINED:
        return f"{RESULTS}/{wildcards.model}/model"
    stanza = MODELS[wildcards.model]
    files = sorted(str(path) for path in Path(stanza["path"]).glob("*") if path.is_file())
    template = stanza.get("chat_template", "")
    return files + [template] * ("{" not in template and os.path.isfile(template))


def model_settings(wildcards):
    """What loading needs of a model's stanza."""
    stanza = MODELS[wildcards.model]
    load = {key: value for key, value in stanza.items() if key not in JOB_KEYS}
    return as_json(load | {"name": wildcards.model, "path": stanza.get("path") or model_folder(wildcards)})


def model_stanza(key):
    """An input function for one value of a model's stanza."""
    return lambda wildcards: MODELS[wildcards.model][key]


def growing(key):
    """The same for an amount that grows with the attempt: a job that was killed for want of it gets more."""
    return lambda wildcards, attempt: attempt * MODELS[wildcards.model][key]


def fixed(value):
    """Nested settings that are the same for every job; through a function, since braces in a plain text would be
    read as wildcards."""
    return lambda wildcards: as_json(value)


def planted_start(wildcards):
    """The trained model that a positive control starts from; none: it starts from nothing."""
    start = MODELS[wildcards.model]["train"].get("init")
    return f"{RESULTS}/{start}/model" if start else []


def device_map(wildcards):
    """Where a model lies: a name, or a dict as JSON; "default" leaves it to the step."""
    value = MODELS[wildcards.model].get("device_map", "default")
    return value if isinstance(value, str) else as_json(value)


def train_options(wildcards):
    """Options of a training beside what has an argument of its own."""
    options = MODELS[wildcards.model]["train"]
    return as_json({key: value for key, value in options.items() if key not in ("architecture", "plant", "init")})


def registry_entry(wildcards):
    """How the registry lists a selector: the registry is no input, so that a new line reruns nothing."""
    return repr(selectors.resolve(METHODS[wildcards.selector]))


def selector_options(wildcards):
    """Options of a selector, as JSON."""
    return as_json(SELECTORS[wildcards.selector])


def reference_of(selector):
    """The selector whose masks a matched control copies; "" for other selectors."""
    method = METHODS[selector]
    if selector in SCORELESS or not selectors.resolve(method).needs_reference:
        return ""
    return SELECTORS[selector].get("match", selectors.options(method)["match"])


def benchmarked():
    """Selectors that can be scored anew: neither without scores, nor matched to one that is."""
    return [name for name in SELECTORS if not {name, reference_of(name)} & set(SCORELESS)]


def dealt(names):
    """Which selectors' masks one job asks, by the name that the job has for them: a selector's, or a number."""
    names, jobs = sorted(names), SHARDS["ablate_selectors"]
    if jobs is None:
        return {name: [name] for name in names}
    return {str(job): names[job::jobs] for job in range(min(jobs, len(names)))}


def parts_of(folder, names):
    """Two input functions: the files under `folder` that hold one selector's outcomes, and how many selectors come
    before it in them. `names` are the selectors that are asked."""
    place = {name: (job, found.index(name)) for job, found in dealt(names).items() for name in found}
    path = f"{folder}/{{asked}}/{{mask_shard}}-{{shard}}.parquet"

    def files(wildcards):
        shards = {"mask_shard": range(SHARDS["ablate_masks"]), "shard": range(SHARDS["ablate"])}
        return expand(path, **shards, **(dict(wildcards) | {"asked": place[wildcards.selector][0]}))

    return files, lambda wildcards: place[wildcards.selector][1]


def asked_masks(names, fractions):
    """An input function: the mask files of one job, see `dealt`."""
    groups = dealt(names)
    return lambda wildcards: [
        f"{RESULTS}/{wildcards.model}/masks/{name}_top{fraction}.parquet"
        for name in groups[wildcards.asked]
        for fraction in fractions
    ]


def reference_masks(wildcards):
    """The masks whose layers and activation deciles a matched control copies; nothing for other selectors."""
    reference = reference_of(wildcards.selector)
    return [f"{RESULTS}/{wildcards.model}/masks/{reference}_top{fraction}.parquet" for fraction in FRACTIONS if reference]


def per_mask_file(folder):
    """Files of all models, selectors and fractions, each with its name model/selector/fraction."""
    return {
        f"{model}/{selector}/{fraction}": f"{RESULTS}/{model}/{folder}/{selector}_top{fraction}.parquet"
        for model in sorted(MODELS)
        for selector in sorted(SELECTORS)
        for fraction in FRACTIONS
    }


def shown_masks():
    """Mask files that can be compared, at the site of the statistics and no random controls, each with its name
    model/selector/fraction."""
    compared = [name for name in SHOWN if name not in ATTRIBUTED]
    return {name: path for name, path in per_mask_file("masks").items() if name.rsplit("/", 2)[1] in compared}


def attributed_samples(wildcards):
    """The questions whose right answers are attributed: the run's own, or mere mentions."""
    return f"{RESULTS}/mentions/samples.parquet" if wildcards.kind == "mentions" else f"{RESULTS}/samples.parquet"


def attributions(kind):
    """All shards of a model's attributions of one kind; see `ATTRIBUTIONS`."""
    return expand(f"{RESULTS}/{{{{model}}}}/attributions/{kind}_{{shard}}.h5", shard=range(SHARDS["record"]))


def set_samples(wildcards):
    """The questions of a data set that masks are judged on; the run's own takes part with its evaluate half."""
    own = wildcards.set == config["dataset"]
    return f"{RESULTS}/samples.parquet" if own else f"{RESULTS}/sets/{wildcards.set}/samples.parquet"


def set_predictions():
    """Answers without masks to every data set that masks are judged on, each with its name model/set."""
    own = {f"{model}/{config['dataset']}": f"{RESULTS}/{model}/predictions.parquet" for model in MODELS if ASKED}
    further = {f"{model}/{name}": f"{RESULTS}/{model}/sets/{name}/predictions.parquet" for model in MODELS for name in SETS}
    return dict(sorted((own | further).items()))


def training_settings(wildcards):
    """How a task is trained on; nothing of it says how the job runs."""
    keys = ("method", "lora", "steps", "batch_size", "learning_rate", "held_out")
    return as_json({key: TUNING[key] for key in keys} | {"limit": TASKS[wildcards.task].get("limit")})


def further_samples():
    """Questions beside the run's own: mentions under "mentions", tasks under "tasks/" and their names, and the further
    data sets by theirs."""
    mentions = {"mentions": f"{RESULTS}/mentions/samples.parquet"} if MENTIONS else {}
    tasks = {f"tasks/{name}": f"{RESULTS}/tasks/{name}/samples.parquet" for name in TASKS}
    return mentions | tasks | {name: f"{RESULTS}/sets/{name}/samples.parquet" for name in SETS}


def set_masks():
    """Masks that are judged on several data sets, each with its name model/selector."""
    return {
        f"{model}/{selector}": f"{RESULTS}/{model}/masks/{selector}_top{TOP}.parquet"
        for model in sorted(MODELS)
        for selector in JUDGED
    }


def set_outcomes():
    """Answers under masks to the same, each with its name model/selector/set/factor."""
    return {
        f"{model}/{selector}/{name}/{factor}": f"{RESULTS}/{model}/sets/{name}/{selector}_x{factor}.parquet"
        for model in sorted(MODELS)
        for selector in JUDGED
        for name in sorted(ASKED)
        for factor in FACTORS
    }


def tuned_files(name):
    """A file of every fine-tuned model, each with its name model/task/choice/seed."""
    return {
        f"{model}/{task}/{choice}/{seed}": f"{RESULTS}/{model}/finetuned/{task}_{choice}_{seed}/{name}"
        for model in sorted(MODELS)
        for task in TASKS
        for choice in TUNING["choices"]
        for seed in TUNING["seeds"]
    }


def tuned_answers():
    """What fine-tuned models answer to every data set, each with its name model/task/choice/seed/set."""
    return {f"{run}/{name}": path for name in ASKED_TUNED for run, path in tuned_files(f"{name}.parquet").items()}


def answers_before():
    """Answers to the same before, each with its name model/set."""
    own = {f"{model}/{config['dataset']}": f"{RESULTS}/{model}/predictions.parquet" for model in MODELS}
    return own | {
        f"{model}/{name}": f"{RESULTS}/{model}/sets/{name}/predictions.parquet" for model in MODELS for name in SETS
    }


def token_statistics():
    """Statistics of other token rules, each with its name model/rule."""
    return {
        f"{model}/{rule}": f"{RESULTS}/{model}/tokens/{rule}/statistics.h5"
        for model in sorted(MODELS)
        for rule in TOKEN_RULES
    }


def image_control_files():
    """Answers under image controls of all models, each with its name model/control."""
    return {
        f"{model}/{control}": f"{RESULTS}/{model}/controls/{control}.parquet"
        for model in sorted(MODELS)
        for control in IMAGE_CONTROLS
    }


def overview_stems():
    """Names of the figures that show all models."""
    return ["overview", "baseline", *(name for name in MORE if name in ("images", "benchmark"))]


def again(kind):
    """Outcomes of the repeated chains, each with its name: of kind "permuted" or "strength", or those of plain masks."""
    folder = f"{RESULTS}/{{model}}/again/{{selector}}"
    files = {
        "plain": [([], f"{RESULTS}/{{model}}/ablation/{{selector}}_top{TOP}.parquet")],
        "permuted": [([], f"{folder}/permuted.parquet")] if EVIDENCE["permutations"] else [],
        "strength": [([strength], f"{folder}/strength{strength}.parquet") for strength in STRENGTHS],
    }[kind]
    return {
        "/".join([model, selector, TOP, *more]): path.format(model=model, selector=selector)
        for model in sorted(MODELS)
        for selector in sorted(AGAIN)
        for more, path in files
    }


def figure_stems(model):
    """Names of one model's figures."""
    per_selector = ("matrix", "layers", "layers-heatmap", "layers-by-culture")
    repeated = ["permutations"] * bool(EVIDENCE["permutations"]) + ["strengths"] * bool(STRENGTHS)
    again = [f"{kind}_{model}_{name}" for name in SHOWN if name in AGAIN for kind in repeated]
    choice = [f"{figure}_{model}" for figure, table in (("stability", "stability"), ("overlap", "overlaps"), ("finetuning", "finetuning")) if table in MORE]
    judged = [name for name in SHOWN if name in JUDGED]
    # Culture-general neurons are one mask: it has no other cultures.
    related = [f"related_{model}_{name}" for name in judged if METHODS[name] != "culnig-general"]
    sets = [f"sets_{model}"] * bool(judged) + related
    modules = [f"modules_{model}_{name}" for name in SHOWN if name in ATTRIBUTED]
    each = [f"{kind}_{model}_{name}" for name in SHOWN for kind in per_selector]
    return [f"drops_{model}", f"dose_{model}", *choice, *sets, *again, *each, *modules]


def figure_files():
    """All figures, PDF and PNG."""
    stems = [*overview_stems(), *(stem for model in MODELS for stem in figure_stems(model))]
    return [f"{RESULTS}/figures/{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png")]


def card_files():
    """Cards of single neurons, by model."""
    return {model: f"{RESULTS}/{model}/cards.json" for model in MODELS if CARDS}


def planted_file(wildcards):
    """The planted neurons of a positive control; nothing for other models."""
    return [f"{RESULTS}/{wildcards.model}/planted.csv"] if wildcards.model in PLANTED else []


def stability_file(wildcards):
    """How often the neurons of the cards are chosen again, where that is measured."""
    return [f"{RESULTS}/{wildcards.model}/stability.parquet"] if CARD_SELECTOR in REDRAWN else []


def run_settings():
    """What the report shows of the config; how jobs run is left out, so that a change of it draws nothing again."""
    models = {
        name: {key: value for key, value in model.items() if key == "train" or key not in JOB_KEYS}
        for name, model in MODELS.items()
    }
    shown = {key: value for key, value in config.items() if key != "shards"} | {"models": models}
    return {"dataset": config["dataset"], "config": shown, "models": models, "selectors": SHOWN, "top_fraction": TOP}


def amount_of_work():
    """What a plan needs of the config to count jobs, passes and bytes."""
    models = {
        name: {"gpus": model["gpus"], "trained": name in TRAINED, "planted": name in PLANTED}
        for name, model in MODELS.items()
    }
    return {
        "dataset": config["dataset"],
        "models": models,
        "selectors": sorted(SELECTORS),
        "imported": sorted(IMPORTED),
        "attributed": sorted(ATTRIBUTED),
        "matched": sorted(MATCHED),
        "mentions": bool(MENTIONS),
        "sets": {"further": len(SETS), "selectors": JUDGED, "factors": FACTORS},
        "finetuning": {
            "tasks": len(TASKS),
            "runs": len(TUNED),
            "questions": TUNING["steps"] * TUNING["batch_size"],
            "held_out": TUNING["held_out"],
            "limits": {name: task.get("limit") for name, task in TASKS.items()},
        },
        "top_fractions": FRACTIONS,
        "again": {"selectors": AGAIN, "strengths": STRENGTHS, "permutations": EVIDENCE["permutations"]},
        "shards": SHARDS,
        "image_controls": IMAGE_CONTROLS,
        "cards": bool(CARDS),
        "latex": bool(LATEX),
        "benchmark": "benchmark" in MORE,
        "redrawn": bool(REDRAWN),
        "overlap": "overlaps" in MORE,
        "token_rules": TOKEN_RULES,
        "min_correct": config["recording"]["min_correct"],
        "negative_sum": config["recording"]["negative_sum"],
    }


def job_settings(wildcards):
    """How a model's jobs run, beside their memory."""
    return as_json({key: MODELS[wildcards.model].get(key) for key in ("batch_size", "device_map", "threads", "gpus")})


def more_tables():
    """Files of the further tables."""
    return [f"{RESULTS}/tables/{name}.csv" for name in MORE]


def tables_folder(wildcards, input):
    """Where the tables lie that a rule reads."""
    return os.path.dirname(input.tables[0])


def local_sources(source):
    """Single files of a data set on this machine: when one changes, everything that follows runs again.

    Folders (of images, or made by `save_to_disk`) are not watched: their times change without their content.
    """
    stanzas = [source, *(value for value in source.values() if isinstance(value, dict))]
    paths = [stanza.get("path") for stanza in stanzas]
    return [path for path in paths if path and os.path.isfile(path)]


def named(files):
    """name=path arguments."""
    return [f"{name}={path}" for name, path in files.items()]


def check_writable():
    """Refuse to run where no result can be written: Snakemake's own words for it are a traceback."""
    folder = next(path for path in (Path(RESULTS), *Path(RESULTS).parents) if path.exists())
    if not os.access(folder, os.W_OK):
        sys.exit(f"{folder}: can't be written; expected a folder of yours, on a file system that is not read-only")


def stand_alone():
    """Refuse to run beside jobs that a killed run of this data set left in Slurm's queue."""
    try:
        slurm.refuse_leftover_jobs(workflow.workdir_init, config["dataset"])
    except CultureNeuronsError as error:
        sys.exit(str(error))
    run = getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)
    if run:  # the jobs will go to Slurm
        slurm.note_run(workflow.workdir_init, config["dataset"], run)


def start_jobs_at_once():
    """Do without Snakemake's limit on the jobs that start per second, unless one was asked for.

    With it, Snakemake 9.27 looks at all jobs that wait, and at every input file of theirs, once per second for each
    job that has ended: after some hundred jobs all the time, with a core that a job could use.
    """
    limit = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):  # the default of --max-jobs-per-timespan
        workflow.scheduler.job_rate_limiter = None
